//! The ids that the providers give, made from a message's number and turned back into it, so that none is stored.
//!
//! Numbers start anew with every sandbox and after every reset; the base keeps the ids of different runs apart.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock::timestamp;
use crate::dice::scramble;

#[derive(Debug)]
pub(crate) struct ProviderIds {
    base: AtomicU64,
}

/// Room for the numbers of one run; bases of later starts and resets are at least as far apart.
const RUN: u64 = 1 << 30;
/// Keeps an SMS id within a signed 64-bit number that JavaScript reads exactly.
const SECONDS: u64 = 4_000_000;

impl ProviderIds {
    pub(crate) fn new(started_epoch_us: u64) -> Self {
        let start = started_epoch_us / 1_000_000 % SECONDS;
        Self { base: AtomicU64::new((start + 1) * RUN) }
    }

    pub(crate) fn next_generation(&self) {
        self.base.fetch_add(RUN, Ordering::Relaxed);
    }

    fn number(&self, serial: u64) -> u64 {
        self.base.load(Ordering::Relaxed) + serial
    }

    fn serial(&self, number: u64) -> Option<u64> {
        number.checked_sub(self.base.load(Ordering::Relaxed))
    }

    /// `<YYYYMMDDhhmm.NNNN@smtp-relay.mailin.fr>`.
    pub(crate) fn email(&self, serial: u64, wall_us: u64) -> String {
        let at = jiff::tz::TimeZone::UTC.to_datetime(timestamp(wall_us));
        format!(
            "<{:04}{:02}{:02}{:02}{:02}.{}@smtp-relay.mailin.fr>",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            self.number(serial),
        )
    }

    pub(crate) fn email_serial(&self, id: &str) -> Option<u64> {
        let inner = id.trim_start_matches('<').trim_end_matches('>');
        let number = inner.strip_suffix("@smtp-relay.mailin.fr")?.split_once('.')?.1;
        self.serial(number.parse().ok()?)
    }

    /// A number that fits an `int64`, as Brevo's SMS ids.
    pub(crate) fn sms(&self, serial: u64) -> u64 {
        self.number(serial)
    }

    /// Nineteen letters and digits, as Brevo's SMS references.
    pub(crate) fn sms_reference(&self, serial: u64) -> String {
        let mut state = self.number(serial);
        let mut reference = String::with_capacity(19);
        for _ in 0..19 {
            state = scramble(state.wrapping_add(1));
            reference.push(char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[state as usize % 36]));
        }
        reference
    }

    /// The live form: base64 of a small frame with the person's number and eighteen hexadecimal digits.
    pub(crate) fn whatsapp(&self, serial: u64, recipient: &str) -> String {
        let length = u8::try_from(recipient.len()).unwrap_or(u8::MAX);
        let mut frame = vec![0x1C, 0x18, length];
        frame.extend_from_slice(recipient.as_bytes());
        frame.extend_from_slice(&[0x15, 0x02, 0x00, 0x11, 0x18, 0x12]);
        frame.extend_from_slice(format!("{:018X}", self.number(serial)).as_bytes());
        frame.push(0);
        format!("wamid.{}", STANDARD.encode(frame))
    }
}
