//! WhatsApp's limits: of a source's structure and literal texts at publish, of every text at rendering.

use std::collections::HashSet;
use std::fmt;

use super::{Action, Param, Rule, Section, TextForm, Whatsapp};
use crate::error::{PublishError, RenderError};

/// Checks what does not depend on a recipient.
pub(crate) fn source(whatsapp: &Whatsapp<String>) -> Result<(), PublishError> {
    match whatsapp {
        Whatsapp::Template { name, language, body, buttons, .. } => {
            check(named(name), "whatsapp.name", "use 1 to 512 of a-z, 0-9 and _, as approved by Meta")?;
            check(
                language_code(language),
                "whatsapp.language",
                "write a code such as en or en_US, as approved by Meta",
            )?;
            parameter_names(body)?;
            let indices: HashSet<_> = buttons.iter().map(|button| button.index).collect();
            let fit = indices.len() == buttons.len() && indices.iter().all(|&index| index <= 9);
            check(fit, "whatsapp.buttons", "give each button an index of its own, 0 to 9")?;
        }
        Whatsapp::Interactive { action, .. } => structure(action)?,
        Whatsapp::Text { .. } | Whatsapp::Document { .. } | Whatsapp::Image { .. } => {}
    }
    whatsapp.try_map(|path, rule, text| {
        if text.contains("{{") {
            return Ok(());
        }
        fit(rule, text.clone()).map(drop).map_err(|message| PublishError::of(path.to_string(), message))
    })?;
    Ok(())
}

/// Brings a rendered text into the form of its rule, or says why it cannot be.
pub(crate) fn rendered(path: fmt::Arguments<'_>, rule: Rule, text: String) -> Result<String, RenderError> {
    if text.trim().is_empty() {
        return Err(RenderError::Empty { part: path.to_string() });
    }
    fit(rule, text).map_err(|message| RenderError::Limit { part: path.to_string(), message })
}

fn fit(rule: Rule, text: String) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty: write it".to_owned());
    }
    let text = match rule.form {
        TextForm::Free => text,
        TextForm::Line => single_line(text),
        TextForm::Link => {
            let web = text.starts_with("https://") || text.starts_with("http://");
            if !web || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err("must be one address that begins with https://".to_owned());
            }
            text
        }
    };
    if text.len() > rule.chars && text.chars().count() > rule.chars {
        return Err(format!("longer than {} characters: shorten the text or its values", rule.chars));
    }
    Ok(text)
}

fn single_line(text: String) -> String {
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let tidy = !text.contains("  ")
        && !text.contains(|c| c != ' ' && c != '\u{a0}' && blank(c))
        && text.trim().len() == text.len();
    if tidy {
        return text;
    }
    // No-break spaces hold figures together and are allowed, so they stay.
    text.split(|c| c != '\u{a0}' && blank(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn named(name: &str) -> bool {
    (1..=512).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn language_code(code: &str) -> bool {
    let (language, region) =
        code.split_once('_').map_or((code, None), |(language, region)| (language, Some(region)));
    let sound = (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
    sound
        && region.is_none_or(|region| {
            (2..=4).contains(&region.len()) && region.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

fn parameter_names(body: &[Param<String>]) -> Result<(), PublishError> {
    let names: Vec<_> = body.iter().filter_map(|param| param.name.as_deref()).collect();
    let unique: HashSet<_> = names.iter().collect();
    check(names.is_empty() || names.len() == body.len(), "whatsapp.body", "name every parameter or none")?;
    check(unique.len() == names.len(), "whatsapp.body", "give each parameter a name of its own")?;
    check(names.iter().all(|name| named(name)), "whatsapp.body", "parameter names are of a-z, 0-9 and _")
}

fn structure(action: &Action<String>) -> Result<(), PublishError> {
    match action {
        Action::Buttons(buttons) => {
            check((1..=3).contains(&buttons.len()), "whatsapp.action.buttons", "write 1 to 3 buttons")?;
            unique(buttons.iter().map(|button| &button.id), "whatsapp.action.buttons")
        }
        Action::List { sections, .. } => {
            check((1..=10).contains(&sections.len()), "whatsapp.action.sections", "write 1 to 10 sections")?;
            let rows = || sections.iter().flat_map(|section: &Section<String>| &section.rows);
            let filled = sections.iter().all(|section| !section.rows.is_empty()) && rows().count() <= 10;
            check(
                filled,
                "whatsapp.action.sections",
                "write 1 to 10 rows in all, at least one in each section",
            )?;
            unique(rows().map(|row| &row.id), "whatsapp.action.sections")
        }
    }
}

fn unique<'a>(ids: impl Iterator<Item = &'a String>, part: &str) -> Result<(), PublishError> {
    let mut seen = HashSet::new();
    let mut ids = ids;
    check(ids.all(|id| seen.insert(id)), part, "give each choice an id of its own")
}

fn check(holds: bool, part: &str, message: &str) -> Result<(), PublishError> {
    if holds { Ok(()) } else { Err(PublishError::of(part, message)) }
}
