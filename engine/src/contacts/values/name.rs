//! The name to greet by, out of a full name.

const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "mx",
    "dr",
    "prof",
    "professor",
    "sir",
    "rev",
    "hon",
    "m",
    "mme",
    "mlle",
    "monsieur",
    "madame",
    "mademoiselle",
    "docteur",
    "maître",
    "shri",
    "smt",
    "श्री",
    "श्रीमती",
    "सुश्री",
    "डॉ",
];

/// `Anjali` of `Anjali Ramgoolam`, `Ramgoolam, Anjali` and `Mrs Anjali Ramgoolam`: the first word that is no title,
/// after a comma if there is one. The only word of a name is it; and a name in Chinese, Japanese or Korean script is
/// taken whole, since the family name stands first and nobody is greeted by a part.
pub(crate) fn first_name(full: &str) -> Option<&str> {
    if full.chars().any(is_east_asian) {
        return Some(full);
    }
    let given = full.split_once(',').map_or(full, |(_, given)| given);
    given.split_whitespace().find(|word| !is_title(word)).or_else(|| {
        full.split(|c: char| c == ',' || c.is_whitespace()).find(|word| !word.is_empty() && !is_title(word))
    })
}

const fn is_east_asian(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{20000}'..='\u{2fa1f}')
}

fn is_title(word: &str) -> bool {
    let word = word.trim_end_matches('.').to_lowercase();
    TITLES.contains(&word.as_str())
}
