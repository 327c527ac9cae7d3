//! What is said beside a file: what it is called, what it is for, and how it is to be read.

use fanfare_engine::contacts::options::ReadingOptions;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::problem::{FieldError, Problem};

const LONGEST_NAME: usize = 255;
const LONGEST_DESCRIPTION: usize = 1_000;

/// How a file is to be read. What is not said is as the tenant has it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Metadata {
    /// What the file is, for people.
    #[schema(max_length = 1000, example = "Upload description")]
    description: String,
    /// What columns are, where their headers do not say it: `Header=field[:type[:currency]]`, or `#2=field` for the second
    /// column. Fields: `email`, `phone`, `name`, `first_name`, `last_name`, `language`, `time_zone`, `reference`, `currency`,
    /// `ignore`; any other name is an attribute. Types: `text`, `date`, `amount`.
    #[schema(max_items = 512, example = json!(["Contact=email", "Prime=premium:amount:MUR"]))]
    mapping: Vec<String>,
    /// Whether 03/04/2027 is the 3rd of April; true if not said.
    day_first: Option<bool>,
    /// The sheet of a workbook; the first one if not said.
    #[schema(max_length = 100)]
    sheet: Option<String>,
    /// ISO 3166: phone numbers without a country code belong to it.
    #[schema(example = "MU")]
    region: Option<String>,
    /// IANA: where new people live of whom the file does not say it.
    #[schema(example = "Indian/Mauritius")]
    time_zone: Option<String>,
    /// ISO 4217: of amounts that do not state theirs.
    #[schema(example = "MUR")]
    currency: Option<String>,
    /// Takes the same file again.
    force: bool,
}

/// Checked [`Metadata`].
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) description: String,
    pub(super) options: ReadingOptions,
}

impl Metadata {
    pub(super) fn check(self) -> Result<Reading, Problem> {
        let options = ReadingOptions {
            mapping: self.mapping,
            day_first: self.day_first.unwrap_or(true),
            sheet: self.sheet,
            region: self.region,
            time_zone: self.time_zone,
            currency: self.currency,
            force: self.force,
        };
        let mut errors = Vec::new();
        if self.description.chars().count() > LONGEST_DESCRIPTION || self.description.contains('\0') {
            errors.push(FieldError {
                field: "metadata.description".to_owned(),
                message: format!("must have at most {LONGEST_DESCRIPTION} characters, none of them NUL"),
            });
        }
        let told = options.problems().into_iter();
        errors
            .extend(told.map(|(field, message)| FieldError { field: format!("metadata.{field}"), message }));
        if errors.is_empty() {
            Ok(Reading { description: self.description, options })
        } else {
            Err(Problem::fields(errors))
        }
    }
}

/// The name of a file without the folders that some browsers send with it.
pub(super) fn file_name(stated: &str, field: &str) -> Result<String, Problem> {
    let name = stated.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        let what = format!("needs a file name of 1 to {LONGEST_NAME} characters without control characters");
        return Err(Problem::field(field, what));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_without_folders() {
        for (stated, name) in [
            ("policies.xlsx", "policies.xlsx"),
            ("C:\\Users\\asha\\policies.xlsx", "policies.xlsx"),
            ("../../etc/passwd", "passwd"),
            ("échéances \"mai\".csv", "échéances \"mai\".csv"),
        ] {
            assert_eq!(file_name(stated, "file").as_deref(), Ok(name));
        }
        for refused in ["", "  ", "folder/", "a\r\nb.csv", "a\0.csv", &"x".repeat(256)] {
            assert!(file_name(refused, "file").is_err(), "{refused}");
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        let metadata: Metadata = serde_json::from_value(serde_json::json!({
            "description": "a\0b", "mapping": ["x"], "region": "??", "timeZone": "Mars/Olympus", "currency": "zzz",
        }))
        .expect("the right kinds");
        let problem = format!("{:?}", metadata.check().expect_err("refused"));
        for field in ["description", "mapping[0]", "region", "timeZone", "currency"] {
            assert!(problem.contains(&format!("metadata.{field}")), "{field}: {problem}");
        }
    }
}
