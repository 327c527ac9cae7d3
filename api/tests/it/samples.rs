//! The contract's samples, word by word: each file of `tests/samples` is sent as it stands, and the answer compared with it.
//!
//! The ids of a sample are replaced by those of rows that its case makes. `"..."`, `["..."]` and `{"...": "..."}` stand where
//! the contract leaves a text, a list or an object open. Everything else must be equal: the keys within `data` may be more,
//! those of the envelope may not.

use std::{collections::BTreeSet, path::Path};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::PgPool;

use crate::{
    campaigns::Insurer,
    open::{Client, PASSWORD},
    single_sends::Stage,
    uploads::{self, BOUNDARY, Part},
};

/// When the samples were taken.
const THEN: &str = "2024-05-15T10:30:00Z";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    /// What the contract says of it.
    #[serde(rename = "about")]
    _about: String,
    request: Asked,
    response: Answered,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    path: String,
    headers: Map<String, Value>,
    body: Option<Value>,
    form: Option<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<Value>,
}

/// What nobody could know beforehand, by what it must look like.
#[derive(Debug, Clone, Copy)]
enum Like {
    /// An id of this kind.
    Id(&'static str),
    /// RFC 3339, in UTC.
    Moment,
    /// As in `2-3 minutes`.
    Minutes,
}

impl Like {
    fn holds(self, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        match self {
            Self::Id(prefix) => text.strip_prefix(prefix).is_some_and(|rest| {
                rest.len() >= 26 && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            }),
            Self::Moment => text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(),
            Self::Minutes => text
                .strip_suffix(" minutes")
                .and_then(|range| range.split_once('-'))
                .is_some_and(|(least, most)| matches!((least.parse::<u32>(), most.parse::<u32>()), (Ok(least), Ok(most)) if least < most)),
        }
    }
}

/// What makes a sample's world true.
#[derive(Debug, Default)]
struct Case {
    /// Who asks.
    client: Option<Client>,
    /// The sample's ids, and those that they stand for.
    ids: Vec<(&'static str, String)>,
    /// What the request leaves open.
    fill: Vec<(&'static str, Value)>,
    /// What the answer can't have as it stands in the sample.
    free: Vec<(&'static str, Like)>,
    file: Option<(&'static str, Vec<u8>)>,
}

struct World {
    insurer: Insurer,
    /// Of the same tenant, with the providers' sandbox, at the samples' time.
    then: Stage,
    pool: PgPool,
}

impl World {
    async fn new(pool: &PgPool) -> Self {
        let then = Stage::at(pool, THEN).await;
        let world = Self { insurer: Insurer::new(pool).await, then, pool: pool.clone() };
        // By the database's clock a session that began then is long over.
        world.sql("update sessions set expires_at = now() + interval '1 day'".to_owned()).await;
        world
    }

    async fn sql(&self, statement: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&self.pool).await.unwrap();
    }

    fn owner(&self) -> Case {
        Case { client: Some(self.insurer.owner.clone()), ..Case::default() }
    }

    fn then(&self) -> Case {
        Case { client: Some(self.then.owner.clone()), ..Case::default() }
    }

    /// `None`: there is no such case.
    async fn case(&self, name: &str) -> Option<Case> {
        let (area, _) = name.split_once('-')?;
        match area {
            "upload" => self.upload(name).await,
            "campaigns" => self.campaign(name).await,
            "templates" => self.template(name).await,
            "communication" => self.communication(name).await,
            "auth" => self.auth(name).await,
            "notifications" => self.notification(name).await,
            _ => None,
        }
    }

    async fn upload(&self, name: &str) -> Option<Case> {
        match name {
            "upload-file" => Some(Case {
                file: Some(("policies.xlsx", uploads::policies())),
                free: vec![
                    ("/data/uploadId", Like::Id("upl_")),
                    ("/data/estimatedProcessingTime", Like::Minutes),
                ],
                ..self.owner()
            }),
            "upload-status" => {
                // Other samples upload these policies, too.
                let metadata = json!({"force": true}).to_string();
                let parts: [Part<'_>; 2] = [
                    ("file", Some("policies.xlsx"), &uploads::policies()),
                    ("metadata", None, metadata.as_bytes()),
                ];
                let (_, made) = uploads::send(&self.insurer.owner, &parts).await;
                let id = text(&made, "/data/uploadId");
                uploads::drain(&self.insurer.open).await;
                self.sql(
                    "update uploads set started_at = finished_at - interval '135 seconds' where state = 'completed'"
                        .to_owned(),
                )
                .await;
                Some(Case { ids: vec![("upload-123", id)], ..self.owner() })
            }
            "upload-history" => {
                let theirs = self.insurer.open.stranger().await;
                self.sql(
                    "insert into uploads (id, tenant_id, file_name, sha256, bytes, format, mapping, rows_read, rows_taken, rows_refused,
                                          contacts_created, contacts_updated)
                     select gen_random_uuid(), id, n || '.csv', '', 1, 'csv', '{}', 0, 0, 0, 0, 0
                     from tenants, generate_series(1, 45) n where slug = 'other'"
                        .to_owned(),
                )
                .await;
                Some(Case { client: Some(theirs), ..Case::default() })
            }
            "upload-template" => Some(self.owner()),
            _ => None,
        }
    }

    async fn campaign(&self, name: &str) -> Option<Case> {
        match name {
            "campaigns-create" => Some(Case {
                ids: vec![("upload-123", self.insurer.upload.clone())],
                free: vec![("/data/campaigns/0/id", Like::Id("camp_"))],
                ..self.then()
            }),
            "campaigns-list" => {
                self.insurer.sent().await;
                Some(self.owner())
            }
            "campaigns-status" => Some(Case {
                ids: vec![("campaign-456", self.insurer.sent().await)],
                free: vec![("/data/updatedAt", Like::Moment)],
                ..self.owner()
            }),
            "campaigns-analytics" => {
                let id = self.insurer.sent().await;
                self.insurer.sample_numbers(&id).await;
                Some(Case { ids: vec![("campaign-456", id)], ..self.owner() })
            }
            _ => None,
        }
    }

    async fn template(&self, name: &str) -> Option<Case> {
        match name {
            "templates-list" => {
                let theirs = self.insurer.open.stranger().await;
                let new = json!({
                    "name": "Renewal Reminder - 30 Days", "type": "email", "subject": "Your Policy Renewal is Due Soon",
                    "content": "Dear {name}, your policy expires in 30 days...",
                    "variables": ["name", "policy_number", "expiry_date"],
                });
                let (_, made) = theirs.post("/api/templates", &new).await;
                let ids = vec![("template-1", text(&made, "/data/templateId"))];
                Some(Case { client: Some(theirs), ids, ..Case::default() })
            }
            "templates-create" => {
                Some(Case { free: vec![("/data/templateId", Like::Id("tmpl_"))], ..self.owner() })
            }
            _ => None,
        }
    }

    async fn communication(&self, name: &str) -> Option<Case> {
        let sent = vec![("/data/messageId", Like::Id("msg_"))];
        match name {
            "communication-whatsapp-send" => {
                self.then.renewal_reminder().await;
                Some(Case { free: sent, ..self.then() })
            }
            "communication-sms-send" => {
                self.then.price(50_000).await;
                Some(Case { free: sent, ..self.then() })
            }
            "communication-delivery-status" => {
                let message = self.then.sent(json!({"to": "+919876543210", "message": "m"})).await;
                self.then.event(&message, "delivered", "2024-05-15T10:32:00Z").await;
                self.then.event(&message, "read", "2024-05-15T10:35:00Z").await;
                Some(Case { ids: vec![("wa-msg-123", message)], ..self.then() })
            }
            _ => None,
        }
    }

    /// Somebody new who has signed in, their address and their id.
    async fn somebody(&self, email: &str) -> (Client, String) {
        let (status, known) = self.insurer.owner.post("/api/contacts", &json!({"email": email})).await;
        assert_eq!(status, 201, "{known}");
        let new = json!({"email": email, "firstName": "Kim", "role": "customer"});
        let (status, invited) = self.insurer.owner.post("/api/users", &new).await;
        assert_eq!(status, 201, "{invited}");
        let path = text(&invited, "/data/invitation/path");
        let nobody = self.insurer.open.nobody();
        let (_, accepted) = nobody.post(&path, &json!({"password": PASSWORD})).await;
        (self.insurer.open.bearing(&text(&accepted, "/data/token")), text(&accepted, "/data/user/id"))
    }

    async fn auth(&self, name: &str) -> Option<Case> {
        let nobody = Case { client: Some(self.insurer.open.nobody()), ..Case::default() };
        let fill = |pairs: &[(&'static str, &str)]| {
            pairs.iter().map(|(pointer, value)| (*pointer, json!(value))).collect()
        };
        match name {
            "auth-register" => {
                self.sql("update tenants set self_registration = 'customer' where slug = 'acme'".to_owned())
                    .await;
                let fill =
                    fill(&[("/email", "new@example.com"), ("/password", PASSWORD), ("/firstName", "New")]);
                Some(Case { fill, ..nobody })
            }
            "auth-login" => {
                self.somebody("login@example.com").await;
                Some(Case {
                    fill: fill(&[("/email", "login@example.com"), ("/password", PASSWORD)]),
                    ..nobody
                })
            }
            "auth-me" => Some(self.owner()),
            "auth-profile" => {
                let (who, _) = self.somebody("profile@example.com").await;
                let fill = fill(&[("/firstName", "Kim"), ("/phone", "+23052345678")]);
                Some(Case { client: Some(who), fill, ..Case::default() })
            }
            "auth-change-password" => {
                let (who, _) = self.somebody("change@example.com").await;
                let fill = fill(&[("/currentPassword", PASSWORD), ("/newPassword", "another horse battery")]);
                Some(Case { client: Some(who), fill, ..Case::default() })
            }
            "auth-forgot-password" => {
                self.somebody("forgot@example.com").await;
                Some(Case { fill: fill(&[("/email", "forgot@example.com")]), ..nobody })
            }
            "auth-reset-password" => {
                let (_, id) = self.somebody("reset@example.com").await;
                let (_, link) = self.insurer.owner.post(&format!("/api/users/{id}/link"), &json!({})).await;
                let token = text(&link, "/data/token");
                Some(Case {
                    ids: vec![(":token", token)],
                    fill: fill(&[("/password", "another horse battery")]),
                    ..nobody
                })
            }
            _ => None,
        }
    }

    async fn notification(&self, name: &str) -> Option<Case> {
        if name == "notifications-broadcast" {
            let fill = vec![("/title", json!("Maintenance")), ("/message", json!("Saturday, 20:00"))];
            return Some(Case { fill, ..self.owner() });
        }
        // Whoever has one notification only.
        let (who, id) = self.somebody(&format!("{name}@example.com")).await;
        let new = json!({"type": "policy", "title": "Approved", "message": "Your policy is approved",
                         "data": {"policyNumber": "POL123456"}, "audience": {"users": [id]}});
        let (status, told) = self.insurer.owner.post("/api/notifications/broadcast", &new).await;
        assert_eq!(status, 201, "{told}");
        let case = Case { client: Some(who), ..Case::default() };
        match name {
            "notifications-list" => Some(case),
            "notifications-read" | "notifications-delete" => {
                Some(Case { ids: vec![(":id", text(&told, "/data/ids/0"))], ..case })
            }
            _ => None,
        }
    }
}

fn text(answer: &Value, pointer: &str) -> String {
    answer
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{pointer} of {answer}"))
        .to_owned()
}

impl Case {
    /// The sample's ids become real ones.
    fn real(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (sample, real)| text.replace(sample, real))
    }

    fn body(&self, sample: &Value) -> Value {
        let mut body: Value = serde_json::from_str(&self.real(&sample.to_string())).unwrap();
        for (pointer, value) in &self.fill {
            let place = body.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} of the sample"));
            assert_eq!(place, "...", "{pointer} is not open");
            *place = value.clone();
        }
        assert!(!body.to_string().contains("\"...\""), "{body}: the case does not say what stands here");
        body
    }

    fn request(&self, asked: &Asked) -> reqwest::RequestBuilder {
        let client = self.client.as_ref().unwrap();
        assert_eq!(asked.headers.contains_key("Authorization"), client.token.is_some(), "who asks");
        let method: Method = asked.method.parse().unwrap();
        let request = client.request(method, &self.real(&asked.path));
        let kind = asked.headers.get("Content-Type").map(|kind| kind.as_str().unwrap());
        match (&asked.form, &asked.body) {
            (Some(form), _) => {
                let (file, bytes) = self.file.as_ref().unwrap();
                let metadata = form["metadata"].to_string();
                let parts: [Part<'_>; 2] =
                    [("file", Some(file), bytes), ("metadata", None, metadata.as_bytes())];
                let kind = format!("{}; boundary={BOUNDARY}", kind.unwrap());
                request.header("content-type", kind).body(uploads::form(&parts))
            }
            (None, Some(body)) => {
                request.header("content-type", kind.unwrap()).body(self.body(body).to_string())
            }
            (None, None) => request,
        }
    }

    async fn check(&self, sample: &Sample) {
        let answer = self.request(&sample.request).send().await.unwrap();
        let status = answer.status().as_u16();
        for (name, value) in &sample.response.headers {
            assert_eq!(answer.headers()[name.as_str()], value.as_str().unwrap(), "{name}");
        }
        let bytes = answer.bytes().await.unwrap();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        assert_eq!(status, sample.response.status, "{shown}");
        let Some(expected) = &sample.response.body else {
            assert_eq!(bytes.is_empty(), sample.response.headers.is_empty(), "{shown}");
            return;
        };
        let got: Value = serde_json::from_slice(&bytes).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(keys(expected), keys(&got), "the envelope");
        let mut met = BTreeSet::new();
        self.same(expected, &got, "", &mut met);
        let free: BTreeSet<&str> = self.free.iter().map(|(pointer, _)| *pointer).collect();
        assert_eq!(met, free, "what is free is there");
    }

    fn same(&self, sample: &Value, got: &Value, at: &str, met: &mut BTreeSet<&'static str>) {
        if let Some((pointer, like)) = self.free.iter().find(|(pointer, _)| *pointer == at) {
            assert!(like.holds(got), "{at} is {got}, and should be like {sample}: {like:?}");
            met.insert(pointer);
            return;
        }
        match (sample, got) {
            (Value::String(open), Value::String(got)) if open == "..." => assert!(!got.is_empty(), "{at}"),
            (Value::String(sample), Value::String(got)) => assert_eq!(&self.real(sample), got, "{at}"),
            (Value::Array(open), Value::Array(got)) if open.as_slice() == ["..."] => {
                assert!(!got.is_empty(), "{at}");
            }
            (Value::Object(open), Value::Object(got)) if open.contains_key("...") => {
                assert!(!got.is_empty(), "{at}");
            }
            // Of lists the sample shows the beginning.
            (Value::Array(sample), Value::Array(got)) => {
                let shown = sample.first().is_some_and(Value::is_object);
                assert!(sample.len() == got.len() || shown && sample.len() < got.len(), "{at}: {got:?}");
                for (index, (sample, got)) in sample.iter().zip(got).enumerate() {
                    self.same(sample, got, &format!("{at}/{index}"), met);
                }
            }
            (Value::Object(sample), Value::Object(got)) => {
                for (key, sample) in sample {
                    let got = got.get(key).unwrap_or_else(|| panic!("{at}/{key} is missing: {got:?}"));
                    self.same(sample, got, &format!("{at}/{key}"), met);
                }
            }
            _ => assert_eq!(sample, got, "{at}"),
        }
    }
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn every_sample_of_the_contract_works_as_written(pool: PgPool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 24, "each sample of the contract has its file");
    let world = World::new(&pool).await;
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        println!("{name}");
        let sample: Sample = serde_json::from_str(&std::fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let case = world
            .case(name)
            .await
            .unwrap_or_else(|| panic!("{name}: say in this test how its sample comes true"));
        case.check(&sample).await;
    }
}
