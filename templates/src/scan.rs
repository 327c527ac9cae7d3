//! Finds the `{{…}}` of a text, and refuses what templates may not contain before any parser sees it.
//!
//! The parsers behind recurse with the nesting of what they read. So the language is narrowed here, by a plain loop, to what has
//! a bounded nesting; brackets and braces inside an expression are refused, so this scanner and the parser agree where one ends.

use std::ops::Range;

use crate::error::Problem;
use crate::limits;

/// One `{{…}}`, comments included, escaped ones (`\{{`) not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mustache {
    pub(crate) range: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Comment,
    Open,
    Close,
    /// `{{else}}`, `{{else if x}}`, `{{^}}`
    Else,
    Expression,
}

/// All mustaches of `text`, in order.
pub(crate) fn scan(text: &str) -> Result<Vec<Mustache>, Problem> {
    let mut found = Vec::new();
    let (mut at, mut depth, mut blocks) = (0, 0_usize, 0_usize);
    while let Some(start) = text[at..].find("{{").map(|offset| at + offset) {
        if backslashes_before(text, start) == 1 {
            at = start + 2;
            continue;
        }
        let mustache = mustache(text, start)?;
        match mustache.kind {
            Kind::Open => {
                depth += 1;
                blocks += 1;
            }
            Kind::Close => depth = depth.saturating_sub(1),
            Kind::Comment | Kind::Else | Kind::Expression => {}
        }
        if depth > limits::BLOCK_DEPTH {
            let message = format!("blocks are nested more than {} deep: flatten them", limits::BLOCK_DEPTH);
            return Err(Problem::at(text, start, message));
        }
        if blocks > limits::BLOCKS {
            let message = format!("more than {} blocks: split the template or simplify it", limits::BLOCKS);
            return Err(Problem::at(text, start, message));
        }
        at = mustache.range.end;
        found.push(mustache);
    }
    Ok(found)
}

fn backslashes_before(text: &str, at: usize) -> usize {
    text[..at].bytes().rev().take_while(|&b| b == b'\\').count()
}

fn mustache(text: &str, start: usize) -> Result<Mustache, Problem> {
    let rest = &text[start..];
    if rest.starts_with("{{{") {
        let message = "triple braces would insert text without escaping it: write {{name}}";
        return Err(Problem::at(text, start, message));
    }
    if rest.starts_with("{{!") {
        let end = if rest.starts_with("{{!--") { "--}}" } else { "}}" };
        let length = rest
            .find(end)
            .ok_or_else(|| Problem::at(text, start, format!("the comment is not closed: add {end}")))?;
        return Ok(Mustache { range: start..start + length + end.len(), kind: Kind::Comment });
    }
    let end = expression_end(text, start)?;
    let body = text[start + 2..end - 2].trim_matches(|c: char| c == '~' || c.is_ascii_whitespace());
    let kind = match body.as_bytes().first() {
        None => {
            return Err(Problem::at(text, start, "the braces are empty: write a variable between them"));
        }
        Some(b'#') if body[1..].trim_start().starts_with(['>', '*']) => {
            return Err(refused(text, start));
        }
        Some(b'>' | b'*' | b'&') => return Err(refused(text, start)),
        Some(b'#') => Kind::Open,
        Some(b'/') => Kind::Close,
        Some(b'^') => Kind::Else,
        _ if body.split_ascii_whitespace().next() == Some("else") => Kind::Else,
        _ => Kind::Expression,
    };
    Ok(Mustache { range: start..end, kind })
}

fn refused(text: &str, start: usize) -> Problem {
    let message = "partials, includes, decorators and unescaped output are not available: write the text here, with {{name}} for a value";
    Problem::at(text, start, message)
}

/// The offset just after the `}}` that closes the expression opened at `start`.
fn expression_end(text: &str, start: usize) -> Result<usize, Problem> {
    let mut calls = 0_usize;
    let mut chars = text[start + 2..].char_indices();
    while let Some((offset, c)) = chars.next() {
        let at = start + 2 + offset;
        match c {
            '"' | '\'' => {
                skip_string(&mut chars, c).ok_or_else(|| Problem::at(text, at, "this quote is not closed"))?
            }
            '}' if text[at..].starts_with("}}") => return Ok(at + 2),
            '{' | '}' | '[' | ']' => {
                let message =
                    format!("`{c}` cannot stand inside {{{{…}}}}: close the expression with }}}} before it");
                return Err(Problem::at(text, at, message));
            }
            '(' => {
                calls += 1;
                if calls > limits::CALL_DEPTH {
                    return Err(Problem::at(text, at, "too many helpers in one expression: split it"));
                }
            }
            _ => {}
        }
    }
    Err(Problem::at(text, start, "this {{ is not closed: add }}"))
}

fn skip_string(chars: &mut std::str::CharIndices<'_>, quote: char) -> Option<()> {
    loop {
        match chars.next()?.1 {
            '\\' => {
                chars.next()?;
            }
            c if c == quote => return Some(()),
            _ => {}
        }
    }
}
