//! What is wrong with a configuration: the key, where its value came from, and what to do.

use super::tree::Origin;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: cannot be read: {problem}")]
    Unreadable { path: String, problem: String },
    #[error("{origin}: {problem}")]
    Syntax { origin: Origin, problem: String },
    #[error("{origin}: there is no `{key}`{}", hint(.instead))]
    Unknown { key: String, origin: Origin, instead: Instead },
    #[error("{origin}: `{key}` {problem}")]
    Value { key: String, origin: Origin, problem: String },
}

/// What might have been meant by an unknown key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    Perhaps(String),
    OneOf(Vec<String>),
}

impl Instead {
    /// The nearest of the known names, or all of them.
    pub(super) fn of<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let near = known
            .iter()
            .map(|name| (strsim::damerau_levenshtein(unknown, name), *name))
            .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
            .min();
        match near {
            Some((_, name)) => Self::Perhaps(name.to_owned()),
            None => Self::OneOf(known.into_iter().map(str::to_owned).collect()),
        }
    }
}

fn hint(instead: &Instead) -> String {
    match instead {
        Instead::Perhaps(name) => format!("; did you mean `{name}`?"),
        Instead::OneOf(names) if names.is_empty() => String::new(),
        Instead::OneOf(names) => format!("; there are: {}", names.join(", ")),
    }
}

/// Everything that is wrong, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "the configuration cannot be used: {one}"),
            all => {
                write!(f, "the configuration cannot be used:")?;
                all.iter().try_for_each(|error| write!(f, "\n  {error}"))
            }
        }
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// Nothing wrong, or all of it.
pub(super) fn all_or_nothing(errors: Vec<ConfigError>) -> Result<(), ConfigErrors> {
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
}
