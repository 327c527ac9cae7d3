//! Templates at Meta: submitted, and asked for.

use futures::future::BoxFuture;
use hyper::Uri;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::WhatsappCloud;
use crate::{
    domain::approval::{ApprovalStatus, ButtonKind, ButtonText, Submission},
    providers::{
        SubmitError, Submitted, TemplateDesk, TemplateNews, classify,
        http::{Reply, SendError, Size},
        loose,
        settings::{self, ConfigError},
    },
};

/// Templates of a page, and pages: more than Meta lets anybody have.
const PAGE: usize = 200;
const PAGES: usize = 40;

/// Where requests about templates go.
#[derive(Debug)]
pub(super) struct Approvals {
    base: Url,
    version: String,
    /// `None`: nobody said whose templates they are.
    business: Option<String>,
}

impl Approvals {
    pub(super) fn new(base: &Url, version: &str, business: Option<&str>) -> Result<Self, ConfigError> {
        if business.is_some_and(|id| !is_id(id)) {
            return Err(ConfigError::new(
                "business_account_id",
                "must be the id of the WhatsApp business account, all digits",
            ));
        }
        Ok(Self { base: base.clone(), version: version.to_owned(), business: business.map(str::to_owned) })
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Uri {
        let mut url = settings::below(&self.base, &format!("{}/{path}", self.version));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        settings::uri(&url)
    }

    fn all(&self, query: &[(&str, &str)]) -> Result<Uri, SubmitError> {
        let business = self.business.as_deref().ok_or(SubmitError::NoBusiness)?;
        Ok(self.url(&format!("{business}/message_templates"), query))
    }
}

fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// As Meta wants it.
fn request(template: &Submission, whole: bool) -> Value {
    let mut components = Vec::new();
    if let Some(header) = &template.header {
        let mut component = json!({"type": "HEADER", "format": "TEXT", "text": header.text});
        if let Some(example) = &header.example {
            component["example"] = json!({"header_text": [example]});
        }
        components.push(component);
    }
    let mut body = json!({"type": "BODY", "text": template.body});
    if !template.names.is_empty() {
        let named = template.names.iter().zip(&template.examples);
        let named: Vec<Value> =
            named.map(|(name, example)| json!({"param_name": name, "example": example})).collect();
        body["example"] = json!({"body_text_named_params": named});
    } else if !template.examples.is_empty() {
        body["example"] = json!({"body_text": [template.examples]});
    }
    components.push(body);
    if let Some(footer) = &template.footer {
        components.push(json!({"type": "FOOTER", "text": footer}));
    }
    if !template.buttons.is_empty() {
        let buttons: Vec<Value> = template.buttons.iter().map(button).collect();
        components.push(json!({"type": "BUTTONS", "buttons": buttons}));
    }
    let category = template.category.as_str().to_ascii_uppercase();
    if !whole {
        return json!({"category": category, "components": components});
    }
    json!({
        "name": template.name, "language": template.language, "category": category, "components": components,
        "parameter_format": if template.names.is_empty() { "POSITIONAL" } else { "NAMED" },
    })
}

fn button(ButtonText { text, kind }: &ButtonText) -> Value {
    match kind {
        ButtonKind::QuickReply => json!({"type": "QUICK_REPLY", "text": text}),
        ButtonKind::Url { url, example: None } => json!({"type": "URL", "text": text, "url": url}),
        ButtonKind::Url { url, example: Some(example) } => {
            // An example of the whole address.
            let shown = url.replace("{{1}}", example);
            json!({"type": "URL", "text": text, "url": url, "example": [shown]})
        }
        ButtonKind::PhoneNumber(phone) => {
            json!({"type": "PHONE_NUMBER", "text": text, "phone_number": phone})
        }
        ButtonKind::CopyCode { example } => json!({"type": "COPY_CODE", "example": example}),
    }
}

fn away(error: SendError) -> SubmitError {
    SubmitError::Away(match error {
        SendError::NotSent => "no connection came about".to_owned(),
        SendError::Ambiguous(reason) => reason.sentence().to_owned(),
    })
}

/// The body of a good answer.
fn good(reply: &Reply) -> Result<Value, SubmitError> {
    let said =
        || classify::whatsapp::refusal(reply).words.unwrap_or_else(|| format!("it answers {}", reply.status));
    match (reply.status, &reply.body) {
        (200..300, Ok(body)) => serde_json::from_slice(body)
            .map_err(|_| SubmitError::Away("its answer could not be read".to_owned())),
        (200..300, Err(reason)) => Err(SubmitError::Away(reason.sentence().to_owned())),
        (429 | 500.., _) => Err(SubmitError::Away(said())),
        _ => Err(SubmitError::Refused(said())),
    }
}

fn news(template: &Value, now: Timestamp) -> Option<TemplateNews> {
    let none = |reason: &String| !reason.eq_ignore_ascii_case("none");
    Some(TemplateNews {
        id: loose::text(template, "id"),
        name: loose::text(template, "name")?,
        language: loose::text(template, "language")?,
        status: ApprovalStatus::of_meta(&loose::text(template, "status")?)?,
        reason: loose::text(template, "rejected_reason").filter(none),
        at: now,
    })
}

impl WhatsappCloud {
    async fn submitted(&self, template: &Submission, id: Option<&str>) -> Result<Submitted, SubmitError> {
        let url = match id.filter(|id| is_id(id)) {
            Some(id) => self.approvals.url(id, &[]),
            None => self.approvals.all(&[])?,
        };
        let body = serde_json::to_vec(&request(template, id.is_none())).expect("texts are always JSON");
        let answer = good(&self.http.post(&url, body, Size::One).await.map_err(away)?)?;
        // A change is answered by `success` alone.
        let id = loose::text(&answer, "id").or_else(|| id.map(str::to_owned)).filter(|id| is_id(id));
        let id = id.ok_or_else(|| SubmitError::Away("its answer names no template".to_owned()))?;
        let status = loose::text(&answer, "status").and_then(|word| ApprovalStatus::of_meta(&word));
        Ok(Submitted { id, status: status.unwrap_or(ApprovalStatus::Pending) })
    }

    async fn listed(&self, now: Timestamp) -> Result<Vec<TemplateNews>, SubmitError> {
        #[derive(Deserialize)]
        struct Page {
            data: Vec<Value>,
        }
        let (mut all, mut after) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let limit = PAGE.to_string();
            let mut query = vec![("fields", "id,name,language,status,rejected_reason"), ("limit", &limit)];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let url = self.approvals.all(&query)?;
            let mut answer = good(&self.http.get(&url, Size::Many).await.map_err(away)?)?;
            let more = answer.pointer("/paging/next").is_some();
            after = answer.pointer("/paging/cursors/after").and_then(Value::as_str).map(str::to_owned);
            let page: Page = serde_json::from_value(answer.take())
                .map_err(|_| SubmitError::Away("its answer could not be read".to_owned()))?;
            all.extend(page.data.iter().filter_map(|template| news(template, now)));
            if !more || after.is_none() {
                break;
            }
        }
        Ok(all)
    }
}

impl TemplateDesk for WhatsappCloud {
    fn submit<'a>(
        &'a self,
        template: &'a Submission,
        id: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Submitted, SubmitError>> {
        Box::pin(self.submitted(template, id))
    }

    fn list(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<TemplateNews>, SubmitError>> {
        Box::pin(self.listed(now))
    }
}
