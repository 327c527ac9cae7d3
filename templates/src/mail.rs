//! From an e-mail's body to its parts, all at publish, never per message: here MJML and plain text to HTML, and the preheader,
//! in `text` HTML to plain text.

mod decorator;
mod links;
mod markup;
mod text;

use std::borrow::Cow;
use std::collections::HashMap;

use mrml::prelude::parser::{Error as MjmlError, ParserOptions};
use mrml::prelude::render::RenderOptions;

use crate::error::{Problem, PublishError};
use crate::limits;
use crate::scan::{self, Kind, Mustache};
use markup::{VOID, tag_end, too_deep};

pub use links::{CLICK_URL, Link, OPEN_URL, SHORT_URL};
pub use text::text_from_html;

/// Compiles MJML; placeholders pass through. Nothing is loaded: `mj-include` is refused and no web font is linked.
pub(crate) fn html_from_mjml(mjml: &str) -> Result<String, PublishError> {
    let at = |offset, message: String| Problem::at(mjml, offset, message).in_part("mjml");
    if let Some(offset) = too_deep(mjml, VOID) {
        return Err(at(
            offset,
            format!("elements are nested more than {} deep: flatten them", limits::ELEMENT_DEPTH),
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

/// The HTML that says what a plain text says: its lines, and what is not between braces escaped.
pub(crate) fn html_from_plain(text: &str) -> Result<String, PublishError> {
    let mustaches = scan::scan(text).map_err(|problem| problem.in_part("text"))?;
    let mut html = String::with_capacity(text.len() + text.len() / 8 + 128);
    html.push_str("<!doctype html>\n<html><head><meta charset=\"utf-8\"></head><body><div>");
    let mut at = 0;
    let mut swallows = false;
    for Mustache { range, kind } in mustaches {
        lines(&text[at..range.start], swallows, &mut html);
        html.push_str(&text[range.clone()]);
        swallows = kind != Kind::Expression && stands_alone(text, &range);
        at = range.end;
    }
    lines(&text[at..], swallows, &mut html);
    html.push_str("</div></body></html>");
    Ok(html)
}

/// Writes a text without expressions. `swallows`: the line that it begins with is that of a block's tag, which is no line of
/// the message.
fn lines(text: &str, swallows: bool, html: &mut String) {
    let mut first = swallows;
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\r' => {}
            '\n' if first => {
                html.push('\n');
                first = false;
            }
            '\n' => html.push_str("<br>\n"),
            c => html.push(c),
        }
    }
}

fn stands_alone(text: &str, range: &std::ops::Range<usize>) -> bool {
    let before = text[..range.start].rsplit('\n').next().unwrap_or_default();
    let after = text[range.end..].split('\n').next().unwrap_or_default();
    before.trim().is_empty() && after.trim().is_empty() && text[range.end..].contains('\n')
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

/// The HTML that says what a plain text says, line by line.
#[must_use]
pub fn html_from_text(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8 + 16);
    html.push_str("<p>");
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' => html.push_str("<br>\n"),
            '\r' => {}
            other => html.push(other),
        }
    }
    html.push_str("</p>");
    html
}
