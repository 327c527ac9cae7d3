//! Secrets at rest: sealed with a key from the environment, so that the database alone, or a copy of it, opens none.
//!
//! `FANFARE_SEALING_KEYS` lists keys as `name:base64`, separated by commas. The first seals; all open, so that a new key is
//! put in front, and the old one taken out once `fanfare reseal` has sealed everything anew. What a secret belongs to is sealed with it:
//! moved to another row it does not open.
//!
//! A sealed secret is one byte of length, the key's name, 24 bytes of nonce, then XChaCha20-Poly1305.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};

use crate::id::Ids;

const NONCE: usize = 24;
const KEY: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error(
        "there is no key to seal secrets with: set FANFARE_SEALING_KEYS to `name:` and the output of `openssl rand -base64 32`"
    )]
    NoKey,
    #[error(
        "key {at} of FANFARE_SEALING_KEYS is not `name:base64` with a name of 1 to 32 characters and {KEY} bytes in base64"
    )]
    Key { at: usize },
    #[error("a secret is sealed with the key `{0}`, which FANFARE_SEALING_KEYS does not list any more")]
    UnknownKey(String),
    #[error("a sealed secret was changed, or belongs to something else")]
    Broken,
}

/// The keys of a process.
#[derive(Clone, Default)]
pub struct Seal {
    keys: Vec<(String, XChaCha20Poly1305)>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(name, _)| name)).finish()
    }
}

impl Seal {
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let listed = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        let keys = listed.enumerate().map(|(at, key)| read(key).ok_or(SealError::Key { at: at + 1 }));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// A key of its own for one purpose, which follows from a secret that is there anyway.
    pub fn derived(purpose: &str, secret: &[u8]) -> Self {
        let key = blake3::derive_key(purpose, secret);
        Self { keys: vec![("derived".to_owned(), XChaCha20Poly1305::new(&key.into()))] }
    }

    /// `about` names what the secret belongs to.
    pub fn seal(&self, ids: &Ids, about: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let (name, cipher) = self.keys.first().ok_or(SealError::NoKey)?;
        let nonce = ids.random_bytes::<NONCE>();
        let payload = Payload { msg: secret, aad: about.as_bytes() };
        let boxed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Broken)?;
        let length = u8::try_from(name.len()).map_err(|_| SealError::Key { at: 1 })?;
        Ok([&[length], name.as_bytes(), &nonce, &boxed].concat())
    }

    /// The same secret under the first key; `None` where it is under that already.
    pub fn anew(&self, ids: &Ids, about: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let secret = self.open(about, sealed)?;
        let (first, _) = self.keys.first().ok_or(SealError::NoKey)?;
        if sealed.get(1..=usize::from(sealed[0])) == Some(first.as_bytes()) {
            return Ok(None);
        }
        self.seal(ids, about, &secret).map(Some)
    }

    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (&length, rest) = sealed.split_first().ok_or(SealError::Broken)?;
        let (name, rest) = rest.split_at_checked(length.into()).ok_or(SealError::Broken)?;
        let (nonce, boxed) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Broken)?;
        let name = String::from_utf8_lossy(name);
        let known = self.keys.iter().find(|(known, _)| *known == name);
        let (_, cipher) = known.ok_or_else(|| SealError::UnknownKey(name.into_owned()))?;
        let payload = Payload { msg: boxed, aad: about.as_bytes() };
        cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Broken)
    }
}

fn read(key: &str) -> Option<(String, XChaCha20Poly1305)> {
    let (name, key) = key.split_once(':')?;
    let key = BASE64_STANDARD.decode(key).ok()?;
    let cipher = XChaCha20Poly1305::new_from_slice(&key).ok()?;
    (1..=32).contains(&name.len()).then(|| (name.to_owned(), cipher))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        BASE64_STANDARD.encode([byte; KEY])
    }

    #[test]
    fn keys_are_changed_one_after_the_other() {
        let ids = Ids::from_seed(1);
        let old = Seal::parse(&format!("2026:{}", key(1))).expect("a key");
        let both = Seal::parse(&format!("2027:{}, 2026:{}", key(2), key(1))).expect("two keys");
        let new = Seal::parse(&format!("2027:{}", key(2))).expect("a key");
        let sealed = old.seal(&ids, "acct_1", b"xkeysib-1").expect("sealed");
        assert_eq!(both.open("acct_1", &sealed).as_deref(), Ok(&b"xkeysib-1"[..]));
        assert_eq!(new.open("acct_1", &sealed), Err(SealError::UnknownKey("2026".to_owned())));
        let again = both.anew(&ids, "acct_1", &sealed).expect("opened").expect("under the old key before");
        assert_eq!(both.anew(&ids, "acct_1", &again), Ok(None));
        assert_eq!(new.open("acct_1", &again).as_deref(), Ok(&b"xkeysib-1"[..]));
    }

    #[test]
    fn what_was_changed_or_moved_does_not_open() {
        let (ids, seal) = (Ids::from_seed(1), Seal::parse(&format!("k:{}", key(1))).expect("a key"));
        let sealed = seal.seal(&ids, "acct_1", b"secret").expect("sealed");
        assert_eq!(seal.open("acct_2", &sealed), Err(SealError::Broken));
        for at in 2..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(seal.open("acct_1", &changed), Err(SealError::Broken), "byte {at}");
            assert!(seal.open("acct_1", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(!format!("{seal:?} {:?}", String::from_utf8_lossy(&sealed)).contains("secret"));
    }

    #[test]
    fn a_derived_key_is_of_its_purpose_and_its_secret() {
        let ids = Ids::from_seed(1);
        let sealed = Seal::derived("answers", b"one").seal(&ids, "a", b"secret").expect("sealed");
        assert_eq!(Seal::derived("answers", b"one").open("a", &sealed).as_deref(), Ok(&b"secret"[..]));
        for other in [Seal::derived("answers", b"two"), Seal::derived("questions", b"one")] {
            assert_eq!(other.open("a", &sealed), Err(SealError::Broken));
        }
    }

    #[test]
    fn keys_that_are_none_are_named() {
        assert_eq!(
            Seal::parse("").expect("no keys").seal(&Ids::from_seed(1), "a", b"b"),
            Err(SealError::NoKey)
        );
        for wrong in ["abc", "k:", &format!(":{}", key(1)), "k:AAAA"] {
            assert_eq!(Seal::parse(wrong).expect_err(wrong), SealError::Key { at: 1 });
        }
    }
}
