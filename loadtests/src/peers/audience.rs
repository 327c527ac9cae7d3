//! What a peer's programs are told: one file with the places and the letter, and one with a job a line for each recipient.
//!
//! A tool for campaigns would read its audience from its own database; a file costs it less, which is in the peer's favour.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use fanfare_engine::{
    domain::channel::Channel,
    id::{CampaignId, MessageId},
};
use serde_json::json;

use super::settings::{self, Settings};
use crate::{
    fleet, letter,
    people::Person,
    receiver::{self, Receiver},
    services::Services,
};

/// The file that the programs read, in the folder.
pub(crate) const CONFIG: &str = "config.json";

/// Where a peer finds what it needs.
pub(crate) struct Places<'a> {
    pub(crate) services: &'a Services,
    pub(crate) database_url: &'a str,
    pub(crate) receiver: &'a Receiver,
    pub(crate) settings: &'a Settings,
}

pub(crate) fn write_config(folder: &Path, places: &Places<'_>) -> anyhow::Result<()> {
    let config = json!({
        "databaseUrl": places.database_url,
        "redisUrl": places.services.redis_url,
        "sinkUrl": places.receiver.url(),
        "apiKey": receiver::API_KEY,
        "sender": {"email": fleet::SENDER_EMAIL, "name": fleet::SENDER_NAME},
        "letter": letter::published(Channel::Email)?,
        "people": people(folder),
        "settings": places.settings,
    });
    settings::write_json(&folder.join(CONFIG), &config)
}

fn people(folder: &Path) -> PathBuf {
    folder.join("people.jsonl")
}

/// Every recipient's job.
pub(crate) fn write_people(folder: &Path, campaign: CampaignId, count: u64) -> anyhow::Result<()> {
    let path = people(folder);
    let mut file = BufWriter::new(File::create(&path).with_context(|| path.display().to_string())?);
    for index in 0..count {
        let person = Person::number(index, 0);
        let n = i32::try_from(index + 1)?;
        let message = MessageId { campaign, n };
        let job = json!({
            "n": n,
            "id": message.to_string(),
            "key": message.idempotency_key(1),
            "address": person.address(),
            "variables": person.variables(),
        });
        serde_json::to_writer(&mut file, &job)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
