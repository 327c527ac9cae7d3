//! Texts that programs stumble over, in every text field of every body that the OpenAPI document knows: none of them breaks
//! anything, what is taken comes back as it was, byte by byte, and what is not is refused by the field's name.
//!
//! Fields that take plain words are filled together, each with another text, and the whole big list goes through all of them.
//! The others, which refuse whatever is not of their form, get all of it one at a time.
//!
//! The big list is the Big List of Naughty Strings; `naughty.txt` has texts of our own.

pub(crate) mod bodies;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use self::bodies::{NUMBER, found, full, texts, with};
use crate::{
    contract::{document, things},
    open::Client,
    single_sends::Stage,
    support::in_two_days,
};

const LIST: &str = include_str!("naughty/naughty.txt");
/// Stands in a body where a text is put, escapes and all.
const HERE: &str = "@@here";
/// What a field that takes words takes.
const PLAIN: &str = "\"Plain words\"";
/// Operations at a time.
const ABREAST: usize = 8;
/// What a request is told that waited five seconds for the database.
const AWAY: &str = "This process can't do its work at the moment.";
/// How many of all the requests may be told so, and come again: the machine may stand still once. What a text breaks, it breaks
/// each time, and every other refusal counts at once.
const PUT_OFF: usize = 3;
/// Fields that have a normal form, in which they come back: addresses, languages, moments, names of files without their folders.
const NORMALISED: [&str; 10] =
    ["email", "phone", "address", "to", "locale", "filename", "expiresAt", "scheduledAt", "recordedAt", "at"];

/// Texts as JSON, each once; some of them are no JSON.
struct List {
    /// Each in other company.
    whole: Vec<String>,
    /// Of ours, in every field of a body at once.
    more: Vec<String>,
}

fn listed() -> List {
    let big = naughty_strings::BLNS.iter().map(|text| serde_json::to_string(text).unwrap());
    let mut known = BTreeSet::new();
    let mut value =
        |text: &String| known.insert(serde_json::from_str::<String>(text).unwrap_or_else(|_| text.clone()));
    let whole = always().into_iter().chain(big).filter(&mut value).collect();
    let more = LIST.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).filter(value).collect();
    List { whole, more }
}

/// What every field is tried with: it is what breaks databases, parsers and limits.
fn always() -> Vec<String> {
    let mut all: Vec<String> =
        [r#""\u0000""#, r#""a\u0000b""#, r#""\ud800""#, r#""""#, r#"" ""#].map(str::to_owned).into();
    all.push(format!("\"{}\"", "x".repeat(100_000)));
    all.push(format!("\"{}\"", "\u{1f600}".repeat(1_000)));
    all
}

/// Bodies that nobody could fill in so that they are always taken: they prove something, lead to an account that is not there,
/// or need a campaign in a state that others of them end.
const NEVER_TAKEN: [(&str, &str); 15] = [
    ("POST", "/api/auth/accept-invitation/{token}"),
    ("PUT", "/api/auth/change-password"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/reset-password/{token}"),
    ("DELETE", "/api/auth/second-factor"),
    ("POST", "/api/auth/second-factor"),
    ("POST", "/api/auth/second-factor/confirm"),
    ("POST", "/api/communication/email/send"),
    ("POST", "/api/campaigns/{campaign_id}/approve"),
    ("POST", "/api/campaigns/{campaign_id}/reject"),
    ("POST", "/api/campaigns/{campaign_id}/submit"),
    ("POST", "/api/templates/{template_id}/test"),
    ("POST", "/api/templates/{template_id}/versions/{version}/submit"),
];

/// Fields that must have come back as they were at least once, or this test would look nowhere.
const COME_BACK: [(&str, &str); 10] = [
    ("POST /api/roles", "/name"),
    ("PUT /api/roles/{role_id}", "/description"),
    ("POST /api/users", "/firstName"),
    ("PUT /api/auth/profile", "/lastName"),
    ("POST /api/contacts", "/name"),
    ("PATCH /api/contacts/{contact_id}", "/attributes/key"),
    ("POST /api/templates", "/subject"),
    ("PUT /api/templates/{template_id}/versions/{version}", "/content"),
    ("POST /api/campaigns", "/name"),
    ("PATCH /api/campaigns/{campaign_id}", "/name"),
];

/// An operation with a body, and where texts stand in it.
struct Operation {
    method: Method,
    /// As the document has it.
    template: String,
    path: String,
    good: Value,
    pointers: Vec<String>,
}

/// Texts, as JSON, by the place where they stand.
type Filled<'a> = BTreeMap<&'a str, &'a str>;

/// What is known after an operation's tries.
#[derive(Default)]
struct Tried {
    /// Whether the body is taken as it is.
    good: bool,
    requests: usize,
    taken: usize,
    /// Fields that came back as they were sent.
    back: BTreeSet<String>,
    wrong: Vec<String>,
}

impl Tried {
    fn and(mut self, more: Self) -> Self {
        self.requests += more.requests;
        self.taken += more.taken;
        self.back.extend(more.back);
        self.wrong.extend(more.wrong);
        self
    }
}

impl Operation {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }

    async fn send(&self, client: &Client, filled: &Filled<'_>) -> (u16, Value) {
        static NUMBERS: AtomicUsize = AtomicUsize::new(0);
        static WAITED: AtomicUsize = AtomicUsize::new(0);
        let here = |at: usize| format!("{HERE}{at}@@");
        let places = filled.keys().enumerate();
        let body =
            places.fold(self.good.clone(), |body, (at, pointer)| with(&body, pointer, json!(here(at))));
        let number = format!("{:x}", NUMBERS.fetch_add(1, Ordering::Relaxed));
        let body = body.to_string().replace(NUMBER, &number);
        let body = filled
            .values()
            .enumerate()
            .fold(body, |body, (at, text)| body.replace(&format!("\"{}\"", here(at)), text));
        loop {
            let request = client.request(self.method.clone(), &self.path);
            let request = request.header("content-type", "application/json").body(body.clone());
            let said = client.send(request).await;
            if said.1["detail"] != AWAY || WAITED.fetch_add(1, Ordering::Relaxed) >= PUT_OFF {
                return said;
            }
        }
    }

    /// Fields that take plain words, in groups of those that can be sent together; and the others.
    async fn groups(&self, client: &Client) -> (Vec<Vec<&str>>, Vec<&str>) {
        let taken = async |pointers: &[&str]| {
            let filled = pointers.iter().map(|pointer| (*pointer, PLAIN)).collect();
            (200..300).contains(&self.send(client, &filled).await.0)
        };
        let (mut groups, mut others): (Vec<Vec<&str>>, _) = (Vec::new(), Vec::new());
        'fields: for pointer in &self.pointers {
            if !taken(&[pointer]).await {
                others.push(pointer.as_str());
                continue;
            }
            for group in &mut groups {
                if taken(&[group.as_slice(), &[pointer]].concat()).await {
                    group.push(pointer);
                    continue 'fields;
                }
            }
            groups.push(vec![pointer]);
        }
        (groups, others)
    }

    /// What is tried: the whole list, with fields that are sent together, and with those of a form one by one.
    async fn tries<'a>(&'a self, client: &Client, list: &'a List) -> Vec<Filled<'a>> {
        let whole: Vec<&str> = list.whole.iter().map(String::as_str).collect();
        let (groups, others) = self.groups(client).await;
        let mut tries: Vec<Filled<'a>> = Vec::new();
        for group in groups {
            let apart = whole.len() / group.len();
            for at in 0..whole.len() {
                let nth = |n: usize| whole[(at + n * apart) % whole.len()];
                tries.push(group.iter().enumerate().map(|(n, pointer)| (*pointer, nth(n))).collect());
            }
            for text in &list.more {
                tries.push(group.iter().map(|pointer| (*pointer, text.as_str())).collect());
            }
        }
        for pointer in others {
            let texts = list.whole.iter().chain(&list.more);
            tries.extend(texts.map(|text| Filled::from([(pointer, text.as_str())])));
        }
        tries
    }

    async fn attempt(&self, client: &Client, list: &List) -> Tried {
        let good = (200..300).contains(&self.send(client, &Filled::new()).await.0);
        let tries = self.tries(client, list).await;
        // Of what is there already, what is read back would be another try's.
        let abreast = if self.method == Method::POST { ABREAST } else { 1 };
        let tried = futures::stream::iter(tries).map(|filled| self.together(client, filled, good));
        tried
            .buffer_unordered(abreast)
            .fold(Tried { good, ..Tried::default() }, async |all, tried| all.and(tried))
            .await
    }

    /// Sends the body, and again without what is refused by its name, until it is taken.
    async fn together(&self, client: &Client, mut filled: Filled<'_>, good: bool) -> Tried {
        let mut tried = Tried::default();
        while !filled.is_empty() {
            let (status, answer) = self.send(client, &filled).await;
            tried.requests += 1;
            if (200..300).contains(&status) {
                tried.taken += 1;
                self.compare(client, &filled, &answer, &mut tried).await;
                return tried;
            }
            let refused: Vec<&str> = match answer["code"].as_str() {
                // Of a body that is never taken something else may be said first.
                Some("invalid") if !good => return tried,
                Some("invalid") => filled.keys().copied().filter(|pointer| names(&answer, pointer)).collect(),
                // An escape that is no text makes the body no JSON.
                Some("malformed") => no_text(&filled),
                // It is good, and what it asks for is not possible.
                _ if (400..500).contains(&status) => return tried,
                _ => Vec::new(),
            };
            if refused.is_empty() {
                let shown: String = format!("{filled:?}").chars().take(300).collect();
                tried.wrong.push(format!("{} with {shown}: {status} {answer}", self.name()));
                return tried;
            }
            filled.retain(|pointer, _| !refused.contains(pointer));
        }
        tried
    }

    async fn compare(&self, client: &Client, filled: &Filled<'_>, answer: &Value, tried: &mut Tried) {
        let read = read_back(client, self, answer).await;
        for (pointer, text) in filled {
            let shown: String = text.chars().take(80).collect();
            let place = format!("{} {pointer} with {shown}", self.name());
            let Ok(sent) = serde_json::from_str::<String>(text) else {
                tried.wrong.push(format!("{place}: taken, and it is no text"));
                continue;
            };
            let last = pointer.rsplit('/').find(|name| *name != "0").unwrap_or_default();
            if NORMALISED.contains(&last) {
                continue;
            }
            let path: Vec<&str> = pointer.split('/').skip(1).collect();
            let mut back = Vec::new();
            found(answer, &path, &mut back);
            found(&read, &path, &mut back);
            let listed = path.contains(&"0");
            let right =
                if listed { back.contains(&sent.as_str()) } else { back.iter().all(|back| *back == sent) };
            if !back.is_empty() && !right {
                tried.wrong.push(format!("{place}: came back as {back:?}"));
            }
            if !back.is_empty() {
                tried.back.insert((*pointer).to_owned());
            }
        }
    }
}

/// Whether a problem names this field, or what it stands in, or what else must stand there: a template's other values, say, or
/// what there may be instead of it.
fn names(problem: &Value, pointer: &str) -> bool {
    let plain = |name: &str| name.replace(['[', '/'], ".").replace(']', "");
    let field = plain(pointer.trim_start_matches('/'));
    let map = field.strip_suffix("key").unwrap_or(&field);
    problem["errors"].as_array().into_iter().flatten().any(|error| {
        let named = plain(error["field"].as_str().unwrap());
        named == field
            || field.starts_with(&format!("{named}."))
            || named.starts_with(&format!("{field}."))
            || (map.ends_with('.') && named.starts_with(map))
            || (field == "templateId" && named == "message")
            // What is no secret is named where it belongs.
            || field.replacen("secrets.", "settings.", 1) == named
    })
}

fn no_text<'a>(filled: &Filled<'a>) -> Vec<&'a str> {
    let texts = filled.iter().filter(|(_, text)| serde_json::from_str::<String>(text).is_err());
    texts.map(|(pointer, _)| *pointer).collect()
}

/// What a GET of the thing says, where there is one.
async fn read_back(client: &Client, operation: &Operation, answer: &Value) -> Value {
    let made =
        ["id", "templateId", "sessionId", "messageId"].iter().find_map(|key| answer["data"][key].as_str());
    let path = match (operation.method.as_str(), made) {
        ("POST", Some(id)) => format!("{}/{id}", operation.path),
        ("PUT" | "PATCH", _) => operation.path.clone(),
        _ => return Value::Null,
    };
    let (status, answer) = client.get(&path).await;
    // A list has others, too.
    let one = status == 200 && answer["data"].get("pagination").is_none();
    if one { answer } else { Value::Null }
}

/// Ids of what the owner has, where a change is taken.
pub(crate) async fn own(stage: &Stage) -> BTreeMap<&'static str, String> {
    let mut ids = things(&stage.open, &stage.owner, "acme").await;
    let template = json!({"name": "Naughty", "type": "email", "subject": "S", "content": "C", "draft": true});
    let (_, template) = stage.owner.post("/api/templates", &template).await;
    ids.insert("template_id", template["data"]["templateId"].as_str().unwrap().to_owned());
    ids
}

async fn operations(stage: &Stage, soon: &str) -> Vec<Operation> {
    let (ids, document) = (own(stage).await, document(&stage.open).await);
    let copy = format!("/api/campaigns/{}/clone", ids["campaign_id"]);
    let (_, draft) = stage.owner.post(&copy, &json!({})).await;
    let draft = draft["data"]["id"].as_str().unwrap();
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(schema) = operation["requestBody"].pointer("/content/application~1json/schema") else {
                continue;
            };
            let method: Method = method.to_uppercase().parse().unwrap();
            let mut path = template.clone();
            for (name, id) in &ids {
                let id = if method == Method::PATCH && *name == "campaign_id" { draft } else { id };
                path = path.replace(&format!("{{{name}}}"), id);
            }
            let mut pointers = BTreeSet::new();
            texts(&document, schema, "", &mut pointers);
            let good = full(&method, template, soon);
            let pointers = pointers.into_iter().collect();
            operations.push(Operation { method, template: template.clone(), path, good, pointers });
        }
    }
    operations
}

#[sqlx::test(migrator = "fanfare_engine::store::MIGRATOR")]
async fn no_text_breaks_anything_and_what_is_taken_comes_back(pool: PgPool) {
    let many = "100000";
    let settings = [
        ("FANFARE_SEALING_KEYS", "2026:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        ("FANFARE__API__TENANT_PER_SECOND", many),
        ("FANFARE__API__STRANGER_PER_SECOND", many),
    ];
    let stage = Stage::with(&pool, &settings).await;
    stage.renewal_reminder().await;
    let (soon, list) = (in_two_days(), listed());
    let operations = operations(&stage, &soon).await;
    assert!(operations.iter().map(|operation| operation.pointers.len()).sum::<usize>() > 150);
    // The operations on one thing one after the other, or what is read back would be another's.
    let mut things: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &operations {
        things.entry(&operation.path).or_default().push(operation);
    }
    let tried: Vec<(&Operation, Tried)> = futures::stream::iter(things.into_values())
        .map(async |operations| {
            let mut tried = Vec::new();
            for operation in operations {
                tried.push((operation, operation.attempt(&stage.owner, &list).await));
            }
            tried
        })
        .buffer_unordered(ABREAST)
        .concat()
        .await;
    let requests: usize = tried.iter().map(|(_, tried)| tried.requests).sum();
    let wrong: Vec<&String> = tried.iter().flat_map(|(_, tried)| &tried.wrong).collect();
    assert!(wrong.is_empty(), "{} of {requests}: {:#?}", wrong.len(), &wrong[..wrong.len().min(50)]);

    let never: Vec<String> = NEVER_TAKEN.iter().map(|(method, path)| format!("{method} {path}")).collect();
    for (operation, _) in tried.iter().filter(|(_, tried)| !tried.good && tried.taken == 0) {
        assert!(never.contains(&operation.name()), "give a better body in `full` for {}", operation.name());
    }
    for (name, pointer) in COME_BACK {
        let back =
            tried.iter().any(|(operation, tried)| operation.name() == name && tried.back.contains(pointer));
        assert!(back, "{name} {pointer}");
    }
}
