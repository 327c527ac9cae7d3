//! From an e-mail's body to its two parts: MJML to HTML, the preheader, and plain text from HTML. All at publish, never per message.

mod decorator;

use std::borrow::Cow;
use std::collections::HashMap;

use mrml::prelude::parser::{Error as MjmlError, ParserOptions};
use mrml::prelude::render::RenderOptions;

use crate::error::{Problem, PublishError};
use crate::limits;
use crate::scan::{self, Kind, Mustache};

/// Wide enough for a sentence, narrow enough for every mail client.
const TEXT_WIDTH: usize = 78;
/// Each mustache becomes one character from here on while HTML is read, so that nothing can break or reorder its inside.
const PLACEHOLDER: u32 = 0xF_0000;
const PLACEHOLDERS: u32 = 0xFFFE;
/// Stands for a blank line, which HTML has no word for.
const BLANK: char = '\u{e000}';

/// Compiles MJML; placeholders pass through. Nothing is loaded: `mj-include` is refused and no web font is linked.
pub(crate) fn html_from_mjml(mjml: &str) -> Result<String, PublishError> {
    let at = |offset, message: String| Problem::at(mjml, offset, message).in_part("mjml");
    if let Some(offset) = too_deep(mjml) {
        return Err(at(
            offset,
            format!("elements are nested more than {} deep: flatten them", limits::MJML_DEPTH),
        ));
    }
    if let Some(offset) = mjml.find("<mj-include") {
        return Err(at(offset, "mj-include is not available: put the content here".to_owned()));
    }
    let document = mrml::parse_with_options(mjml, &ParserOptions::default()).map_err(|error| {
        let said = error.to_string();
        let reason = said.split(" in root template").next().unwrap_or_default();
        let message = format!("this is not valid MJML ({reason}): check the tags around here");
        match offset_of(&error) {
            Some(offset) => at(offset, message),
            None => PublishError::of("mjml", message),
        }
    })?;
    let options = RenderOptions { fonts: HashMap::new(), ..RenderOptions::default() };
    let html = document
        .element
        .render(&options)
        .map_err(|error| PublishError::of("mjml", format!("cannot become HTML: {error}")))?;
    nothing_lost(mjml, &html)?;
    Ok(html)
}

/// Refuses what the MJML compiler passes over in silence: unknown elements, and expressions where no text can stand.
fn nothing_lost(mjml: &str, html: &str) -> Result<(), PublishError> {
    let at = |offset, message: String| Problem::at(mjml, offset, message).in_part("mjml");
    if let Some(start) = html.find("<mj-") {
        let end = html[start + 1..].find(|c: char| c != '-' && !c.is_ascii_alphanumeric());
        let tag = end.map_or("<mj-", |end| &html[start..start + 1 + end]);
        let message = format!("{tag}> is not an element of MJML, or cannot stand here");
        return Err(at(mjml.find(tag).unwrap_or(0), message));
    }
    let mustaches = scan::scan(mjml).map_err(|problem| problem.in_part("mjml"))?;
    let written = mustaches.into_iter().filter(|mustache| mustache.kind != Kind::Comment);
    for Mustache { range, .. } in written {
        if !html.contains(&mjml[range.clone()]) {
            let message = "this would be lost: put it into a text, or into an attribute that MJML knows";
            return Err(at(range.start, message.to_owned()));
        }
    }
    Ok(())
}

fn offset_of(error: &MjmlError) -> Option<usize> {
    match error {
        MjmlError::UnexpectedElement { position, .. }
        | MjmlError::UnexpectedToken { position, .. }
        | MjmlError::MissingAttribute { position, .. }
        | MjmlError::InvalidAttribute { position, .. }
        | MjmlError::InvalidFormat { position, .. }
        | MjmlError::IncludeLoaderError { position, .. } => Some(position.start),
        MjmlError::EndOfStream { .. }
        | MjmlError::SizeLimit { .. }
        | MjmlError::ParserError { .. }
        | MjmlError::NoRootNode => None,
    }
}

/// The offset where elements are nested too deep for a recursive parser; attribute values and comments do not count.
fn too_deep(mjml: &str) -> Option<usize> {
    const VOID: [&str; 8] = ["br", "hr", "img", "input", "meta", "link", "col", "wbr"];
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(start) = mjml[at..].find('<').map(|offset| at + offset) {
        let rest = &mjml[start..];
        if rest.starts_with("<!--") {
            at = start + rest.find("-->").map_or(rest.len(), |end| end + 3);
            continue;
        }
        let end = start + tag_end(rest);
        let tag = &mjml[start..end];
        let name =
            tag[1..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default();
        if tag.starts_with("</") {
            depth = depth.saturating_sub(1);
        } else if !name.is_empty() && !tag.ends_with("/>") && !VOID.contains(&name) {
            depth += 1;
        }
        if depth > limits::MJML_DEPTH {
            return Some(start);
        }
        at = end;
    }
    None
}

/// The length of the tag at the beginning of `rest`.
fn tag_end(rest: &str) -> usize {
    let mut quote = None;
    for (i, byte) in rest.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return i + 1,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    rest.len()
}

/// Puts the preheader where mail clients look for it: hidden, first in the body.
pub(crate) fn with_preheader<'h>(html: &'h str, preheader: Option<&str>) -> Cow<'h, str> {
    let Some(preheader) = preheader else {
        return Cow::Borrowed(html);
    };
    let lower = html.to_ascii_lowercase();
    let body = lower.find("<body").map_or(0, |start| start + tag_end(&html[start..]));
    let hidden =
        "display:none;font-size:1px;line-height:1px;max-height:0;max-width:0;opacity:0;overflow:hidden";
    Cow::Owned(format!("{}<div style=\"{hidden}\">{preheader}</div>{}", &html[..body], &html[body..]))
}

/// Plain text that says what the HTML says, with its placeholders.
pub(crate) fn text_from_html(html: &str) -> Result<String, PublishError> {
    let mustaches = scan::scan(html).map_err(|problem| problem.in_part("html"))?;
    let refuse = |why: &str| PublishError::of("html", format!("{why}: write the text part yourself"));
    let hidden = hide(html, &mustaches.iter().map(|m| m.range.clone()).collect::<Vec<_>>())
        .ok_or_else(|| refuse("no text part can be derived from so many expressions"))?;
    let plain = html2text::config::with_decorator(decorator::Links::default())
        .no_table_borders()
        .no_link_wrapping()
        .allow_width_overflow()
        .string_from_read(flatten(&hidden).as_bytes(), TEXT_WIDTH)
        .map_err(|error| refuse(&format!("no text part can be derived ({error})")))?;
    let (text, shown) = reveal(&plain, html, &mustaches);
    let written: Vec<_> = (0..mustaches.len()).collect();
    let before = branches(&written, &mustaches);
    let faithful =
        branches(&shown, &mustaches).iter().all(|(index, branch)| before.get(index) == Some(branch));
    if faithful && crate::part::parse(&text).is_ok() {
        Ok(text)
    } else {
        Err(refuse("the blocks ({{#if}}, {{#each}}) do not fit the structure of the HTML"))
    }
}

/// For each expression, by its number, the `{{#…}}` or `{{else}}` that it stands under: what a reordering of the text must not change.
fn branches(order: &[usize], mustaches: &[Mustache]) -> HashMap<usize, Option<usize>> {
    let mut open: Vec<usize> = Vec::new();
    let mut under = HashMap::new();
    for &index in order {
        match mustaches[index].kind {
            Kind::Open => {
                under.insert(index, open.last().copied());
                open.push(index);
            }
            Kind::Else => {
                open.pop();
                open.push(index);
            }
            Kind::Close => {
                open.pop();
                under.insert(index, open.last().copied());
            }
            Kind::Expression | Kind::Comment => {
                under.insert(index, open.last().copied());
            }
        }
    }
    under
}

fn hide(html: &str, ranges: &[std::ops::Range<usize>]) -> Option<String> {
    let mut out = String::with_capacity(html.len());
    let mut at = 0;
    for (i, range) in ranges.iter().enumerate() {
        let index = u32::try_from(i).ok().filter(|&index| index < PLACEHOLDERS)?;
        out.push_str(&html[at..range.start]);
        out.push(char::from_u32(PLACEHOLDER + index)?);
        at = range.end;
    }
    out.push_str(&html[at..]);
    Some(out)
}

/// The text with its mustaches back, and which it shows, in order. Blank lines never double, nor stand at the edges of a block.
fn reveal(plain: &str, html: &str, mustaches: &[Mustache]) -> (String, Vec<usize>) {
    let mut out = String::with_capacity(plain.len() * 2);
    let mut shown = Vec::new();
    let mut blank = true;
    for line in plain.lines().map(|line| line.trim_end_matches([BLANK, ' '])) {
        if line.is_empty() && blank {
            continue;
        }
        let alone = match line.chars().collect::<Vec<_>>().as_slice() {
            &[c] => placeholder(c, mustaches).map(|index| mustaches[index].kind),
            _ => None,
        };
        if matches!(alone, Some(Kind::Close | Kind::Else)) {
            out.truncate(out.trim_end().len() + usize::from(!out.is_empty()));
        }
        blank = line.is_empty() || matches!(alone, Some(Kind::Open | Kind::Else));
        for c in line.chars() {
            match placeholder(c, mustaches) {
                Some(index) => {
                    shown.push(index);
                    out.push_str(&html[mustaches[index].range.clone()]);
                }
                None => out.push(c),
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    (out, shown)
}

fn placeholder(c: char, mustaches: &[Mustache]) -> Option<usize> {
    let index = usize::try_from(u32::from(c).checked_sub(PLACEHOLDER)?).ok()?;
    (index < mustaches.len()).then_some(index)
}

/// Layout as plain blocks: lists, where blocks may then stand between items, and the tables that only place things, as MJML makes them.
fn flatten(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut layouts: Vec<bool> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = start + tag_end(&rest[start..]);
        let tag = &rest[start..end];
        let closing = tag.starts_with("</");
        let name = tag
            .trim_start_matches(['<', '/'])
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        if name == "table" && !closing {
            layouts.push(tag.contains("role=\"presentation\""));
        }
        let layout = layouts.last() == Some(&true) && matches!(name, "table" | "tbody" | "tr" | "td");
        if name == "table" && closing {
            layouts.pop();
        }
        out.push_str(&rest[..start]);
        out.push_str(match (name, closing) {
            ("ul" | "ol" | "li", true) => "</div>",
            ("ul" | "ol", false) => "<div>",
            ("li", false) => "<div>- ",
            ("tr", true) if layout => concat!("</div><div>", '\u{e000}', "</div>"),
            (_, true) if layout => "</div>",
            (_, false) if layout => "<div>",
            _ => tag,
        });
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}
