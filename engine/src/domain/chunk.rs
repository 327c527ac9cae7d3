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
    /// As the launch cut them: the recipients from `first` to `last` that are not excluded.
    Range { first: i32, last: i32 },
    /// Retries and replays name everybody.
    List(Vec<i32>),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_survives_its_text(bytes: [u8; 16], no: i64) {
            let chunk = ChunkRef { campaign: uuid::Uuid::from_bytes(bytes).into(), no };
            prop_assert_eq!(chunk.to_string().parse::<ChunkRef>(), Ok(chunk));
        }
    }
}
