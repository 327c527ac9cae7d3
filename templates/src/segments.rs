//! How many SMS a text costs.
//!
//! A segment is 140 octets: 160 characters of the seven-bit alphabet of 3GPP TS 23.038, or 70 UTF-16 units as soon as one
//! character is outside it. A longer text is concatenated, and each segment then loses 6 octets to its header: 153 and 67. A
//! character of the extension table takes two septets and a surrogate pair two units; neither is ever split.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    #[serde(rename = "gsm7")]
    Gsm7,
    #[serde(rename = "ucs2")]
    Ucs2,
}

/// The price of a text in segments. `units` are septets or UTF-16 units, without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segments {
    pub encoding: Encoding,
    pub units: u32,
    pub count: u32,
}

const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
                     ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// Counts the segments of `text`; an empty text has none.
#[must_use]
pub fn segments(text: &str) -> Segments {
    if text.chars().all(|c| septets(c).is_some()) {
        let (units, count) = fill(text, |c| septets(c).unwrap_or(1), 160, 153);
        Segments { encoding: Encoding::Gsm7, units, count }
    } else {
        let (units, count) = fill(text, |c| if c.len_utf16() == 2 { 2 } else { 1 }, 70, 67);
        Segments { encoding: Encoding::Ucs2, units, count }
    }
}

fn septets(c: char) -> Option<u32> {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' => Some(1),
        _ if BASIC.contains(c) => Some(1),
        _ if EXTENDED.contains(c) => Some(2),
        _ => None,
    }
}

fn fill(text: &str, width: impl Fn(char) -> u32, single: u32, each: u32) -> (u32, u32) {
    let (mut units, mut count, mut used) = (0_u32, 0_u32, each);
    for c in text.chars() {
        let width = width(c);
        units = units.saturating_add(width);
        if used + width > each {
            count = count.saturating_add(1);
            used = 0;
        }
        used += width;
    }
    (
        units,
        if units == 0 {
            0
        } else if units <= single {
            1
        } else {
            count
        },
    )
}
