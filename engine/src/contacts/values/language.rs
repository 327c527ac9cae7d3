//! Languages as people write them, read into an ISO 639-1 code.

/// `en`, `English`, `en-GB`, `FR`, `français`, `हिन्दी` and the like; `None` when the language is not one of ours.
pub(crate) fn parse(text: &str) -> Option<&'static str> {
    const NAMES: &[(&str, &[&str])] = &[
        ("en", &["en", "eng", "english", "anglais", "anglaise", "अंग्रेजी", "अंग्रेज़ी"]),
        ("fr", &["fr", "fra", "fre", "french", "francais", "francaise", "फ्रेंच"]),
        ("hi", &["hi", "hin", "hindi", "हिन्दी", "हिंदी"]),
        ("mfe", &["mfe", "creole", "kreol", "creole mauricien", "kreol morisien", "mauritian creole"]),
        ("ta", &["ta", "tam", "tamil", "tamoul"]),
        ("te", &["te", "tel", "telugu"]),
        ("mr", &["mr", "mar", "marathi"]),
        ("ur", &["ur", "urd", "urdu", "ourdou"]),
        ("bn", &["bn", "ben", "bengali", "bangla"]),
        ("gu", &["gu", "guj", "gujarati"]),
        ("pa", &["pa", "pan", "punjabi"]),
        ("kn", &["kn", "kan", "kannada"]),
        ("ml", &["ml", "mal", "malayalam"]),
        ("zh", &["zh", "zho", "chi", "chinese", "chinois", "mandarin", "中文"]),
        ("es", &["es", "spa", "spanish", "espagnol", "espanol"]),
        ("pt", &["pt", "por", "portuguese", "portugais", "portugues"]),
        ("de", &["de", "deu", "ger", "german", "allemand", "deutsch"]),
        ("it", &["it", "ita", "italian", "italien", "italiano"]),
        ("ar", &["ar", "ara", "arabic", "arabe"]),
        ("mg", &["mg", "mlg", "malagasy", "malgache"]),
    ];
    let lower = text.trim().to_lowercase();
    // Names in their own script are matched as they stand, Latin ones without accents.
    let plain = deunicode::deunicode(&lower);
    // A region or script after the code ("en-GB", "fr_FR", "en (UK)") does not change the language.
    let base = plain.split(['-', '_', '(']).next().map(str::trim).unwrap_or_default();
    let known = |names: &[&str]| names.iter().any(|name| *name == lower || *name == plain || *name == base);
    NAMES.iter().find(|(_, names)| known(names)).map(|(code, _)| *code)
}
