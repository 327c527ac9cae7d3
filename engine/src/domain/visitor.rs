//! Who opened a message or followed its link: a person, or a machine on the way to one.
//!
//! Mail programs fetch pictures before anybody looks, gateways follow links to see whether they are harmful, and messengers show
//! what is behind them. None of that is anybody's interest in the message, so it is told apart as far as the evidence goes: by what
//! the request says of itself, by how soon it comes, and by how many links are followed at once. A machine that says it is a
//! browser, and waits, passes for a person.

use std::time::Duration;

use super::channel::text_enum;

text_enum! {
    /// Why a visit is not taken for a person's.
    Machine {
        /// It asked for the head of the answer alone.
        Head => "head",
        /// It says that nobody has looked yet.
        Prefetch => "prefetch",
        /// It does not say what it is.
        Nameless => "nameless",
        /// A mail program's own servers fetch the pictures.
        MailProxy => "mail_proxy",
        /// A gateway looks for what is harmful.
        Scanner => "scanner",
        /// Any other program that is no browser.
        Robot => "robot",
        /// Sooner than anybody reads.
        TooSoon => "too_soon",
        /// Several links at once.
        TooMany => "too_many",
    }
}

/// A visit so soon after the provider took the message is a machine's.
pub const TOO_SOON: Duration = Duration::from_secs(2);
/// Different links of one message within this are followed by a machine.
pub const AT_ONCE: Duration = Duration::from_secs(1);

/// What a request says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// Whether it is a HEAD.
    pub head: bool,
    /// `Purpose`, `Sec-Purpose` or `X-Moz`.
    pub purpose: Option<&'a str>,
    pub user_agent: Option<&'a str>,
}

/// In lower case, anywhere in the user agent. Those of mail proxies come first: some of them call themselves robots, too.
const AGENTS: &[(Machine, &[&str])] = &[
    (
        Machine::MailProxy,
        &["googleimageproxy", "ggpht.com", "yahoomailproxy", "yandeximageresizer", "mailproxy"],
    ),
    (
        Machine::Scanner,
        &[
            "barracuda",
            "proofpoint",
            "mimecast",
            "safelinks",
            "symantec",
            "trendmicro",
            "forcepoint",
            "sophos",
            "fireeye",
            "trellix",
            "messagelabs",
            "urlscan",
            "virustotal",
            "bitdefender",
            "zscaler",
            "ironport",
        ],
    ),
    (
        Machine::Robot,
        &[
            "bot",
            "crawler",
            "spider",
            "slurp",
            "preview",
            "facebookexternalhit",
            "whatsapp",
            "skypeuri",
            "headless",
            "phantomjs",
            "curl/",
            "wget/",
            "python-",
            "aiohttp",
            "go-http-client",
            "java/",
            "okhttp",
            "libwww",
            "httpclient",
            "node-fetch",
            "axios",
            "scanner",
            "monitor",
        ],
    ),
];
/// Apple's privacy protection fetches every picture under just this name.
const APPLE_PRIVACY: &str = "mozilla/5.0";

impl Request<'_> {
    /// What the request itself tells; `None`: it looks like a person's.
    pub fn machine(&self) -> Option<Machine> {
        if self.head {
            return Some(Machine::Head);
        }
        let ahead =
            |word: &str| ["prefetch", "preview", "prerender"].iter().any(|known| word.contains(known));
        if self.purpose.is_some_and(|purpose| ahead(&purpose.to_ascii_lowercase())) {
            return Some(Machine::Prefetch);
        }
        let agent = self.user_agent.unwrap_or_default().trim().to_ascii_lowercase();
        // A make of telephones.
        let agent = agent.replace("cubot", "");
        if agent.is_empty() {
            return Some(Machine::Nameless);
        }
        if agent == APPLE_PRIVACY {
            return Some(Machine::MailProxy);
        }
        let known = AGENTS.iter().find(|(_, words)| words.iter().any(|word| agent.contains(word)));
        known.map(|(machine, _)| *machine)
    }
}

/// Longest address that somebody is led to.
const LONGEST: usize = 4_096;

/// Where a link leads, as a header may say it; `None` for what is no address of the web.
pub fn destination(written: &str) -> Option<String> {
    let written = written.trim();
    let scheme = |name: &str| written.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    // A browser reads more than this as an address, such as `https:evil.example` and `\\\\evil.example`.
    if !(scheme("https://") || scheme("http://")) || written.contains('\\') {
        return None;
    }
    let url = url::Url::parse(written).ok()?;
    // A name before the host makes it look like another one.
    let plain = url.has_host() && url.username().is_empty() && url.password().is_none();
    let text = String::from(url);
    (plain && text.len() <= LONGEST).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user_agent: &str, expected: Option<Machine>) {
        let request = Request { user_agent: Some(user_agent), ..Request::default() };
        assert_eq!(request.machine(), expected, "{user_agent}");
    }

    #[test]
    fn browsers_are_people() {
        for agent in [
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.1.0",
            "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17726; Pro)",
        ] {
            check(agent, None);
        }
    }

    #[test]
    fn machines_are_known_by_their_names() {
        check("Mozilla/5.0", Some(Machine::MailProxy));
        check(
            "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
            Some(Machine::MailProxy),
        );
        check(
            "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
            Some(Machine::MailProxy),
        );
        check("Mozilla/5.0 (compatible; BarracudaCentral/1.0)", Some(Machine::Scanner));
        check("Mimecast URL Protect", Some(Machine::Scanner));
        check(
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            Some(Machine::Robot),
        );
        check("WhatsApp/2.23.20.0", Some(Machine::Robot));
        check("curl/8.5.0", Some(Machine::Robot));
        check(" ", Some(Machine::Nameless));
        assert_eq!(Request::default().machine(), Some(Machine::Nameless));
    }

    #[test]
    fn links_lead_to_the_web_only() {
        for (written, led) in [
            ("https://a.example/x?y=1#z", Some("https://a.example/x?y=1#z")),
            (" HTTPS://A.example/a b?c=\"d\"\r\nX: y ", Some("https://a.example/a%20b?c=%22d%22X:%20y")),
            ("http://é.example", Some("http://xn--9ca.example/")),
            ("//evil.example", None),
            ("/x", None),
            ("https:evil.example", None),
            ("https:/\\evil.example", None),
            ("https://a.example\\@evil.example", None),
            ("https://good.example@evil.example", None),
            ("https://:x@evil.example", None),
            ("javascript:alert(1)", None),
            ("data:text/html,x", None),
            ("https://", None),
            ("", None),
        ] {
            assert_eq!(destination(written).as_deref(), led, "{written}");
        }
        assert_eq!(destination(&format!("https://a.example/{}", "x".repeat(LONGEST))), None);
    }

    #[test]
    fn a_request_may_say_that_nobody_looks() {
        let person = Request {
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0"),
            ..Request::default()
        };
        assert_eq!(person.machine(), None);
        assert_eq!(Request { head: true, ..person }.machine(), Some(Machine::Head));
        for purpose in ["prefetch", "prefetch;prerender", "Preview"] {
            assert_eq!(
                Request { purpose: Some(purpose), ..person }.machine(),
                Some(Machine::Prefetch),
                "{purpose}"
            );
        }
    }
}
