//! The body of `POST /{version}/{phone-number-id}/messages`, and the canonical form of its content.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::brevo::Text;

#[derive(Debug, Deserialize)]
pub(crate) struct Message<'a> {
    #[serde(borrow)]
    pub(crate) messaging_product: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) recipient_type: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) to: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) biz_opaque_callback_data: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) template: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) document: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) image: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) interactive: Option<&'a RawValue>,
    /// `read`: the mark that an inbound message was read, which is not a message.
    #[serde(borrow)]
    pub(crate) status: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) message_id: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TextBody<'a> {
    #[serde(borrow)]
    pub(crate) body: Option<Text<'a>>,
    #[serde(default, rename = "preview_url")]
    pub(crate) _preview_url: Option<bool>,
}

/// `image` or `document`.
#[derive(Debug, Deserialize)]
pub(crate) struct Media<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) link: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) caption: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Template<'a> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) language: Option<Language<'a>>,
    #[serde(borrow, default)]
    pub(crate) components: Vec<Component<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Language<'a> {
    #[serde(borrow)]
    pub(crate) code: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Component<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) sub_type: Option<Text<'a>>,
    /// A digit, as text or as a number.
    pub(crate) index: Option<Value>,
    #[serde(borrow, default)]
    pub(crate) parameters: Vec<Parameter<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Parameter<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) payload: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) image: Option<Media<'a>>,
    #[serde(borrow)]
    pub(crate) document: Option<Media<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Interactive<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) header: Option<Header<'a>>,
    #[serde(borrow)]
    pub(crate) body: Option<Words<'a>>,
    #[serde(borrow)]
    pub(crate) footer: Option<Words<'a>>,
    #[serde(borrow)]
    pub(crate) action: Option<Action<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) text: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Words<'a> {
    #[serde(borrow)]
    pub(crate) text: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Action<'a> {
    #[serde(borrow)]
    pub(crate) button: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(crate) buttons: Vec<Button<'a>>,
    #[serde(borrow, default)]
    pub(crate) sections: Vec<Section<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Button<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) reply: Option<Choice<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Section<'a> {
    #[serde(borrow, default)]
    pub(crate) rows: Vec<Choice<'a>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<Text<'a>>,
    #[serde(borrow)]
    pub(crate) title: Option<Text<'a>>,
}

/// Compact JSON with sorted keys: the same content always has the same form, whatever made it.
pub(crate) fn canonical(content: &RawValue) -> String {
    let value = serde_json::from_str(content.get()).unwrap_or_default();
    let mut out = String::with_capacity(content.get().len());
    write(&value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (place, (name, value)) in fields.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}
