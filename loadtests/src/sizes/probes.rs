//! The questions: each so many times, one after the other over one connection, of somebody or something else every time.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use fanfare_engine::id::ContactId;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Site,
    seed::{self, KEYS, Large, key},
};
use crate::{
    api::{
        Access,
        connection::{Ask, Connection},
    },
    bare::micros_each,
    fleet::Fleet,
    people::Person,
    processes,
    report::Line,
    timing::Timing,
    trial,
};

/// Takes people in an order that is none.
const STRIDE: u64 = 7_919_993;
/// Of a tenant's campaigns, the hundreds that are looked for by name.
const HUNDREDS: u64 = 10;
/// Rows of a page.
const LIMIT: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
enum Question {
    /// Of a finished campaign to everybody, with its events.
    Analytics,
    Campaign,
    MessagesByAddress,
    MessagesByContact,
    MessagesOfCampaign,
    /// By what one person alone is called.
    ContactsByAddress,
    /// By a name that a ninth of all bear.
    ContactsByName,
    CampaignsFirstPage,
    CampaignsLastPage,
    /// From the first part to the last, each after the one before.
    CampaignsByCursor,
    CampaignsByState,
    CampaignsByName,
}

const ALL: [Question; 12] = [
    Question::Analytics,
    Question::Campaign,
    Question::MessagesByAddress,
    Question::MessagesByContact,
    Question::MessagesOfCampaign,
    Question::ContactsByAddress,
    Question::ContactsByName,
    Question::CampaignsFirstPage,
    Question::CampaignsLastPage,
    Question::CampaignsByCursor,
    Question::CampaignsByState,
    Question::CampaignsByName,
];

impl Question {
    /// What it may take at the 99th percentile.
    const fn within_ms(self) -> Option<f64> {
        match self {
            Self::Analytics | Self::MessagesByAddress => Some(50.0),
            Self::CampaignsFirstPage
            | Self::CampaignsLastPage
            | Self::CampaignsByCursor
            | Self::CampaignsByState
            | Self::CampaignsByName => Some(200.0),
            Self::Campaign
            | Self::MessagesByContact
            | Self::MessagesOfCampaign
            | Self::ContactsByAddress
            | Self::ContactsByName => None,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(flatten)]
    timing: Timing,
    within_ms: Option<f64>,
    fanfare_cpu_micros: f64,
    postgres_cpu_micros: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Round {
    questions: BTreeMap<Question, Answered>,
    /// Answers that did not hold what they should.
    wrong: u64,
}

impl Round {
    fn p50(&self, question: Question) -> String {
        self.questions.get(&question).map_or_else(String::new, |told| format!("{:.2}", told.timing.p50_ms))
    }

    fn p99(&self, question: Question) -> String {
        self.questions.get(&question).map_or_else(String::new, |told| format!("{:.2}", told.timing.p99_ms))
    }
}

impl trial::Round for Round {
    const LINES: &'static [Line<Self>] = &[
        ("analytics, p50 in ms", |round| round.p50(Question::Analytics)),
        ("analytics, p99", |round| round.p99(Question::Analytics)),
        ("a campaign, p50", |round| round.p50(Question::Campaign)),
        ("a campaign, p99", |round| round.p99(Question::Campaign)),
        ("messages by address, p50", |round| round.p50(Question::MessagesByAddress)),
        ("messages by address, p99", |round| round.p99(Question::MessagesByAddress)),
        ("messages by contact, p50", |round| round.p50(Question::MessagesByContact)),
        ("messages by contact, p99", |round| round.p99(Question::MessagesByContact)),
        ("messages of a campaign, p50", |round| round.p50(Question::MessagesOfCampaign)),
        ("messages of a campaign, p99", |round| round.p99(Question::MessagesOfCampaign)),
        ("contacts by address, p50", |round| round.p50(Question::ContactsByAddress)),
        ("contacts by address, p99", |round| round.p99(Question::ContactsByAddress)),
        ("contacts by a common name, p50", |round| round.p50(Question::ContactsByName)),
        ("contacts by a common name, p99", |round| round.p99(Question::ContactsByName)),
        ("campaigns, first page, p50", |round| round.p50(Question::CampaignsFirstPage)),
        ("campaigns, first page, p99", |round| round.p99(Question::CampaignsFirstPage)),
        ("campaigns, last page, p50", |round| round.p50(Question::CampaignsLastPage)),
        ("campaigns, last page, p99", |round| round.p99(Question::CampaignsLastPage)),
        ("campaigns by cursor, p50", |round| round.p50(Question::CampaignsByCursor)),
        ("campaigns by cursor, p99", |round| round.p99(Question::CampaignsByCursor)),
        ("campaigns by state, p50", |round| round.p50(Question::CampaignsByState)),
        ("campaigns by state, p99", |round| round.p99(Question::CampaignsByState)),
        ("campaigns by name, p50", |round| round.p50(Question::CampaignsByName)),
        ("campaigns by name, p99", |round| round.p99(Question::CampaignsByName)),
        ("wrong answers", |round| round.wrong.to_string()),
    ];

    /// By how much the slowest is within its time.
    fn rate(&self) -> f64 {
        let margins = self.questions.values().filter_map(|told| Some(told.within_ms? / told.timing.p99_ms));
        margins.fold(f64::INFINITY, f64::min)
    }

    fn is_right(&self) -> bool {
        self.wrong == 0
    }
}

pub(super) async fn round(
    site: &Site<'_>,
    fleet: &Fleet,
    access: &Access,
    large: &Large,
) -> anyhow::Result<Round> {
    let connection = Connection::open(fleet.address()).await?;
    let mut asker = Asker { site, fleet, access, large, connection, cursor: None, wrong: 0 };
    let mut questions = BTreeMap::new();
    for question in ALL {
        let answered = asker.all(question).await.with_context(|| format!("{question:?}"))?;
        let Timing { p50_ms, p99_ms, .. } = answered.timing;
        println!("  {question:?}: {p50_ms:.2} ms, p99 {p99_ms:.2} ms");
        questions.insert(question, answered);
    }
    Ok(Round { questions, wrong: asker.wrong })
}

struct Asker<'a> {
    site: &'a Site<'a>,
    fleet: &'a Fleet,
    access: &'a Access,
    large: &'a Large,
    connection: Connection,
    /// Where the list before ended.
    cursor: Option<String>,
    wrong: u64,
}

impl Asker<'_> {
    async fn all(&mut self, question: Question) -> anyhow::Result<Answered> {
        let times = self.site.options.times;
        self.cursor = None;
        let before = self.cpu()?;
        let mut took = Vec::new();
        for at in 0..times {
            took.push(u64::try_from(self.one(question, at).await?.as_micros())?);
        }
        let after = self.cpu()?;
        Ok(Answered {
            timing: Timing::of(took).context("it was asked")?,
            within_ms: question.within_ms(),
            fanfare_cpu_micros: micros_each(after.0.saturating_sub(before.0), times),
            postgres_cpu_micros: micros_each(after.1.saturating_sub(before.1), times),
        })
    }

    fn cpu(&self) -> anyhow::Result<(Duration, Duration)> {
        let pid = *self.fleet.pids()?.first().context("there is one process")?;
        Ok((processes::cpu(pid)?, processes::cpu_with_children(self.site.services.postmaster)?))
    }

    async fn one(&mut self, question: Question, at: u64) -> anyhow::Result<Duration> {
        let path = self.path(question, at).await?;
        let token = self.token(question, at);
        let started = Instant::now();
        let answer = self.connection.ask(Some(&token), Ask::get(path)).await?;
        let took = started.elapsed();
        let data = answer.data()?;
        self.cursor = data["pagination"]["nextCursor"].as_str().map(str::to_owned);
        if !self.is_right(question, at, &data) {
            if self.wrong == 0 {
                eprintln!("  {question:?} was answered {}", answer.said());
            }
            self.wrong += 1;
        }
        Ok(took)
    }

    /// Lists are read of several tenants; a walk by cursors stays with one until its end.
    fn token(&self, question: Question, at: u64) -> String {
        let keys = KEYS.min(self.site.options.tenants - 1);
        let turn = match question {
            Question::CampaignsFirstPage
            | Question::CampaignsLastPage
            | Question::CampaignsByState
            | Question::CampaignsByName => at,
            Question::CampaignsByCursor => at / self.pages(),
            _ => return self.access.key.clone(),
        };
        if keys == 0 { self.access.key.clone() } else { key(1 + turn % keys) }
    }

    /// Of one tenant's campaigns.
    fn pages(&self) -> u64 {
        (self.site.options.campaigns / self.site.options.tenants).div_ceil(LIMIT).max(1)
    }

    async fn path(&mut self, question: Question, at: u64) -> anyhow::Result<String> {
        let person = Person::number(at * STRIDE % self.site.options.contacts, 0);
        Ok(match question {
            Question::Analytics => format!("/api/campaigns/{}/analytics", self.large.campaign),
            Question::Campaign => format!("/api/campaigns/{}", self.large.campaign),
            Question::MessagesByAddress => format!("/api/messages?address={}", person.address()),
            Question::MessagesByContact => format!("/api/messages?contact={}", self.contact(person).await?),
            Question::MessagesOfCampaign => {
                format!("/api/messages?campaign={}&page={}", self.large.campaign, 1 + at % 100)
            }
            Question::ContactsByAddress => format!("/api/contacts?q={}", person.prefix()),
            Question::ContactsByName => {
                const NAMES: [&str; 4] = ["ramgoolam", "appadoo", "beeharry", "jugnauth"];
                format!("/api/contacts?q={}", NAMES[usize::try_from(at)? % NAMES.len()])
            }
            Question::CampaignsFirstPage => "/api/campaigns".to_owned(),
            Question::CampaignsLastPage => format!("/api/campaigns?page={}", self.pages()),
            Question::CampaignsByCursor => match self.cursor.take() {
                Some(cursor) => format!("/api/campaigns?cursor={cursor}"),
                None => "/api/campaigns".to_owned(),
            },
            Question::CampaignsByState => "/api/campaigns?status=scheduled,paused".to_owned(),
            Question::CampaignsByName => format!("/api/campaigns?name=greetings%20{:03}", at % HUNDREDS),
        })
    }

    async fn contact(&self, person: Person) -> anyhow::Result<ContactId> {
        let id: Uuid = sqlx::query_scalar("select id from contacts where email = $1")
            .bind(person.address())
            .fetch_one(&self.site.pool)
            .await?;
        Ok(id.into())
    }

    fn is_right(&self, question: Question, at: u64, data: &Value) -> bool {
        let options = self.site.options;
        let total = data["pagination"]["total"].as_u64();
        let each = options.campaigns / options.tenants;
        match question {
            Question::Analytics => data["metrics"]["delivered"] == options.contacts,
            Question::Campaign => data["progress"]["sent"] == options.contacts,
            Question::MessagesByAddress | Question::MessagesByContact => total == Some(self.large.campaigns),
            Question::ContactsByAddress => total == Some(1),
            Question::MessagesOfCampaign => data["messages"].as_array().is_some_and(|rows| !rows.is_empty()),
            Question::ContactsByName => data["contacts"].as_array().is_some_and(|rows| !rows.is_empty()),
            Question::CampaignsFirstPage | Question::CampaignsLastPage | Question::CampaignsByCursor => {
                total.is_some_and(|total| total >= each)
                    && data["campaigns"].as_array().is_some_and(|rows| !rows.is_empty())
            }
            Question::CampaignsByState => total.is_some_and(|total| seed::waiting(options).contains(&total)),
            Question::CampaignsByName => {
                total.is_some_and(|total| seed::greetings(options, at % HUNDREDS).contains(&total))
            }
        }
    }
}
