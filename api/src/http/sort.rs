//! The order of a list on the wire: the name of a field, with `-` before it for the other way round. A list says which of its
//! fields it can be sorted by; texts, schema and refusals follow from that.

use std::fmt;

use fanfare_engine::store::listing::{Order, Way};
use serde::{Deserialize, Deserializer, de::Error as _};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// What a list can be sorted by.
pub(crate) trait Sortable: Copy + PartialEq + 'static {
    /// Each field with its name on the wire.
    const FIELDS: &'static [(&'static str, Self)];
    /// What holds if nothing is said.
    const USUAL: Order<Self>;
}

/// The order that was asked for, or the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sort<F>(pub(crate) Order<F>);

impl<F: Sortable> Sort<F> {
    pub(crate) const fn way(&self) -> Way {
        self.0.1
    }

    /// Of the parameter `sort`.
    pub(crate) fn schema() -> RefOr<Schema> {
        let texts: Vec<String> = Self::all().map(|sort| sort.to_string()).collect();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A field; with `-` before it the other way round."))
            .enum_values(Some(texts))
            .default(Some(Self::default().to_string().into()))
            .into()
    }

    fn all() -> impl Iterator<Item = Self> {
        F::FIELDS.iter().flat_map(|&(_, field)| [Self((field, Way::Up)), Self((field, Way::Down))])
    }
}

impl<F: Sortable> Default for Sort<F> {
    fn default() -> Self {
        Self(F::USUAL)
    }
}

impl<F: Sortable> fmt::Display for Sort<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (wanted, way) = self.0;
        let named = F::FIELDS.iter().find(|(_, field)| *field == wanted);
        let (name, _) = named.expect("every field of a list has a name");
        match way {
            Way::Up => f.write_str(name),
            Way::Down => write!(f, "-{name}"),
        }
    }
}

impl<'de, F: Sortable> Deserialize<'de> for Sort<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::all().find(|sort| sort.to_string() == text).ok_or_else(|| {
            let known: Vec<String> = Self::all().map(|sort| format!("`{sort}`")).collect();
            D::Error::custom(format!("is no order of this list: it has {}", known.join(", ")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum By {
        CreatedAt,
        Name,
    }

    impl Sortable for By {
        const FIELDS: &'static [(&'static str, Self)] =
            &[("createdAt", Self::CreatedAt), ("name", Self::Name)];
        const USUAL: Order<Self> = (Self::CreatedAt, Way::Down);
    }

    fn read(text: &str) -> Result<Sort<By>, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn a_minus_turns_a_field_round() {
        assert_eq!(read("name").expect("known"), Sort((By::Name, Way::Up)));
        assert_eq!(read("-name").expect("known"), Sort((By::Name, Way::Down)));
        assert_eq!(Sort::<By>::default().to_string(), "-createdAt");
        for unknown in ["", "-", "--name", "Name", "name,createdAt"] {
            let why = read(unknown).expect_err(unknown).to_string();
            assert!(why.contains("`createdAt`, `-createdAt`, `name`, `-name`"), "{why}");
        }
    }
}
