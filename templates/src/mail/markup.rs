//! A look at tags from outside, without a parser: how deep they nest, and which of them only place things.

use crate::limits;

/// Stands for a blank line, which HTML has no word for; from a range for private use.
pub(super) const BLANK: char = '\u{e000}';
/// Elements without content.
pub(super) const VOID: &[&str] = &["br", "hr", "img", "input", "meta", "link", "col", "wbr"];
/// Those, and the elements whose end tag HTML lets one leave out: they nest only through others.
pub(super) const LONE: &[&str] = &[
    "br", "hr", "img", "input", "meta", "link", "col", "wbr", "p", "li", "tr", "td", "th", "tbody", "dt",
    "dd",
];

/// The offset where elements are nested too deep for a recursive parser; comments, attributes and `uncounted` elements do not count.
pub(super) fn too_deep(markup: &str, uncounted: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(start) = markup[at..].find('<').map(|offset| at + offset) {
        let rest = &markup[start..];
        if rest.starts_with("<!--") {
            at = start + rest.find("-->").map_or(rest.len(), |end| end + 3);
            continue;
        }
        let end = start + tag_end(rest);
        let tag = &markup[start..end];
        let name = tag_name(tag);
        let counted = !name.is_empty() && !uncounted.iter().any(|lone| name.eq_ignore_ascii_case(lone));
        if tag.starts_with("</") {
            depth = depth.saturating_sub(usize::from(counted));
        } else if counted && !tag.ends_with("/>") {
            depth += 1;
        }
        if depth > limits::ELEMENT_DEPTH {
            return Some(start);
        }
        at = end;
    }
    None
}

pub(super) fn tag_name(tag: &str) -> &str {
    let inner = tag.trim_start_matches(['<', '/']);
    inner.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default()
}

/// The length of the tag at the beginning of `rest`.
pub(super) fn tag_end(rest: &str) -> usize {
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

/// Layout as plain blocks: lists, where blocks may then stand between items, and the tables that only place things, as MJML makes them.
pub(super) fn flatten(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut layouts: Vec<bool> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = start + tag_end(&rest[start..]);
        let tag = &rest[start..end];
        let closing = tag.starts_with("</");
        let name = tag_name(tag);
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
