//! Brevo's transactional e-mail: one message a request, or up to a thousand versions of one.
//!
//! Our message id travels twice: as `X-Mailin-custom`, which webhooks echo, and as the tag by which the event log can be
//! asked (see `look_up`). The idempotency key is a member of the JSON's `headers`, not a header of the request.

use std::{collections::BTreeSet, time::Duration};

use fanfare_templates::Rendered;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Client, email_hooks, look_up};
use crate::{
    domain::{channel::Provider, outcome::Outcome},
    id::MessageId,
    providers::{
        Adapter, Answer, BatchAnswer, Envelope, HookError, HookItem, HookRequest, LookUp, Sought,
        classify::{self, brevo::Keys},
        hook_auth::HookAuth,
        http::Reply,
        loose,
        settings::{self, BrevoEmailSettings, ConfigError, HttpSettings},
    },
};

/// Brevo keeps a key for 15 to 30 minutes, by different pages; this leaves room for clocks and queues.
const KEY_LIFETIME: Duration = Duration::from_secs(12 * 60);
/// Versions in one request.
const VERSIONS: usize = 1_000;
/// Largest body of a batch. Brevo documents no limit; gateways have one, and a batch is to be answered in time.
const BATCH_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub(in crate::providers) struct BrevoEmail {
    client: Client,
    hooks: HookAuth,
    sender_email: String,
    sender_name: String,
    reply_to: Option<String>,
    batch: bool,
}

impl BrevoEmail {
    pub(in crate::providers) fn new(
        settings: &BrevoEmailSettings,
        http: &HttpSettings,
    ) -> Result<Self, ConfigError> {
        let name = settings.sender_name.trim();
        if name.is_empty() || name.chars().count() > 70 || name.contains(ends_line) {
            return Err(ConfigError::new("sender_name", "must have 1 to 70 characters, on one line"));
        }
        Ok(Self {
            client: Client::new(&settings.base_url, "smtp/email", &settings.api_key, Keys::Honoured, http)?,
            hooks: settings::hook_auth(settings.webhook_auth.as_ref(), &settings.webhook_ips)?,
            sender_email: settings::email("sender_email", &settings.sender_email)?,
            sender_name: name.to_owned(),
            reply_to: settings
                .reply_to
                .as_deref()
                .map(|text| settings::email("reply_to", text))
                .transpose()?,
            batch: settings.batch,
        })
    }

    fn request<'a>(&'a self, key: Uuid, content: Content<'a>) -> Request<'a> {
        Request {
            sender: Person { email: &self.sender_email, name: Some(&self.sender_name) },
            reply_to: self.reply_to.as_deref().map(|email| Person { email, name: None }),
            to: None,
            content,
            headers: Headers { key: Some(key), ..Headers::default() },
            tags: Vec::new(),
            versions: Vec::new(),
        }
    }

    fn encode_one(&self, envelope: Envelope<'_>) -> Option<Vec<u8>> {
        let content = Content::of(envelope.content)?;
        let mut request = self.request(envelope.key, content);
        request.to = Some([Person { email: envelope.to, name: None }]);
        request.headers.about(envelope);
        request.tags.push(envelope.message.to_string());
        Some(encode(&request))
    }

    async fn send_many(&self, key: Uuid, envelopes: &[Envelope<'_>]) -> BatchAnswer {
        let mut request = self.request(key, Content::NONE);
        for envelope in envelopes {
            let Some(content) = Content::of(envelope.content) else { return BatchAnswer::Bisect };
            request.versions.push(Version {
                to: [Person { email: envelope.to, name: None }],
                content,
                headers: Headers::of(*envelope),
            });
        }
        request.tags = look_up::batch_tags(envelopes.iter().map(|envelope| envelope.message));
        let body = encode(&request);
        if body.len() > BATCH_BYTES {
            return BatchAnswer::Bisect;
        }
        match self.client.post_many(body).await {
            Ok(reply) => self.batch_answer(&reply, envelopes.len()),
            Err(error) => BatchAnswer::All(classify::no_answer(error)),
        }
    }

    fn batch_answer(&self, reply: &Reply, members: usize) -> BatchAnswer {
        if (200..300).contains(&reply.status) {
            let ids = reply.body.as_deref().ok().and_then(|body| message_ids(body, members));
            return match ids {
                Some(ids) => BatchAnswer::Each {
                    answers: ids.into_iter().map(|id| Outcome::Accepted { provider_id: Some(id) }).collect(),
                    quota: reply.quota,
                },
                None => BatchAnswer::All(classify::unreadable(reply)),
            };
        }
        let answer = self.client.refusal(reply);
        match answer.outcome {
            Outcome::Failed { .. } | Outcome::Suppressed { .. } => BatchAnswer::Bisect,
            _ => BatchAnswer::All(answer),
        }
    }
}

impl Adapter for BrevoEmail {
    fn provider(&self) -> Provider {
        Provider::BrevoEmail
    }

    fn key_lifetime(&self) -> Option<Duration> {
        Some(KEY_LIFETIME)
    }

    fn batch_limit(&self) -> usize {
        if self.batch { VERSIONS } else { 1 }
    }

    fn send(&self, envelope: Envelope<'_>) -> BoxFuture<'_, Answer> {
        match self.encode_one(envelope) {
            Some(body) => Box::pin(self.client.send(body, message_id)),
            None => Box::pin(std::future::ready(classify::wrong_content("e-mail"))),
        }
    }

    fn send_batch<'a>(&'a self, key: Uuid, envelopes: &'a [Envelope<'a>]) -> BoxFuture<'a, BatchAnswer> {
        Box::pin(self.send_many(key, envelopes))
    }

    fn look_up_limit(&self) -> usize {
        look_up::LIMIT
    }

    fn look_up<'a>(
        &'a self,
        sought: &'a [Sought],
        since: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'a, LookUp> {
        Box::pin(look_up::look_up(&self.client, sought, since, now))
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.client.probe())
    }

    fn verify(&self, request: &HookRequest<'_>) -> Result<(), HookError> {
        self.hooks.verify(request)
    }

    fn handshake(&self, _query: &[(String, String)]) -> Option<String> {
        None
    }

    fn parse(&self, body: &[u8], received: Timestamp) -> Result<Vec<HookItem>, HookError> {
        email_hooks::parse(body, received)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    sender: Person<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<Person<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<[Person<'a>; 1]>,
    #[serde(flatten)]
    content: Content<'a>,
    headers: Headers<'a>,
    tags: Vec<String>,
    #[serde(rename = "messageVersions", skip_serializing_if = "Vec::is_empty")]
    versions: Vec<Version<'a>>,
}

#[derive(Serialize)]
struct Version<'a> {
    to: [Person<'a>; 1],
    #[serde(flatten)]
    content: Content<'a>,
    headers: Headers<'a>,
}

#[derive(Serialize)]
struct Person<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    subject: &'a str,
    html_content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text_content: &'a str,
}

impl<'a> Content<'a> {
    /// A version may have a text of its own only where the request has one for all. This one says nothing: should it
    /// ever be used in a version's place, nobody gets somebody else's letter.
    const NONE: Self = Self { subject: "-", html_content: "<p></p>", text_content: "-" };

    const fn len(&self) -> usize {
        self.subject.len() + self.html_content.len() + self.text_content.len()
    }

    fn of(content: &'a Rendered) -> Option<Self> {
        match content {
            Rendered::Email { subject, html, text } => {
                Some(Self { subject, html_content: html, text_content: text })
            }
            _ => None,
        }
    }
}

#[derive(Default, Serialize)]
struct Headers<'a> {
    #[serde(rename = "Idempotency-Key", skip_serializing_if = "Option::is_none")]
    key: Option<Uuid>,
    #[serde(rename = "X-Mailin-custom", skip_serializing_if = "Option::is_none")]
    custom: Option<MessageId>,
    #[serde(rename = "List-Unsubscribe", skip_serializing_if = "Option::is_none")]
    unsubscribe: Option<InAngles<'a>>,
    /// RFC 8058: the mail program may unsubscribe by itself, by a POST of just this.
    #[serde(rename = "List-Unsubscribe-Post", skip_serializing_if = "Option::is_none")]
    unsubscribe_post: Option<&'static str>,
}

impl<'a> Headers<'a> {
    fn of(envelope: Envelope<'a>) -> Self {
        let mut headers = Self::default();
        headers.about(envelope);
        headers
    }

    fn about(&mut self, envelope: Envelope<'a>) {
        self.custom = Some(envelope.message);
        self.unsubscribe = envelope.unsubscribe.map(InAngles);
        self.unsubscribe_post = envelope.unsubscribe.map(|_| "List-Unsubscribe=One-Click");
    }
}

/// An address as RFC 2369 writes it: `<https://…>`.
struct InAngles<'a>(&'a str);

impl Serialize for InAngles<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("<{}>", self.0))
    }
}

fn encode(request: &Request<'_>) -> Vec<u8> {
    let contents = std::iter::once(&request.content).chain(request.versions.iter().map(|v| &v.content));
    let texts: usize = contents.map(Content::len).sum();
    // Grown step by step it would be copied half a dozen times. HTML needs about one escape in thirty bytes.
    let mut body = Vec::with_capacity(texts + texts / 16 + 512 * (1 + request.versions.len()));
    // Most of a letter needs no escape, and this one finds those that do sixteen bytes at a time.
    sonic_rs::to_writer(&mut body, request).expect("texts and ids are always JSON");
    body
}

fn message_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent {
        message_id: String,
    }
    serde_json::from_slice::<Sent>(body).ok().and_then(|sent| bare(&sent.message_id))
}

/// Exactly one id a member, all different; anything else tells nothing about who got what.
fn message_ids(body: &[u8], members: usize) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Sent {
        message_ids: Vec<String>,
    }
    let ids: Vec<String> = serde_json::from_slice::<Sent>(body)
        .ok()?
        .message_ids
        .iter()
        .map(|id| bare(id))
        .collect::<Option<_>>()?;
    let different: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    (ids.len() == members && different.len() == members).then_some(ids)
}

/// What a mail program may take for the end of a header's line.
fn ends_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Without the angle brackets, which some of Brevo's answers and events have and others lack.
pub(super) fn bare(id: &str) -> Option<String> {
    let id = id.trim().trim_start_matches('<').trim_end_matches('>');
    loose::fits(id).then(|| id.to_owned())
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
