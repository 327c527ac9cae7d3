//! How an author writes variables. Templates are kept as Handlebars; whoever writes `{name}` gets their text back as they
//! wrote it.
//!
//! In single braces a variable is `{name}`, spaces around the name allowed, for a declared name and with one brace on either
//! side. Everything else is text and reaches the recipient byte for byte: braces of CSS and JSON, doubled and tripled ones,
//! and names that nobody declared. What Handlebars would read as an expression is therefore escaped on the way there, by the
//! rules of its parser: one backslash before `{{` makes it text, and of several the first is dropped.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The two ways to write a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notation {
    /// `{{name}}`, with blocks and helpers
    #[default]
    Handlebars,
    /// `{name}`
    Single,
}

/// Ends a row of backslashes, so that the one after it escapes; a comment, so it renders to nothing.
const BREAK: &str = "{{!}}";

impl Notation {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Handlebars => "handlebars",
            Self::Single => "single",
        }
    }

    /// The notation of these texts, which belong together; `None` when they hold `{name}` of a declared name and expressions
    /// of Handlebars too: only their author knows which of them are text.
    #[must_use]
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>, declared: &[String]) -> Option<Self> {
        let (mut single, mut handlebars) = (false, false);
        for text in texts {
            single |= pieces(text, declared).any(|piece| matches!(piece, Piece::Variable { .. }));
            handlebars |= crate::scan::scan(text).is_ok_and(|mustaches| !mustaches.is_empty());
        }
        match (single, handlebars) {
            (true, true) => None,
            (true, false) => Some(Self::Single),
            (false, _) => Some(Self::Handlebars),
        }
    }

    /// A text in this notation as Handlebars.
    ///
    /// ```
    /// let declared = ["name".to_owned()];
    /// let text = "Dear {name}, a{color:red} {other} {{x}}";
    /// let stored = fanfare_templates::Notation::Single.to_handlebars(text, &declared);
    /// assert_eq!(stored, r"Dear {{name}}, a{color:red} {other} \{{x}}");
    /// assert_eq!(fanfare_templates::Notation::Single.of_handlebars(&stored, &declared), text);
    /// ```
    #[must_use]
    pub fn to_handlebars(self, text: &str, declared: &[String]) -> String {
        match self {
            Self::Handlebars => text.to_owned(),
            Self::Single => escaped(text, declared),
        }
    }

    /// What [`Self::to_handlebars`] was given.
    #[must_use]
    pub fn of_handlebars(self, text: &str, declared: &[String]) -> String {
        match self {
            Self::Handlebars => text.to_owned(),
            Self::Single => unescaped(text, declared),
        }
    }
}

impl fmt::Display for Notation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Notation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Handlebars, Self::Single]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of: handlebars, single"))
    }
}

/// A text in single braces, taken apart.
enum Piece<'t> {
    Text(&'t str),
    /// Two opening braces or more, and the backslashes before them.
    Braces {
        backslashes: usize,
        braces: usize,
    },
    /// What stands between one opening and one closing brace, and the backslashes before them.
    Variable {
        backslashes: usize,
        inside: &'t str,
    },
}

fn pieces<'t>(text: &'t str, declared: &[String]) -> impl Iterator<Item = Piece<'t>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, length) = first_piece(rest, declared);
        rest = &rest[length..];
        Some(piece)
    })
}

/// The first piece of a text that is not empty, and its length.
fn first_piece<'t>(text: &'t str, declared: &[String]) -> (Piece<'t>, usize) {
    let mut at = 0;
    while let Some(start) = text[at..].find('{').map(|offset| at + offset) {
        let backslashes = run_before(&text[..start], b'\\');
        let braces = run(&text[start..], b'{');
        let after = start + braces;
        let found = if braces > 1 {
            Some((Piece::Braces { backslashes, braces }, after))
        } else {
            variable(&text[after..], declared)
                .map(|inside| (Piece::Variable { backslashes, inside }, after + inside.len() + 1))
        };
        match found {
            Some(found) if start == backslashes => return found,
            Some(_) => return (Piece::Text(&text[..start - backslashes]), start - backslashes),
            None => at = after,
        }
    }
    (Piece::Text(text), text.len())
}

/// What stands before the closing brace, if it is a declared name.
fn variable<'t>(text: &'t str, declared: &[String]) -> Option<&'t str> {
    let inside = &text[..text.find(['{', '}'])?];
    let closed = run(&text[inside.len()..], b'}') == 1;
    let name = inside.trim_matches(' ');
    (closed && declared.iter().any(|known| known == name)).then_some(inside)
}

fn run(text: &str, of: u8) -> usize {
    text.bytes().take_while(|&byte| byte == of).count()
}

fn run_before(text: &str, of: u8) -> usize {
    text.bytes().rev().take_while(|&byte| byte == of).count()
}

fn escaped(text: &str, declared: &[String]) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let backslashes = |out: &mut String, count: usize| out.extend(std::iter::repeat_n('\\', count));
    for piece in pieces(text, declared) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable { backslashes: before, inside } => {
                // The parser drops one of them.
                backslashes(&mut out, if before == 0 { 0 } else { before + 1 });
                out.extend(["{{", inside, "}}"]);
            }
            Piece::Braces { backslashes: before, braces } => {
                if before > 0 {
                    backslashes(&mut out, before + 1);
                    out.push_str(BREAK);
                }
                out.extend(std::iter::repeat_n("\\{{", braces / 2));
                out.extend(std::iter::repeat_n('{', braces % 2));
            }
        }
    }
    out
}

fn unescaped(text: &str, declared: &[String]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let backslashes = run_before(&rest[..start], b'\\');
        out.push_str(&rest[..start - backslashes]);
        let after = &rest[start + 2..];
        // Of what another hand wrote, the rest is copied as it stands.
        let (kept, shown, length) = match backslashes {
            1 => (0, "{{", 0),
            _ if backslashes > 1 && rest[start..].starts_with(BREAK) => {
                (backslashes - 1, "", BREAK.len() - 2)
            }
            _ => match named(after, declared) {
                Some(inside) => {
                    out.extend(std::iter::repeat_n('\\', backslashes.saturating_sub(1)));
                    out.extend(["{", inside, "}"]);
                    (0, "", inside.len() + 2)
                }
                None => (backslashes, "{{", 0),
            },
        };
        out.extend(std::iter::repeat_n('\\', kept));
        out.push_str(shown);
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// What stands before the two closing braces, if it is a declared name.
fn named<'t>(text: &'t str, declared: &[String]) -> Option<&'t str> {
    let inside = &text[..text.find("}}")?];
    let name = inside.trim_matches(' ');
    declared.iter().any(|known| known == name).then_some(inside)
}
