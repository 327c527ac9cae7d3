//! Uploads: how far a file is, and how long it takes, in words.

use std::time::Duration;

use super::channel::text_enum;

text_enum! {
    /// How far an upload is.
    UploadState {
        /// Its bytes are coming in.
        Receiving => "receiving",
        /// All of it is there, and it waits to be taken or is being taken.
        Processing => "processing",
        /// Taken: each row was taken or refused.
        Completed => "completed",
        /// Not taken, and nothing of it: the upload says why.
        Failed => "failed",
    }
}

/// Rows a second that are taken on a machine that has nothing else to do, and on one that has.
const FAST: u64 = 20_000;
const SLOW: u64 = 5_000;

/// How long so many rows will take: `2-3 minutes`.
pub fn estimated_time(rows: u64) -> String {
    let least = rows / FAST / 60;
    let most = rows.div_ceil(SLOW).div_ceil(60).max(least + 1);
    format!("{least}-{most} minutes")
}

/// A duration as people read it: `2m 15s`.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds}s"),
        _ => format!("{hours}h {minutes}m {seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_a_range() {
        let cases =
            [(0, "0-1 minutes"), (150, "0-1 minutes"), (700_000, "0-3 minutes"), (2_500_000, "2-9 minutes")];
        for (rows, expected) in cases {
            assert_eq!(estimated_time(rows), expected, "{rows}");
        }
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (135, "2m 15s"), (3_600, "1h 0m 0s"), (90_061, "25h 1m 1s")]
        {
            assert_eq!(duration_text(Duration::from_secs(seconds)), expected);
        }
    }
}
