//! The second factor: time-based codes (RFC 6238, SHA-1, six digits, 30 s, one step either way), each good once, and
//! recovery codes for whoever has lost the device.

use fanfare_engine::{
    id::{Ids, UserId},
    seal::Seal,
    store::sessions::TokenHash,
};
use jiff::Timestamp;
use totp_rs::{Algorithm, Builder, Totp};

use super::tokens;
use crate::http::problem::{Code, Problem};

const STEP: u64 = 30;
const RECOVERY_CODES: usize = 10;

/// As authenticator apps keep it: 160 bits.
pub(crate) type Secret = [u8; 20];

pub(crate) fn make_secret(ids: &Ids) -> Secret {
    ids.random_bytes()
}

/// What a secret is sealed with: it opens for its user only.
pub(crate) fn about(user: UserId) -> String {
    format!("totp:{user}")
}

pub(crate) fn opened(seal: &Seal, user: UserId, sealed: &[u8]) -> Result<Secret, Problem> {
    let opened = seal.open(&about(user), sealed).ok().and_then(|secret| secret.try_into().ok());
    opened.ok_or_else(|| {
        tracing::error!(%user, "the secret of a second factor does not open: is its key in FANFARE_SEALING_KEYS?");
        Code::Broken.into()
    })
}

fn totp(secret: Secret, account: &str) -> Totp {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_skew(1)
        .with_step_duration(STEP)
        .with_secret(secret)
        .with_issuer(Some("Fanfare"))
        .with_account_name(account.replace(':', ""))
        .build()
        .expect("a secret of 160 bits, and names without a colon")
}

/// `otpauth://…`, to be shown as a QR code.
pub(crate) fn url(secret: Secret, account: &str) -> String {
    totp(secret, account).to_url().expect("names without a colon")
}

/// The step whose code this is, for a caller that lets each step be used once.
pub(crate) fn step(secret: Secret, code: &str, now: Timestamp) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let now = u64::try_from(now.as_second()).ok()?;
    let started = totp(secret, "").check(&code, now)?;
    i64::try_from(started).ok()
}

/// New recovery codes, and what is kept of them. They are shown once.
pub(crate) fn recovery_codes(ids: &Ids) -> (Vec<String>, Vec<TokenHash>) {
    (0..RECOVERY_CODES)
        .map(|_| {
            let code = hex::encode(ids.random_bytes::<8>());
            let code = format!("{}-{}-{}-{}", &code[..4], &code[4..8], &code[8..12], &code[12..]);
            let hash = recovery_hash(&code);
            (code, hash)
        })
        .unzip()
}

/// As it was typed: case, spaces and dashes do not matter.
pub(crate) fn recovery_hash(code: &str) -> TokenHash {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    tokens::hash(&plain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B; the last six of its eight digits.
        let secret = *b"12345678901234567890";
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924")] {
            let at = |second| Timestamp::from_second(second).expect("in range");
            let used = step(secret, code, at(second)).expect("the code of this step");
            assert_eq!(step(secret, code, at(second + 30)), Some(used), "the clock may be a step off");
            assert_eq!(step(secret, code, at(second + 90)), None);
            assert_eq!(step(secret, "000000", at(second)), None);
        }
        assert!(url(secret, "asha@nic.example").starts_with("otpauth://totp/Fanfare:asha"));
    }

    #[test]
    fn a_recovery_code_is_read_as_it_is_typed() {
        let (codes, kept) = recovery_codes(&Ids::from_seed(1));
        assert_eq!(codes.len(), 10);
        assert_eq!(recovery_hash(&codes[0].to_uppercase().replace('-', " ")), kept[0]);
        assert_ne!(recovery_hash(&codes[1]), kept[0]);
    }
}
