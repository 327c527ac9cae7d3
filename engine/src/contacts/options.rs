//! How a file is to be read, as whoever uploads it says: checked at once, kept with the upload, used when it is taken.

use serde::{Deserialize, Serialize};

use super::{
    header::Override,
    import::{ImportOptions, Limits, Shape},
};
use crate::{domain::address::Region, store::uploads::TenantDefaults};

/// Columns that a mapping can name, and the length of one wish.
const MOST_WISHES: usize = 512;
const LONGEST_WISH: usize = 500;
/// Excel allows 31 characters.
const LONGEST_SHEET: usize = 100;

/// What is not said is as the tenant has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadingOptions {
    /// As [`ImportOptions::mapping`].
    pub mapping: Vec<String>,
    pub day_first: bool,
    pub sheet: Option<String>,
    /// ISO 3166: phone numbers without a country code belong to it.
    pub region: Option<String>,
    /// IANA: where people live of whom the file does not say it.
    pub time_zone: Option<String>,
    /// ISO 4217: of amounts that do not state theirs.
    pub currency: Option<String>,
    /// Takes a file that was taken before.
    pub force: bool,
}

impl Default for ReadingOptions {
    fn default() -> Self {
        Self {
            mapping: Vec::new(),
            day_first: true,
            sheet: None,
            region: None,
            time_zone: None,
            currency: None,
            force: false,
        }
    }
}

impl ReadingOptions {
    /// What can't be meant: the field, and what to do about it.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut problem = |field: String, what: String| problems.push((field, what));
        if self.mapping.len() > MOST_WISHES {
            problem("mapping".to_owned(), format!("must have at most {MOST_WISHES} entries"));
        }
        for (at, wish) in self.mapping.iter().take(MOST_WISHES).enumerate() {
            let field = format!("mapping[{at}]");
            if wish.chars().count() > LONGEST_WISH || wish.contains('\0') {
                problem(field, format!("must have at most {LONGEST_WISH} characters, none of them NUL"));
            } else if let Err(error) = Override::parse(wish) {
                problem(field, error.to_string());
            }
        }
        if self.sheet.as_ref().is_some_and(|name| name.chars().count() > LONGEST_SHEET || name.contains('\0'))
        {
            let what = format!("must have at most {LONGEST_SHEET} characters, none of them NUL");
            problem("sheet".to_owned(), what);
        }
        if let Some(Err(error)) = self.region.as_deref().map(Region::parse) {
            problem("region".to_owned(), error);
        }
        if self.time_zone.as_deref().is_some_and(|name| jiff::tz::TimeZone::get(name).is_err()) {
            problem("timeZone".to_owned(), "is no IANA time zone, such as Indian/Mauritius".to_owned());
        }
        let unknown = |code: &str| iso_currency::Currency::from_code(code).is_none();
        if self.currency.as_deref().is_some_and(unknown) {
            problem("currency".to_owned(), "is no ISO 4217 currency, such as MUR".to_owned());
        }
        problems
    }

    pub(super) fn import(&self, limits: Limits) -> ImportOptions {
        ImportOptions {
            shape: Shape::Table,
            force: self.force,
            mapping: self.mapping.clone(),
            day_first: self.day_first,
            sheet: self.sheet.clone(),
            refused_to: None,
            limits,
        }
    }

    /// The tenant's settings where the request says nothing else.
    pub(super) fn over(&self, usual: TenantDefaults) -> TenantDefaults {
        TenantDefaults {
            region: self.region.clone().unwrap_or(usual.region),
            time_zone: self.time_zone.clone().unwrap_or(usual.time_zone),
            currency: self.currency.clone().unwrap_or(usual.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_named() {
        assert_eq!(ReadingOptions::default().problems(), Vec::new());
        let wrong = ReadingOptions {
            mapping: vec!["Contact=email".to_owned(), "Contact".to_owned(), "a\0=email".to_owned()],
            sheet: Some("x".repeat(101)),
            region: Some("Mauritius".to_owned()),
            time_zone: Some("Port Louis".to_owned()),
            currency: Some("rupees".to_owned()),
            ..ReadingOptions::default()
        };
        let fields: Vec<String> = wrong.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["mapping[1]", "mapping[2]", "sheet", "region", "timeZone", "currency"]);
    }

    #[test]
    fn what_an_older_version_wrote_is_read() {
        let stored: ReadingOptions = serde_json::from_str(r#"{"sheet": "May"}"#).expect("readable");
        assert_eq!(stored, ReadingOptions { sheet: Some("May".to_owned()), ..ReadingOptions::default() });
    }
}
