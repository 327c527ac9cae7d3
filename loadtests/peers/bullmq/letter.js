// The letter in handlebars.js: the harness' own templates, and the helpers that they use.
import Handlebars from 'handlebars';

const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October',
  'November', 'December'];
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const SYMBOLS = { MUR: 'Rs' };

const helpers = {
  date(text, length) {
    const [year, month, day] = text.split('-').map(Number);
    const long = `${day} ${MONTHS[month - 1]} ${year}`;
    // Without an argument, handlebars passes its options.
    return length === 'full' ? `${DAYS[new Date(Date.UTC(year, month - 1, day)).getUTCDay()]} ${long}` : long;
  },
  money({ minor, currency }) {
    const whole = String(Math.trunc(minor / 100)).replace(/\B(?=(\d{3})+$)/g, ',');
    return `${SYMBOLS[currency] ?? currency}\u00a0${whole}.${String(minor % 100).padStart(2, '0')}`;
  },
  url_encode: encodeURIComponent,
};

// A function from variables to subject, HTML and text.
export function compile({ subject, html, text }) {
  const handlebars = Handlebars.create();
  handlebars.registerHelper(helpers);
  const known = { knownHelpers: { date: true, money: true, url_encode: true }, strict: true };
  const plain = (source) => handlebars.compile(source, { ...known, noEscape: true });
  const [writeSubject, writeHtml, writeText] = [plain(subject), handlebars.compile(html, known), plain(text)];
  return (variables) => ({
    subject: writeSubject(variables),
    html: writeHtml(variables),
    text: writeText(variables),
  });
}
