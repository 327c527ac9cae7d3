//! What a job does: render, post, read the answer, record.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use fanfare_templates::{Compiled, Locale, Rendered};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Uri, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::config::{Config, Job, Sender};

#[derive(Debug)]
pub(crate) struct Office {
    compiled: Compiled,
    locale: Locale,
    sender: Sender,
    url: Uri,
    api_key: String,
    client: Client<HttpConnector, Full<Bytes>>,
    pool: PgPool,
}

impl Office {
    pub(crate) fn new(config: Config, pool: PgPool) -> anyhow::Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            compiled: Compiled::new(&config.letter)?,
            locale: Locale::parse("en")?,
            sender: config.sender,
            url: format!("{}/v3/smtp/email", config.sink_url).parse()?,
            api_key: config.api_key,
            client: Client::builder(TokioExecutor::new()).build(connector),
            pool,
        })
    }

    pub(crate) async fn send(&self, job: &Job) -> anyhow::Result<()> {
        let provider_id = self.post(self.body(job)?).await?;
        sqlx::query("insert into peer_results (n, address, provider_id) values ($1, $2, $3)")
            .bind(job.n)
            .bind(&job.address)
            .bind(provider_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    fn body(&self, job: &Job) -> anyhow::Result<Vec<u8>> {
        let Rendered::Email { subject, html, text } = self.compiled.render(&job.variables, &self.locale)?
        else {
            bail!("the letter is an e-mail");
        };
        Ok(serde_json::to_vec(&Body {
            sender: &self.sender,
            to: [To { email: &job.address }],
            subject: &subject,
            html_content: &html,
            text_content: &text,
            headers: Headers { key: &job.key, custom: &job.id },
            tags: [&job.id],
        })?)
    }

    async fn post(&self, body: Vec<u8>) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            message_id: String,
        }
        let request = Request::post(&self.url)
            .header("api-key", &self.api_key)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))?;
        let response = self.client.request(request).await?;
        let status = response.status();
        let answer = response.into_body().collect().await?.to_bytes();
        ensure!(status == 201, "the sink answered {status}");
        let Answer { message_id } = serde_json::from_slice(&answer).context("the sink's answer")?;
        Ok(message_id.trim_matches(['<', '>']).to_owned())
    }
}

/// Brevo's request, its members in the order in which the sink looks for them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    sender: &'a Sender,
    to: [To<'a>; 1],
    subject: &'a str,
    html_content: &'a str,
    text_content: &'a str,
    headers: Headers<'a>,
    tags: [&'a str; 1],
}

#[derive(Serialize)]
struct To<'a> {
    email: &'a str,
}

#[derive(Serialize)]
struct Headers<'a> {
    #[serde(rename = "Idempotency-Key")]
    key: &'a str,
    #[serde(rename = "X-Mailin-custom")]
    custom: &'a str,
}
