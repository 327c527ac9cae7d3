//! The JSON of the Cloud API, without `messaging_product` and `to`: what a provider sends as it is.

use serde::{Deserialize, Serialize};

use super::{Action, Button, ButtonType, Header, Param, Section, Whatsapp};

/// The type-specific part of a message, as in `{"type": "text", "text": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WhatsappMessage {
    Text { text: TextObject },
    Template { template: TemplateObject },
    Document { document: MediaObject },
    Image { image: MediaObject },
    Interactive { interactive: InteractiveObject },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextObject {
    pub preview_url: bool,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateObject {
    pub name: String,
    pub language: Code,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Code {
    pub code: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Component {
    Header { parameters: Vec<HeaderParameter> },
    Body { parameters: Vec<TextParameter> },
    Button { sub_type: ButtonType, index: String, parameters: Vec<ButtonParameter> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HeaderParameter {
    Text { text: String },
    Document { document: MediaObject },
    Image { image: MediaObject },
}

/// Always of the type `text`: dates and amounts arrive written out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TextParameter {
    Text {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameter_name: Option<String>,
        text: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ButtonParameter {
    Payload { payload: String },
    Text { text: String },
    CouponCode { coupon_code: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MediaObject {
    pub link: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InteractiveObject {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderParameter>,
    pub body: TextValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<TextValue>,
    #[serde(flatten)]
    pub action: ActionObject,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextValue {
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "action", rename_all = "snake_case")]
pub enum ActionObject {
    Button { buttons: Vec<ReplyButton> },
    List { button: String, sections: Vec<Section<String>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReplyButton {
    Reply { reply: ReplyObject },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyObject {
    pub id: String,
    pub title: String,
}

impl From<Whatsapp<String>> for WhatsappMessage {
    fn from(filled: Whatsapp<String>) -> Self {
        match filled {
            Whatsapp::Text { body, preview_url } => Self::Text { text: TextObject { preview_url, body } },
            Whatsapp::Template { name, language, header, body, buttons } => {
                let components = components(header, body, buttons);
                Self::Template {
                    template: TemplateObject { name, language: Code { code: language }, components },
                }
            }
            Whatsapp::Document { link, filename, caption } => {
                Self::Document { document: MediaObject { link, filename: Some(filename), caption } }
            }
            Whatsapp::Image { link, caption } => {
                Self::Image { image: MediaObject { link, filename: None, caption } }
            }
            Whatsapp::Interactive { header, body, footer, action } => Self::Interactive {
                interactive: InteractiveObject {
                    header: header.map(|text| HeaderParameter::Text { text }),
                    body: TextValue { text: body },
                    footer: footer.map(|text| TextValue { text }),
                    action: action_object(action),
                },
            },
        }
    }
}

fn components(
    header: Option<Header<String>>,
    body: Vec<Param<String>>,
    buttons: Vec<Button<String>>,
) -> Vec<Component> {
    let mut components = Vec::with_capacity(2 + buttons.len());
    if let Some(header) = header {
        let parameter = match header {
            Header::Text { text } => HeaderParameter::Text { text },
            Header::Document { link, filename } => HeaderParameter::Document {
                document: MediaObject { link, filename: Some(filename), caption: None },
            },
            Header::Image { link } => {
                HeaderParameter::Image { image: MediaObject { link, filename: None, caption: None } }
            }
        };
        components.push(Component::Header { parameters: vec![parameter] });
    }
    if !body.is_empty() {
        let parameters = body
            .into_iter()
            .map(|param| TextParameter::Text { parameter_name: param.name, text: param.text });
        components.push(Component::Body { parameters: parameters.collect() });
    }
    components.extend(buttons.into_iter().map(|Button { sub_type, index, parameter }| {
        let parameter = match sub_type {
            ButtonType::QuickReply => ButtonParameter::Payload { payload: parameter },
            ButtonType::Url => ButtonParameter::Text { text: parameter },
            ButtonType::CopyCode => ButtonParameter::CouponCode { coupon_code: parameter },
        };
        Component::Button { sub_type, index: index.to_string(), parameters: vec![parameter] }
    }));
    components
}

fn action_object(action: Action<String>) -> ActionObject {
    match action {
        Action::Buttons(buttons) => ActionObject::Button {
            buttons: buttons
                .into_iter()
                .map(|choice| ReplyButton::Reply {
                    reply: ReplyObject { id: choice.id, title: choice.title },
                })
                .collect(),
        },
        Action::List { button, sections } => ActionObject::List { button, sections },
    }
}
