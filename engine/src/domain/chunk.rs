//! A chunk: a range or list of recipient numbers, the unit that is queued, claimed, recorded and acknowledged.

use std::str::FromStr;

use crate::id::CampaignId;

/// Names a chunk; all that a queue entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkRef {
    pub campaign: CampaignId,
    pub no: i64,
}

impl std::fmt::Display for ChunkRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.campaign, self.no)
    }
}

impl FromStr for ChunkRef {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (campaign, no) = text.split_once('/').ok_or_else(|| format!("`{text}` names no chunk"))?;
        Ok(Self {
            campaign: campaign.parse().map_err(|e| format!("{e}"))?,
            no: no.parse().map_err(|_| format!("`{no}` is no chunk number"))?,
        })
    }
}

/// Who is in a chunk, in the order in which they are sent. A position in this order is what watermarks count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// As the launch cut them: `first..first + size`.
    Range { first: i32, size: i32 },
    /// Retries and replays name everybody.
    List(Vec<i32>),
}

impl Members {
    pub fn len(&self) -> usize {
        match self {
            Self::Range { size, .. } => usize::try_from(*size).unwrap_or(0),
            Self::List(numbers) => numbers.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn numbers(&self) -> Vec<i32> {
        match self {
            Self::Range { first, size } => (*first..first + size).collect(),
            Self::List(numbers) => numbers.clone(),
        }
    }
}

/// Cuts the next `count` recipients, from number `first` on, into chunks of at most `size`: `(first, length)` each.
pub fn split(first: i32, count: i32, size: i32) -> impl Iterator<Item = (i32, i32)> {
    let size = size.max(1);
    (0..count.max(0))
        .step_by(usize::try_from(size).expect("positive"))
        .map(move |offset| (first + offset, size.min(count - offset)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_cover_everybody_once(first in 1..1_000_000_i32, count in 0..5_000_i32, size in 1..700_i32) {
            let covered: Vec<i32> = split(first, count, size).flat_map(|(at, len)| at..at + len).collect();
            prop_assert_eq!(covered, (first..first + count).collect::<Vec<_>>());
            prop_assert!(split(first, count, size).all(|(_, len)| len >= 1 && len <= size));
        }
    }
}
