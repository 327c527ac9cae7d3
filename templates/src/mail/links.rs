//! Links that are counted: where a campaign asks for it, the `href`s of an e-mail's HTML, and of an SMS what is written as
//! `{{short_link url}}`, lead over the sender's own service, which knows where they were to lead.
//!
//! A link is known by a fingerprint of its destination as the author wrote it, not by its place, so that a letter that was sent is
//! understood as long as its template is. What leads nowhere but here (unsubscribing, preferences), what is no web address, and
//! what belongs to an item of a loop, which has no value of its own outside of it, is left as it is.

use std::ops::Range;

use twox_hash::XxHash3_64;

use super::markup::{tag_end, tag_name};
use super::text::{hide, placeholder};
use crate::error::RenderError;
use crate::helpers::Flavour;
use crate::limits;
use crate::locale::Locale;
use crate::part::Part;
use crate::pinned;
use crate::publish::{Content, Published};
use crate::render::{Given, PREFERENCES_URL, UNSUBSCRIBE_URL, context};
use crate::scan::{self, Kind, Mustache};
use crate::variables::Usage;

/// What tracked links begin with: the system gives it, see [`Published::tracked`]. A slash and the link's id follow.
pub const CLICK_URL: &str = "fanfare_click_url";
/// The address of the picture that tells of an open, without its ending.
pub const OPEN_URL: &str = "fanfare_open_url";

/// What short links of an SMS begin with; one character follows, which is the link's id.
pub const SHORT_URL: &str = "fanfare_short_url";
/// What may stand for a link in an SMS, in order.
const SHORT_IDS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A link of a published template that can be tracked.
#[derive(Debug)]
pub struct Link {
    id: String,
    /// Variables that its destination reads.
    names: Vec<String>,
    destination: Part,
}

impl Link {
    /// What stands in the tracked link in its place: 16 hexadecimal digits, or in an SMS one character.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it leads for one recipient, from their pinned values; see [`crate::Compiled::render_pinned`].
    ///
    /// # Errors
    /// [`RenderError`] when the values do not fit.
    pub fn destination(&self, pinned: &str, locale: &Locale) -> Result<String, RenderError> {
        let values = pinned::read(pinned, &self.names).map_err(|_| RenderError::NotAnObject)?;
        self.destination.render(&context(values, Given::new()), locale.conventions())
    }
}

impl Published {
    /// The links that can be tracked, in order; of an e-mail each destination once.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let found = match self.content() {
            Content::Email { html, .. } => found(html),
            Content::Sms { text } => found_short(text),
            _ => Vec::new(),
        };
        let mut links: Vec<Link> = Vec::new();
        for (_, link) in found {
            if links.iter().all(|known| known.id != link.id) {
                links.push(link);
            }
        }
        links
    }

    /// The same e-mail with its links led over [`CLICK_URL`], and with the picture at [`OPEN_URL`]; the same SMS with its short
    /// links at [`SHORT_URL`]. What is neither stays, and so does what would become too long.
    #[must_use]
    pub fn tracked(&self, links: bool, opens: bool) -> Self {
        let (subject, html, text) = match self.content() {
            Content::Email { subject, html, text } => (subject, html, text),
            Content::Sms { text } if links => return self.shortened(text),
            _ => return self.clone(),
        };
        let mut tracked = html.clone();
        if links {
            for (range, link) in found(html).into_iter().rev() {
                tracked.replace_range(range, &format!("{{{{{CLICK_URL}}}}}/{}", link.id));
            }
        }
        if opens {
            let end = tracked.to_ascii_lowercase().rfind("</body").unwrap_or(tracked.len());
            let picture = format!(
                "<img src=\"{{{{{OPEN_URL}}}}}.gif\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0\">"
            );
            tracked.insert_str(end, &picture);
        }
        if tracked.len() > limits::SOURCE_BYTES {
            return self.clone();
        }
        self.with_content(Content::Email { subject: subject.clone(), html: tracked, text: text.clone() })
    }

    fn shortened(&self, text: &str) -> Self {
        let mut short = text.to_owned();
        for (range, link) in found_short(text).into_iter().rev() {
            short.replace_range(range, &format!("{{{{{SHORT_URL}}}}}{}", link.id));
        }
        self.with_content(Content::Sms { text: short })
    }
}

/// What is written `{{short_link …}}`, by its place in the text of an SMS.
fn found_short(text: &str) -> Vec<(Range<usize>, Link)> {
    let Ok(mustaches) = scan::scan(text) else { return Vec::new() };
    let scoped = scoped(text, &mustaches);
    let short = mustaches.iter().zip(scoped).filter(|(mustache, scoped)| {
        let body = text[mustache.range.clone()].trim_start_matches(['{', '~', ' ']);
        mustache.kind == Kind::Expression && !scoped && body.starts_with("short_link ")
    });
    let links = short.zip(SHORT_IDS).filter_map(|((mustache, _), id)| {
        let link = parsed(&text[mustache.range.clone()], char::from(*id).to_string())?;
        Some((mustache.range.clone(), link))
    });
    links.collect()
}

fn parsed(destination: &str, id: String) -> Option<Link> {
    let mut usage = Usage::default();
    let part = Part::parse("href", destination, Flavour::Plain, &mut usage).ok()?;
    let names = usage.into_variables().all().map(str::to_owned).collect();
    Some(Link { id, names, destination: part })
}

/// The `href`s that can be tracked, by their place in the HTML.
fn found(html: &str) -> Vec<(Range<usize>, Link)> {
    let Ok(mustaches) = scan::scan(html) else { return Vec::new() };
    let ranges: Vec<Range<usize>> = mustaches.iter().map(|mustache| mustache.range.clone()).collect();
    // Quotes inside of expressions would end attributes.
    let Some(hidden) = hide(html, &ranges) else { return Vec::new() };
    let scoped = scoped(html, &mustaches);
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = hidden[at..].find('<').map(|offset| at + offset) {
        let rest = &hidden[start..];
        if rest.starts_with("<!--") {
            at = start + rest.find("-->").map_or(rest.len(), |end| end + 3);
            continue;
        }
        let end = start + tag_end(rest);
        let tag = &hidden[start..end];
        if ["a", "area"].iter().any(|name| tag_name(tag).eq_ignore_ascii_case(name))
            && !tag.starts_with("</")
            && let Some(value) = href(tag)
        {
            let before = hidden[..start].chars().filter_map(|c| placeholder(c, &mustaches)).next_back();
            let free = before.is_none_or(|index| !scoped[index]);
            let place = start + value.start..start + value.end;
            if let (true, Some(link)) = (free, link(&hidden[place.clone()], html, &mustaches)) {
                found.push((shown(&hidden, html, &mustaches, place), link));
            }
        }
        at = end;
    }
    found
}

/// For each expression whether what follows it belongs to an item, or to a `with`.
fn scoped(html: &str, mustaches: &[Mustache]) -> Vec<bool> {
    let mut open: Vec<bool> = Vec::new();
    let states = mustaches.iter().map(|mustache| {
        match mustache.kind {
            Kind::Open => {
                let body = html[mustache.range.clone()].trim_start_matches(['{', '~', '#', ' ']);
                open.push(body.starts_with("each") || body.starts_with("with"));
            }
            Kind::Close => {
                open.pop();
            }
            Kind::Comment | Kind::Else | Kind::Expression => {}
        }
        open.contains(&true)
    });
    states.collect()
}

/// The value of the attribute `href`, as a place in the tag.
fn href(tag: &str) -> Option<Range<usize>> {
    let bytes = tag.as_bytes();
    let mut at = 1 + tag_name(tag).len();
    while at < bytes.len() {
        let name_start = at + bytes[at..].iter().position(|b| !b.is_ascii_whitespace() && *b != b'/')?;
        let name_end = name_start
            + bytes[name_start..].iter().position(|b| b.is_ascii_whitespace() || b"=>/".contains(b))?;
        let mut next = name_end + bytes[name_end..].iter().position(|b| !b.is_ascii_whitespace())?;
        if name_end == name_start {
            return None;
        }
        let mut value = next..next;
        if bytes[next] == b'=' {
            next += 1;
            next += bytes[next..].iter().position(|b| !b.is_ascii_whitespace())?;
            let quote = bytes[next];
            if quote == b'"' || quote == b'\'' {
                let end = next + 1 + bytes[next + 1..].iter().position(|b| *b == quote)?;
                (value, next) = (next + 1..end, end + 1);
            } else {
                let end = next + bytes[next..].iter().position(|b| b.is_ascii_whitespace() || *b == b'>')?;
                (value, next) = (next..end, end);
            }
        }
        if tag[name_start..name_end].eq_ignore_ascii_case("href") {
            return Some(value);
        }
        at = next;
    }
    None
}

/// The link with this value, in which expressions are hidden.
fn link(value: &str, html: &str, mustaches: &[Mustache]) -> Option<Link> {
    let value = value.trim();
    let lower = value.to_ascii_lowercase();
    let index = value.chars().next().and_then(|c| placeholder(c, mustaches));
    let from_value = index.is_some_and(|index| mustaches[index].kind == Kind::Expression);
    if !(from_value || lower.starts_with("http://") || lower.starts_with("https://")) {
        return None;
    }
    let mut destination = String::with_capacity(value.len() * 2);
    for piece in value.split_inclusive(|c| placeholder(c, mustaches).is_some()) {
        let last = piece.chars().next_back().filter(|&c| placeholder(c, mustaches).is_some());
        let literal = decoded(&piece[..piece.len() - last.map_or(0, char::len_utf8)]);
        if literal.contains("{{") || literal.contains('\\') {
            return None;
        }
        destination.push_str(&literal);
        if let Some(index) = last.and_then(|c| placeholder(c, mustaches)) {
            destination.push_str(&html[mustaches[index].range.clone()]);
        }
    }
    if [UNSUBSCRIBE_URL, PREFERENCES_URL].iter().any(|own| destination.contains(own)) {
        return None;
    }
    parsed(&destination, format!("{:016x}", XxHash3_64::oneshot(destination.as_bytes())))
}

/// A place in the text with hidden expressions as the place in the text itself.
fn shown(hidden: &str, html: &str, mustaches: &[Mustache], place: Range<usize>) -> Range<usize> {
    let length = |text: &str| -> usize {
        let length = |c: char| placeholder(c, mustaches).map_or(c.len_utf8(), |i| mustaches[i].range.len());
        text.chars().map(length).sum()
    };
    let start = length(&hidden[..place.start]);
    let end = start + length(&hidden[place]);
    debug_assert!(html.is_char_boundary(start) && html.is_char_boundary(end), "no expression is cut");
    start..end
}

/// What a browser reads in an attribute: the references that addresses need, others stay.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(';').filter(|end| *end <= 10);
        match end.and_then(|end| Some((character(&rest[1..end])?, end))) {
            Some((c, end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}
