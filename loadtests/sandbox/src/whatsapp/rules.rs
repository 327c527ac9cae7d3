//! What the Cloud API allows in a message.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::GraphError;
use super::message::{Component, Interactive, Media, Message, Parameter, Template, TextBody};
use crate::brevo::{Text, given};
use crate::config::WhatsappTemplate;

/// A message that keeps the rules.
#[derive(Debug)]
pub(crate) struct Checked<'r> {
    /// As it was written.
    pub(crate) input: &'r str,
    /// Digits, without `+`.
    pub(crate) to: &'r str,
    pub(crate) content: &'r RawValue,
    pub(crate) message_id: &'r str,
    pub(crate) template: bool,
    pub(crate) category: &'r str,
}

const MAX_BODY: usize = 4_096;
const MAX_CAPTION: usize = 1_024;
const MAX_CALLBACK_DATA: usize = 512;
const MAX_INTERACTIVE_BODY: usize = 1_024;
const MAX_HEADER: usize = 60;
const MAX_FOOTER: usize = 60;
const MAX_BUTTONS: usize = 3;
const MAX_BUTTON_ID: usize = 256;
const MAX_BUTTON_TITLE: usize = 20;
const MAX_SECTIONS: usize = 10;
const MAX_ROWS: usize = 10;
const MAX_ROW_ID: usize = 200;
const MAX_ROW_TITLE: usize = 24;

pub(crate) fn check<'r>(
    message: &'r Message<'r>,
    templates: &'r [WhatsappTemplate],
) -> Result<Checked<'r>, GraphError> {
    if given(&message.messaging_product) != Some("whatsapp") {
        return Err(GraphError::parameter(
            "The parameter messaging_product is required and must be whatsapp",
        ));
    }
    if !matches!(given(&message.recipient_type), None | Some("individual" | "group")) {
        return Err(GraphError::parameter("Param recipient_type must be one of {INDIVIDUAL, GROUP}"));
    }
    let input = given(&message.to).ok_or_else(|| GraphError::parameter("The parameter to is required"))?;
    let to = phone(input)?;
    let callback_data = given(&message.biz_opaque_callback_data).unwrap_or_default();
    longest(callback_data, MAX_CALLBACK_DATA, "biz_opaque_callback_data")?;
    let kind = given(&message.kind).unwrap_or("text");
    let content = match kind {
        "text" => message.text,
        "template" => message.template,
        "document" => message.document,
        "image" => message.image,
        "interactive" => message.interactive,
        _ => return Err(GraphError::of_code(131_051)),
    };
    let content = content.ok_or_else(|| GraphError::missing(kind))?;
    let mut category = "service";
    match kind {
        "text" => text(&parse(content, kind)?)?,
        "template" => category = template(&parse(content, kind)?, templates)?,
        "interactive" => interactive(&parse(content, kind)?)?,
        _ => media(&parse(content, kind)?, kind)?,
    }
    Ok(Checked { input, to, content, message_id: callback_data, template: kind == "template", category })
}

fn parse<'r, T: Deserialize<'r>>(content: &'r RawValue, kind: &str) -> Result<T, GraphError> {
    let mut input = serde_json::Deserializer::from_str(content.get());
    serde_path_to_error::deserialize(&mut input).map_err(|error| {
        GraphError::parameter(format!("Param {kind}.{} is not valid: {}", error.path(), error.inner()))
    })
}

fn phone(input: &str) -> Result<&str, GraphError> {
    let digits = input.strip_prefix('+').unwrap_or(input);
    if (6..=15).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit()) {
        Ok(digits)
    } else {
        Err(GraphError::value("Parameter to is not a valid phone number"))
    }
}

/// Bytes are an upper bound of characters, so most texts need not be counted.
fn longest(text: &str, most: usize, field: &str) -> Result<(), GraphError> {
    if text.len() > most && text.chars().count() > most {
        return Err(GraphError::parameter(format!("Param {field} must be at most {most} characters long.")));
    }
    Ok(())
}

fn required<'r>(text: &'r Option<Text<'_>>, most: usize, field: &str) -> Result<&'r str, GraphError> {
    let text = given(text).ok_or_else(|| GraphError::missing(field))?;
    longest(text, most, field)?;
    Ok(text)
}

fn text(content: &TextBody<'_>) -> Result<(), GraphError> {
    required(&content.body, MAX_BODY, "text['body']").map(drop)
}

fn media(content: &Media<'_>, kind: &str) -> Result<(), GraphError> {
    match (given(&content.id), given(&content.link)) {
        (None, None) => return Err(GraphError::missing(&format!("{kind}['id'] or {kind}['link']"))),
        (Some(_), Some(_)) => {
            return Err(GraphError::parameter(format!("Param {kind} takes id or link, not both")));
        }
        (None, Some(link)) if !link.starts_with("https://") && !link.starts_with("http://") => {
            return Err(GraphError::parameter(format!("Param {kind}['link'] is not a valid URL.")));
        }
        _ => {}
    }
    longest(given(&content.caption).unwrap_or_default(), MAX_CAPTION, &format!("{kind}['caption']"))
}

fn template<'t>(content: &Template<'_>, known: &'t [WhatsappTemplate]) -> Result<&'t str, GraphError> {
    let name = required(&content.name, 512, "template['name']")?;
    if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_') {
        return Err(GraphError::new(132_001, format!("template name ({name}) does not exist")));
    }
    let language = content.language.as_ref().ok_or_else(|| GraphError::missing("template['language']"))?;
    let code = required(&language.code, 16, "template['language']['code']")?;
    if !code.bytes().all(|c| c.is_ascii_alphabetic() || c == b'_') {
        return Err(GraphError::parameter("Param template['language']['code'] is not a valid language"));
    }
    for component in &content.components {
        check_component(component)?;
    }
    if known.is_empty() {
        return Ok("utility");
    }
    let found = known.iter().find(|template| template.name == name && template.language == code);
    let found = found.ok_or_else(|| {
        GraphError::new(132_001, format!("template name ({name}) does not exist in {code}"))
    })?;
    let body = content.components.iter().filter(|component| given(&component.kind).is_some_and(is_body));
    let params: usize = body.map(|component| component.parameters.len()).sum();
    if params == found.body_params {
        Ok(&found.category)
    } else {
        let expected = found.body_params;
        Err(GraphError::new(
            132_000,
            format!(
                "body: number of localizable_params ({params}) does not match the expected number of params ({expected})"
            ),
        ))
    }
}

fn is_body(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("body")
}

fn check_component(component: &Component<'_>) -> Result<(), GraphError> {
    let kind = given(&component.kind).ok_or_else(|| GraphError::missing("components['type']"))?;
    if !["header", "body", "button"].iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Err(GraphError::parameter("Param components['type'] must be one of {HEADER, BODY, BUTTON}"));
    }
    if kind.eq_ignore_ascii_case("button") {
        let sub_type =
            given(&component.sub_type).ok_or_else(|| GraphError::missing("components['sub_type']"))?;
        if !["quick_reply", "url", "catalog", "flow", "copy_code"]
            .iter()
            .any(|known| sub_type.eq_ignore_ascii_case(known))
        {
            return Err(GraphError::parameter("Param components['sub_type'] is not a known type of button"));
        }
        let index = match &component.index {
            Some(Value::String(index)) => index.parse().ok(),
            Some(Value::Number(index)) => index.as_u64(),
            _ => return Err(GraphError::missing("components['index']")),
        };
        if index.is_none_or(|index| index > 9) {
            return Err(GraphError::parameter("Param components['index'] must be 0 to 9"));
        }
    }
    component.parameters.iter().try_for_each(check_parameter)
}

fn check_parameter(parameter: &Parameter<'_>) -> Result<(), GraphError> {
    match given(&parameter.kind).ok_or_else(|| GraphError::missing("parameters['type']"))? {
        "text" if given(&parameter.text).is_none() => Err(GraphError::missing("parameters['text']")),
        "payload" if given(&parameter.payload).is_none() => Err(GraphError::missing("parameters['payload']")),
        "image" | "document" => {
            let content = parameter.image.as_ref().or(parameter.document.as_ref());
            media(
                content.ok_or_else(|| GraphError::missing("parameters['image' or 'document']"))?,
                "parameters",
            )
        }
        "text" | "payload" | "currency" | "date_time" | "video" | "location" | "action" | "coupon_code" => {
            Ok(())
        }
        _ => Err(GraphError::of_code(132_012)),
    }
}

fn interactive(content: &Interactive<'_>) -> Result<(), GraphError> {
    let kind = given(&content.kind).ok_or_else(|| GraphError::missing("interactive['type']"))?;
    if let Some(header) = &content.header
        && given(&header.kind) == Some("text")
    {
        required(&header.text, MAX_HEADER, "interactive['header']['text']")?;
    }
    let body = content.body.as_ref().ok_or_else(|| GraphError::missing("interactive['body']"))?;
    required(&body.text, MAX_INTERACTIVE_BODY, "interactive['body']['text']")?;
    if let Some(footer) = &content.footer {
        required(&footer.text, MAX_FOOTER, "interactive['footer']['text']")?;
    }
    let action = content.action.as_ref().ok_or_else(|| GraphError::missing("interactive['action']"))?;
    match kind {
        "button" => {
            if action.buttons.is_empty() || action.buttons.len() > MAX_BUTTONS {
                return Err(GraphError::value(format!(
                    "interactive['action']['buttons'] holds 1 to {MAX_BUTTONS} buttons"
                )));
            }
            for button in &action.buttons {
                let reply = button.reply.as_ref().filter(|_| given(&button.kind) == Some("reply"));
                let reply = reply.ok_or_else(|| GraphError::missing("buttons['reply']"))?;
                required(&reply.id, MAX_BUTTON_ID, "buttons['reply']['id']")?;
                required(&reply.title, MAX_BUTTON_TITLE, "buttons['reply']['title']")?;
            }
            Ok(())
        }
        "list" => {
            required(&action.button, MAX_BUTTON_TITLE, "interactive['action']['button']")?;
            if action.sections.is_empty() || action.sections.len() > MAX_SECTIONS {
                return Err(GraphError::value(format!(
                    "interactive['action']['sections'] holds 1 to {MAX_SECTIONS} sections"
                )));
            }
            let rows: Vec<_> = action.sections.iter().flat_map(|section| &section.rows).collect();
            if rows.is_empty() || rows.len() > MAX_ROWS {
                return Err(GraphError::value(format!(
                    "the sections of a list hold 1 to {MAX_ROWS} rows in all"
                )));
            }
            rows.into_iter().try_for_each(|row| {
                required(&row.id, MAX_ROW_ID, "rows['id']")?;
                required(&row.title, MAX_ROW_TITLE, "rows['title']").map(drop)
            })
        }
        "cta_url" | "flow" | "product" | "product_list" | "catalog_message" | "location_request_message" => {
            Ok(())
        }
        _ => Err(GraphError::parameter("Param interactive['type'] is not a known type")),
    }
}
