//! Plain text from HTML, for the part that every e-mail should have.
//!
//! Each `{{…}}` is one private character while the HTML is read, so nothing breaks it. Afterwards every one must stand under the same
//! block as before: where HTML moves text about (out of a table, say), the author is asked to write the text part.

use std::collections::HashMap;
use std::ops::Range;

use super::decorator::Links;
use super::markup::{BLANK, LONE, flatten, too_deep};
use crate::error::PublishError;
use crate::part;
use crate::scan::{self, Kind, Mustache};

/// Wide enough for a sentence, narrow enough for every mail client.
const TEXT_WIDTH: usize = 78;
/// Each mustache becomes one character from here on while HTML is read, so that nothing can break or reorder its inside.
const PLACEHOLDER: u32 = 0xF_0000;
const PLACEHOLDERS: u32 = 0xFFFE;

/// Plain text that says what the HTML says, with its placeholders.
///
/// # Errors
/// [`PublishError`] where the text must be written by hand.
pub fn text_from_html(html: &str) -> Result<String, PublishError> {
    let mustaches = scan::scan(html).map_err(|problem| problem.in_part("html"))?;
    let refuse = |why: &str| PublishError::of("html", format!("{why}: write the text part yourself"));
    let hidden = hide(html, &mustaches.iter().map(|m| m.range.clone()).collect::<Vec<_>>())
        .ok_or_else(|| refuse("no text part can be derived from so many expressions"))?;
    let flat = flatten(&hidden);
    if too_deep(&flat, LONE).is_some() {
        return Err(refuse("elements are nested too deep to derive a text part"));
    }
    let plain = html2text::config::with_decorator(Links::default())
        .no_table_borders()
        .no_link_wrapping()
        .allow_width_overflow()
        .string_from_read(flat.as_bytes(), TEXT_WIDTH)
        .map_err(|error| refuse(&format!("no text part can be derived ({error})")))?;
    let (text, shown) = reveal(&plain, html, &mustaches);
    let written: Vec<_> = (0..mustaches.len()).collect();
    let before = branches(&written, &mustaches);
    let faithful =
        branches(&shown, &mustaches).iter().all(|(index, branch)| before.get(index) == Some(branch));
    if faithful && part::parse(&text).is_ok() {
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

pub(super) fn hide(html: &str, ranges: &[Range<usize>]) -> Option<String> {
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

pub(super) fn placeholder(c: char, mustaches: &[Mustache]) -> Option<usize> {
    let index = usize::try_from(u32::from(c).checked_sub(PLACEHOLDER)?).ok()?;
    (index < mustaches.len()).then_some(index)
}
