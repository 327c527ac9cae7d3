//! Reads a recipient's values as they were pinned: a JSON array of objects, in which a member of a later object holds
//! before one of an earlier. What the template does not name is passed over without being built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The values of these names.
pub(crate) fn read(pinned: &str, names: &[String]) -> serde_json::Result<Map<String, Value>> {
    let mut values = Map::new();
    let mut text = serde_json::Deserializer::from_str(pinned);
    Objects { names, values: &mut values }.deserialize(&mut text)?;
    text.end()?;
    Ok(values)
}

struct Objects<'a> {
    names: &'a [String],
    values: &'a mut Map<String, Value>,
}

impl<'de> DeserializeSeed<'de> for Objects<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        text.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut objects: A) -> Result<(), A::Error> {
        let Self { names, values } = self;
        while objects.next_element_seed(Object { names, values })?.is_some() {}
        Ok(())
    }
}

struct Object<'a> {
    names: &'a [String],
    values: &'a mut Map<String, Value>,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        text.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = members.next_key()? {
            if self.names.iter().any(|name| *name == key) {
                let value = members.next_value()?;
                match self.values.get_mut(&*key) {
                    Some(earlier) => *earlier = value,
                    None => drop(self.values.insert(key.into_owned(), value)),
                }
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Borrowed unless an escape stands in it.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        text.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pinned: &str, expected: Option<Value>) {
        let names = ["name", "premium", "o\"k"].map(str::to_owned);
        assert_eq!(read(pinned, &names).ok().map(Value::Object), expected, "{pinned}");
    }

    #[test]
    fn later_objects_hold_before_earlier_ones() {
        check(r#"[]"#, Some(json!({})));
        check(
            r#"[{"name":"Ann"},{"age":4,"premium":{"minor":1}}]"#,
            Some(json!({"name": "Ann", "premium": {"minor": 1}})),
        );
        check(r#"[{"name":"Ann"},{"name":"Anna"},{"name":null}]"#, Some(json!({"name": null})));
        check(
            r#"[{"name":"Ann"},{},{"o\"k":[1,{"name":2}]}]"#,
            Some(json!({"name": "Ann", "o\"k": [1, {"name": 2}]})),
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "{}", "[1]", r#"[{"name":}]"#, "[{}] x", "[{}", r#"{"name":"Ann"}"#] {
            check(text, None);
        }
    }
}
