//! Reading of JSON whose types change from sample to sample: a number may be a string, a list may be one value or a list
//! written into a string. What does not fit is absent, never an error.

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

/// Whether a provider's id of a message can be kept. NUL is in no id, and the database refuses it: with it everything that is
/// written together.
pub(super) fn fits(id: &str) -> bool {
    (1..=512).contains(&id.len()) && !id.contains('\0')
}

/// A member that is a text without NUL, or a number written out; trimmed and not empty.
pub(super) fn text(object: &Value, name: &str) -> Option<String> {
    let text = match object.get(name)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && !text.contains('\0')).then_some(text)
}

/// A member by a name whose case is not certain.
pub(super) fn any_case<'v>(object: &'v Value, name: &str) -> Option<&'v str> {
    object.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str().map(str::trim)
}

/// A list of texts: an array, one text, or an array that was written into a text.
pub(super) fn list(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(text)) => match serde_json::from_str::<Vec<String>>(text) {
            Ok(items) => items,
            Err(_) => vec![text.clone()],
        },
        _ => Vec::new(),
    }
}

/// A moment in seconds or milliseconds since 1970, whichever makes sense: seconds reach 1e11 in the year 5138.
pub(super) fn epoch(object: &Value, name: &str) -> Option<Timestamp> {
    let number = match object.get(name)? {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64))?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    match number {
        ..=0 => None,
        1..100_000_000_000 => Timestamp::from_second(number).ok(),
        _ => Timestamp::from_millisecond(number).ok(),
    }
}

/// Names an event by what makes it the same when it is told again.
pub(super) fn fingerprint(parts: &[&str]) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut bytes = [0_u8; 16];
    hasher.finalize_xof().fill(&mut bytes);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn seconds_and_milliseconds_are_told_apart() {
        let at = |value: Value| epoch(&json!({ "t": value }), "t").map(|at| at.to_string());
        let expected = Some("2020-11-09T14:54:14Z".to_owned());
        for value in
            [json!(1_604_933_654), json!(1_604_933_654_000_i64), json!("1604933654"), json!(1_604_933_654.4)]
        {
            assert_eq!(at(value.clone()), expected, "{value}");
        }
        for value in
            [json!(0), json!(-5), json!("soon"), json!(null), json!([1]), json!(i64::MAX), json!(1e300)]
        {
            assert_eq!(at(value.clone()), None, "{value}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_eq!(fingerprint(&["a", "b"]), fingerprint(&["a", "b"]));
        assert_ne!(fingerprint(&["ab", ""]), fingerprint(&["a", "b"]));
    }
}
