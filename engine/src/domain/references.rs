//! What callers call a message: pairs of a name and a value, such as `policyId` and `POL123456`.

use std::collections::BTreeMap;

/// Pairs on one message.
pub const MOST: usize = 8;
pub const LONGEST_NAME: usize = 64;
pub const LONGEST_VALUE: usize = 128;

/// Checked pairs, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References(BTreeMap<String, String>);

/// A pair that can't be taken; the name that was wrong, or whose value was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("there are {0}, and may be at most {MOST}")]
    TooMany(usize),
    #[error("a name must have 1 to {LONGEST_NAME} characters, without a colon or control characters")]
    Name(String),
    #[error("a value must have 1 to {LONGEST_VALUE} characters, without control characters")]
    Value(String),
}

impl References {
    pub fn new(pairs: BTreeMap<String, String>) -> Result<Self, ReferenceError> {
        if pairs.len() > MOST {
            return Err(ReferenceError::TooMany(pairs.len()));
        }
        for (name, value) in &pairs {
            // A query says `name:value`, so that a colon would leave open where the name ends.
            if !fits(name, LONGEST_NAME) || name.contains(':') {
                return Err(ReferenceError::Name(name.chars().take(LONGEST_NAME).collect()));
            }
            if !fits(value, LONGEST_VALUE) {
                return Err(ReferenceError::Value(name.clone()));
            }
        }
        Ok(Self(pairs))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Reads `policyId:POL123456`, as a query writes it.
pub fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once(':')?;
    (fits(name, LONGEST_NAME) && fits(value, LONGEST_VALUE)).then_some((name, value))
}

fn fits(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.chars().count()) && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<References, ReferenceError> {
        References::new(BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_cannot_be_asked_for_again_is_refused() {
        assert!(check("policyId", "POL:123 456").is_ok());
        assert!(check(&"é".repeat(64), &"é".repeat(128)).is_ok());
        for name in ["", "a:b", "a\0", &"n".repeat(65)] {
            assert!(matches!(check(name, "v"), Err(ReferenceError::Name(_))), "{name:?}");
        }
        for value in ["", "a\0b", &"v".repeat(129)] {
            assert_eq!(check("n", value), Err(ReferenceError::Value("n".to_owned())), "{value:?}");
        }
        let nine = (0..9).map(|no| (no.to_string(), "v".to_owned())).collect();
        assert_eq!(References::new(nine), Err(ReferenceError::TooMany(9)));
    }

    #[test]
    fn a_query_is_split_at_its_first_colon() {
        assert_eq!(pair("policyId:POL:1"), Some(("policyId", "POL:1")));
        for text in ["policyId", ":v", "n:", "n:\0"] {
            assert_eq!(pair(text), None, "{text:?}");
        }
    }
}
