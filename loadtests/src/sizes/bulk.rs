//! A million contacts by one request, and the same once more.

use std::{convert::Infallible, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Method, body::Frame};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::Site;
use crate::{
    api::{
        Access,
        connection::{Ask, Body, Connection},
    },
    bare::{micros_each, per},
    fleet::Fleet,
    people::Person,
    processes,
    report::{Line, mega},
    seed::{self, ZONE},
    trial,
};

/// Lines of a piece of the body.
const PIECE: u64 = 256;

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuMicros {
    fanfare: f64,
    postgres: f64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Round {
    contacts: u64,
    body_bytes: u64,
    /// From the first byte of the body to the answer, into a tenant without contacts.
    seconds: f64,
    contacts_per_second: f64,
    /// The same body again, which changes nothing.
    again_seconds: f64,
    /// Of the first.
    cpu_micros_per_contact: CpuMicros,
    /// Before the first, and at its peak in both.
    rss_bytes: u64,
    peak_rss_bytes: u64,
    /// People who are not the contact that the body says.
    missing: u64,
    /// Contacts beyond one a person.
    beyond: u64,
    /// What the answers should not have said.
    wrong_answers: u64,
}

impl Round {
    pub(super) const fn seconds(&self) -> f64 {
        self.seconds
    }
}

impl trial::Round for Round {
    const LINES: &'static [Line<Self>] = &[
        ("contacts", |round| round.contacts.to_string()),
        ("body, MB", |round| format!("{:.1}", mega(round.body_bytes))),
        ("seconds", |round| format!("{:.2}", round.seconds)),
        ("contacts a second", |round| format!("{:.0}", round.contacts_per_second)),
        ("the same again, seconds", |round| format!("{:.2}", round.again_seconds)),
        ("CPU fanfare, microseconds a contact", |round| {
            format!("{:.2}", round.cpu_micros_per_contact.fanfare)
        }),
        ("CPU Postgres", |round| format!("{:.2}", round.cpu_micros_per_contact.postgres)),
        ("memory of fanfare before, MB", |round| format!("{:.1}", mega(round.rss_bytes))),
        ("peak memory of fanfare, MB", |round| format!("{:.1}", mega(round.peak_rss_bytes))),
        ("people who are no contact", |round| round.missing.to_string()),
        ("contacts too many", |round| round.beyond.to_string()),
        ("wrong answers", |round| round.wrong_answers.to_string()),
    ];

    fn rate(&self) -> f64 {
        self.contacts_per_second
    }

    fn is_right(&self) -> bool {
        (self.missing, self.beyond, self.wrong_answers) == (0, 0, 0)
    }
}

pub(super) async fn round(site: &Site<'_>, fleet: &Fleet, access: &Access) -> anyhow::Result<Round> {
    seed::no_contacts(&site.pool).await?;
    let contacts = site.options.contacts;
    let pid = *fleet.pids()?.first().context("there is one process")?;
    let cpu = || anyhow::Ok((processes::cpu(pid)?, processes::cpu_with_children(site.services.postmaster)?));
    let (before, rss_bytes) = (cpu()?, processes::rss(pid)?);
    let (took, created) = post(fleet, access, contacts).await?;
    let after = cpu()?;
    let (again, known) = post(fleet, access, contacts).await?;
    let expected: [i64; 2] = [i64::try_from(contacts)?, 0];
    let wrong_answers = u64::from(created != expected) + u64::from(known != [0, 0]);
    let (missing, beyond) = compared(site).await?;
    Ok(Round {
        contacts,
        body_bytes: (0..contacts)
            .step_by(usize::try_from(PIECE)?)
            .map(|first| piece(first, contacts).len() as u64)
            .sum(),
        seconds: took.as_secs_f64(),
        contacts_per_second: per(contacts, took),
        again_seconds: again.as_secs_f64(),
        cpu_micros_per_contact: CpuMicros {
            fanfare: micros_each(after.0.saturating_sub(before.0), contacts),
            postgres: micros_each(after.1.saturating_sub(before.1), contacts),
        },
        rss_bytes,
        peak_rss_bytes: processes::peak_rss(pid)?,
        missing,
        beyond,
        wrong_answers,
    })
}

/// How long it took, and how many contacts were made and changed.
async fn post(fleet: &Fleet, access: &Access, contacts: u64) -> anyhow::Result<(Duration, [i64; 2])> {
    // After a body in chunks a connection ends.
    let mut connection = Connection::open(fleet.address()).await?;
    let body = Some(("application/x-ndjson", body(contacts)));
    let ask = Ask { method: Method::POST, path: "/api/contacts/bulk".to_owned(), body };
    let started = Instant::now();
    let answer = connection.ask(Some(&access.key), ask).await?.data()?;
    let took = started.elapsed();
    let count =
        |name: &str| answer[name].as_i64().with_context(|| format!("the answer does not tell {name}"));
    ensure!(count("linesTaken")?.unsigned_abs() == contacts, "not every line was taken: {answer}");
    Ok((took, [count("contactsCreated")?, count("contactsUpdated")?]))
}

/// Written while it is sent: whoever sends a million does not hold them either.
fn body(contacts: u64) -> Body {
    let pieces = (0..contacts).step_by(usize::try_from(PIECE).unwrap_or(1));
    let frames =
        pieces.map(move |first| Ok::<_, Infallible>(Frame::data(Bytes::from(piece(first, contacts)))));
    StreamBody::new(stream::iter(frames)).boxed()
}

fn piece(first: u64, contacts: u64) -> String {
    let mut lines = String::new();
    for index in first..contacts.min(first + PIECE) {
        let person = Person::number(index, 0);
        let line = json!({
            "name": person.name(),
            "email": person.address(),
            "phone": person.phone(),
            "locale": "en",
            "timeZone": ZONE,
            "attributes": person.attributes(),
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    lines
}

/// People who are missing or wrong, and contacts too many.
async fn compared(site: &Site<'_>) -> anyhow::Result<(u64, u64)> {
    let sql = "select (select count(*) from contacts),
                      (select count(*) from contacts c
                       join generate_series(0, $1 - 1) i on c.email = 'p' || lpad(i::text, 9, '0') || '@mail' || i % 7 || '.example'
                       where c.phone = '+2305' || lpad((i % 10000000)::text, 7, '0')
                         and c.attributes ->> 'policy_number' = 'MTR-' || lpad((i * 7 + 1)::text, 8, '0'))";
    let people = i64::try_from(site.options.contacts)?;
    let (all, right): (i64, i64) = sqlx::query_as(sql).bind(people).fetch_one(&site.pool).await?;
    Ok(((people - right).unsigned_abs(), (all - people).max(0).unsigned_abs()))
}
