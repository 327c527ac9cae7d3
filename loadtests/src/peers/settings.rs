//! How a peer is set: names with values, which the harness hands over as they are. It understands one of them itself,
//! `processes`, the number of workers that it starts.

use std::{collections::BTreeMap, fmt, path::Path};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::peer::Peer;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings(BTreeMap<String, Value>);

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name} {value}")).collect();
        f.write_str(&pairs.join(", "))
    }
}

impl Settings {
    /// The best that is known.
    pub(crate) fn of(peer: Peer) -> anyhow::Result<Self> {
        read_json(&peer.folder().join("settings.json"))
    }

    pub(crate) fn keep(&self, peer: Peer) -> anyhow::Result<()> {
        write_json(&peer.folder().join("settings.json"), self)
    }

    /// `NAME=VALUE` for some of them. Only names that are there: a mistyped one would change nothing.
    pub(crate) fn changed(mut self, changes: &[String]) -> anyhow::Result<Self> {
        for change in changes {
            let (name, value) = change.split_once('=').context("a setting is NAME=VALUE")?;
            let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
            let known: Vec<String> = self.0.keys().cloned().collect();
            let place = self.0.get_mut(name);
            *place.with_context(|| format!("no setting {name}; there are {}", known.join(", ")))? = value;
        }
        Ok(self)
    }

    /// Workers to start.
    pub(crate) fn processes(&self) -> anyhow::Result<u64> {
        let processes = self.0.get("processes").and_then(Value::as_u64).context("`processes` is a number")?;
        ensure!((1..=64).contains(&processes), "`processes` is 1 to 64");
        Ok(processes)
    }
}

/// What a sweep tries: the values of each name, in every combination.
#[derive(Debug, Deserialize)]
pub(crate) struct Grid(BTreeMap<String, Vec<Value>>);

impl Grid {
    /// Of all the grids of a peer.
    pub(crate) fn candidates(peer: Peer) -> anyhow::Result<Vec<Settings>> {
        let grids: Vec<Self> = read_json(&peer.folder().join("sweep.json"))?;
        let mut candidates = Vec::new();
        for settings in grids.iter().flat_map(Self::combinations) {
            if !candidates.contains(&settings) {
                candidates.push(settings);
            }
        }
        ensure!(!candidates.is_empty(), "sweep.json of {peer} has nothing to try");
        Ok(candidates)
    }

    fn combinations(&self) -> Vec<Settings> {
        let mut all = vec![BTreeMap::new()];
        for (name, values) in &self.0 {
            let mut next = Vec::new();
            for value in values {
                next.extend(all.iter().cloned().map(|mut settings: BTreeMap<String, Value>| {
                    settings.insert(name.clone(), value.clone());
                    settings
                }));
            }
            all = next;
        }
        all.into_iter().map(Settings).collect()
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(value)? + "\n")
        .with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    fn settings(text: &str) -> Settings {
        serde_json::from_str(text).expect("settings")
    }

    #[test]
    fn a_grid_is_every_combination() {
        let grid: Grid = serde_json::from_str(r#"{"a": [1, 2], "b": ["x"], "c": [3, 4]}"#).expect("a grid");
        let all: Vec<String> = grid.combinations().iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [r#"a 1, b "x", c 3"#, r#"a 2, b "x", c 3"#, r#"a 1, b "x", c 4"#, r#"a 2, b "x", c 4"#]
        );
    }

    #[test]
    fn only_known_settings_are_changed() {
        let change = |change: &str| settings(r#"{"a": 1, "b": "x"}"#).changed(&[change.to_owned()]);
        assert_eq!(change("a=2").expect("known"), settings(r#"{"a": 2, "b": "x"}"#));
        assert_eq!(change("b=y").expect("known"), settings(r#"{"a": 1, "b": "y"}"#));
        assert!(change("c=1").is_err() && change("a").is_err());
    }

    #[test]
    fn the_peers_are_set_and_swept() {
        for &peer in Peer::value_variants() {
            let set = Settings::of(peer).expect("settings.json");
            set.processes().expect("at least one process");
            let candidates = Grid::candidates(peer).expect("sweep.json");
            assert!(candidates.contains(&set), "{peer}: what is set was not among what is tried");
        }
    }
}
