//! What a recipient can do without signing in, and the links that let them: each bears a token that says what for and for which
//! message, signed, so that nobody can make or change one who does not have the keys. No address stands in it, and none is
//! asked for: whoever holds the link is whom it was sent to.
//!
//! A short link of an SMS has no room for that, see [`PublicLinks::short_url`]; whoever guessed one would be led somewhere.
//!
//! A token is 38 bytes in URL-safe base64: version, purpose, the campaign's id, the recipient's number, and 16 bytes of
//! HMAC-SHA-256 over those. Each purpose has a key of its own, derived from the secret, so that a link that counts opens
//! unsubscribes nobody.

use std::sync::Arc;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use fanfare_templates::{CLICK_URL, Compiled, Given, OPEN_URL, PREFERENCES_URL, SHORT_URL, UNSUBSCRIBE_URL};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use crate::id::MessageId;

const VERSION: u8 = 1;
/// Version, purpose, campaign, number.
const SAID: usize = 1 + 1 + 16 + 4;
const TAG: usize = 16;
const TOKEN: usize = SAID + TAG;
/// Of a token in base64.
const TEXT: usize = (TOKEN * 4).div_ceil(3);
const KEY: usize = 32;

/// Bytes of the MAC of a short link, which leads somewhere and does no more: that a million guesses find one has a chance of one
/// in 280 million.
const SHORT_TAG: usize = 6;
/// Bytes of the longest short link.
const SHORT: usize = 10 + 5 + SHORT_TAG;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To end marketing over the message's channel.
    Unsubscribe,
    /// To see and change what its recipient wants.
    Preferences,
    /// To tell that the message was opened.
    Open,
    /// To be led to one of its links.
    Click,
}

impl Purpose {
    pub const ALL: [Self; 4] = [Self::Unsubscribe, Self::Preferences, Self::Open, Self::Click];

    /// In the token, and as the first part of the path.
    const fn letter(self) -> u8 {
        match self {
            Self::Unsubscribe => b'u',
            Self::Preferences => b'p',
            Self::Open => b'o',
            Self::Click => b'c',
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Unsubscribe => 0,
            Self::Preferences => 1,
            Self::Open => 2,
            Self::Click => 3,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicLinksError {
    #[error(
        "must be an address like https://mail.example.com, without a query (http only for localhost): it stands in mail"
    )]
    Base,
    #[error("there is no key to sign links with: set `name:` and the output of `openssl rand -base64 32`")]
    NoKey,
    #[error("key {at} is not `name:base64` with a name of 1 to 32 characters and {KEY} bytes in base64")]
    Key { at: usize },
}

/// Makes and reads the links; cheap to clone. Of an installation without an address that recipients reach, it makes none.
#[derive(Clone, Default)]
pub struct PublicLinks(Option<Arc<Signer>>);

struct Signer {
    base: String,
    /// The first signs, all are believed.
    secrets: Vec<Secret>,
}

/// A secret's key for each purpose, and for short links, with the beginning of the computation done.
struct Secret {
    keys: [Hmac<Sha256>; Purpose::ALL.len()],
    short: Hmac<Sha256>,
}

/// What a short link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortLink {
    /// The campaign's number.
    pub campaign: u64,
    pub n: i32,
    /// The link's id.
    pub link: String,
}

impl std::fmt::Debug for PublicLinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PublicLinks").field(&self.0.as_ref().map(|signer| &signer.base)).finish()
    }
}

impl PublicLinks {
    /// `keys` are listed as `name:base64`, separated by commas: a new one is put in front, and an old one is taken out once
    /// nobody should use its links any more. Nothing is linked where `base` is empty.
    pub fn new(base: &str, keys: &str) -> Result<Self, PublicLinksError> {
        let listed = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        let secrets =
            listed.enumerate().map(|(at, key)| read(key).ok_or(PublicLinksError::Key { at: at + 1 }));
        let secrets: Vec<Secret> = secrets.collect::<Result<_, _>>()?;
        if base.is_empty() {
            return Ok(Self(None));
        }
        let base = sound(base).ok_or(PublicLinksError::Base)?;
        if secrets.is_empty() {
            return Err(PublicLinksError::NoKey);
        }
        Ok(Self(Some(Arc::new(Signer { base, secrets }))))
    }

    /// Whether there are links at all.
    pub const fn exist(&self) -> bool {
        self.0.is_some()
    }

    /// `https://…/u/TOKEN`
    pub fn url(&self, purpose: Purpose, message: MessageId) -> Option<String> {
        let Signer { base, secrets } = self.0.as_deref()?;
        let mut token = [0; TOKEN];
        let (said, tag) = token.split_at_mut(SAID);
        (said[0], said[1]) = (VERSION, purpose.letter());
        said[2..18].copy_from_slice(message.campaign.uuid().as_bytes());
        said[18..].copy_from_slice(&message.n.to_be_bytes());
        tag.copy_from_slice(&secrets.first()?.mac(purpose, said).finalize().into_bytes()[..TAG]);
        let mut url = String::with_capacity(base.len() + 3 + TEXT);
        url.push_str(base);
        url.push('/');
        url.push(char::from(purpose.letter()));
        url.push('/');
        BASE64_URL_SAFE_NO_PAD.encode_string(token, &mut url);
        Some(url)
    }

    /// `https://…/s/CODE` for a message of the campaign with this number; the id of a link, one character, is to follow. An SMS has
    /// no room for a token: the numbers are written as short as they are, and 6 bytes of their MAC.
    pub fn short_url(&self, campaign: u64, n: i32) -> Option<String> {
        let Signer { base, secrets } = self.0.as_deref()?;
        let mut code = Vec::with_capacity(SHORT);
        push_number(&mut code, campaign);
        push_number(&mut code, u64::from(n.cast_unsigned()));
        let mac = secrets.first()?.short_mac(&code).finalize().into_bytes();
        code.extend_from_slice(&mac[..SHORT_TAG]);
        let mut url = String::with_capacity(base.len() + 3 + SHORT * 4 / 3);
        url.push_str(base);
        url.push_str("/s/");
        BASE64_URL_SAFE_NO_PAD.encode_string(code, &mut url);
        Some(url)
    }

    /// What a short link says; `None` for every other text.
    pub fn read_short(&self, code: &str) -> Option<ShortLink> {
        let signer = self.0.as_deref()?;
        let (at, link) = code.char_indices().next_back()?;
        let mut bytes = [0; SHORT];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(&code[..at], &mut bytes).ok()?;
        let (said, tag) = bytes[..length].split_at_checked(length.checked_sub(SHORT_TAG)?)?;
        let mut known = signer.secrets.iter();
        known.find(|secret| secret.short_mac(said).verify_truncated_left(tag).is_ok())?;
        let (campaign, rest) = number(said)?;
        let (n, rest) = number(rest)?;
        let n = u32::try_from(n).ok()?.cast_signed();
        rest.is_empty().then(|| ShortLink { campaign, n, link: link.to_string() })
    }

    /// Links of no message, for whoever looks at a template: they lead to a page that says so.
    pub fn samples(&self) -> Given {
        let nobodys = MessageId { campaign: Uuid::nil().into(), n: 0 };
        let known = [(UNSUBSCRIBE_URL, Purpose::Unsubscribe), (PREFERENCES_URL, Purpose::Preferences)];
        known.into_iter().filter_map(|(name, purpose)| Some((name, self.url(purpose, nobodys)?))).collect()
    }

    /// The message that a token for this purpose is about; `None` for every other text.
    pub fn read(&self, purpose: Purpose, token: &str) -> Option<MessageId> {
        let signer = self.0.as_deref()?;
        let mut bytes = [0; TOKEN];
        // Of a longer text nothing is read.
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()?;
        let (said, tag) = bytes.split_at(SAID);
        if length != TOKEN || said[..2] != [VERSION, purpose.letter()] {
            return None;
        }
        // Compares in constant time.
        let mut known = signer.secrets.iter();
        known.find(|secret| secret.mac(purpose, said).verify_truncated_left(tag).is_ok())?;
        let campaign = Uuid::from_slice(&said[2..18]).ok()?;
        let n = i32::from_be_bytes(said[18..].try_into().ok()?);
        Some(MessageId { campaign: campaign.into(), n })
    }
}

/// The links that a template shows by itself, known once for all its recipients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownLinks {
    whole: Vec<(&'static str, Purpose)>,
    /// The campaign's number, where it shows short ones.
    short: Option<u64>,
}

impl ShownLinks {
    /// `campaign`: its number.
    pub fn of(template: &Compiled, campaign: u64) -> Self {
        let known = [
            (UNSUBSCRIBE_URL, Purpose::Unsubscribe),
            (PREFERENCES_URL, Purpose::Preferences),
            (CLICK_URL, Purpose::Click),
            (OPEN_URL, Purpose::Open),
        ];
        let whole = known.into_iter().filter(|(name, _)| template.reads(name)).collect();
        Self { whole, short: template.reads(SHORT_URL).then_some(campaign) }
    }

    pub const fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.short.is_none()
    }

    /// Their values in one message.
    pub fn given(&self, links: &PublicLinks, message: MessageId) -> Given {
        let whole =
            self.whole.iter().filter_map(|&(name, purpose)| Some((name, links.url(purpose, message)?)));
        let short = self.short.and_then(|campaign| Some((SHORT_URL, links.short_url(campaign, message.n)?)));
        whole.chain(short).collect()
    }
}

impl Secret {
    fn of(secret: &[u8; KEY]) -> Self {
        let derived = |letter: u8| {
            let mut derive = hmac(secret);
            derive.update(b"fanfare public link\0");
            derive.update(&[VERSION, letter]);
            hmac(&derive.finalize().into_bytes())
        };
        Self { keys: Purpose::ALL.map(|purpose| derived(purpose.letter())), short: derived(b's') }
    }

    fn short_mac(&self, said: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.short.clone();
        mac.update(said);
        mac
    }

    fn mac(&self, purpose: Purpose, said: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keys[purpose.index()].clone();
        mac.update(said);
        mac
    }
}

/// Seven bits a byte, the lowest first; every byte but the last has its highest bit set.
fn push_number(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        to.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let (own, rest) = bytes.split_at(end);
    let number = own
        .iter()
        .rev()
        .try_fold(0_u64, |sum, byte| sum.checked_mul(0x80).map(|sum| sum | u64::from(byte & 0x7F)))?;
    Some((number, rest))
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key may have any length")
}

fn read(key: &str) -> Option<Secret> {
    let (name, key) = key.split_once(':')?;
    let key: [u8; KEY] = BASE64_STANDARD.decode(key).ok()?.try_into().ok()?;
    (1..=32).contains(&name.len()).then(|| Secret::of(&key))
}

/// The address without a slash at its end. It stands in headers and in HTML as it is, so only plain characters will do.
fn sound(base: &str) -> Option<String> {
    let url = url::Url::parse(base).ok()?;
    let host = url.host_str()?;
    let secure = url.scheme() == "https"
        || (url.scheme() == "http" && ["localhost", "127.0.0.1", "[::1]"].contains(&host));
    let bare = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_~[]".contains(&byte);
    let base = url.as_str().trim_end_matches('/');
    (secure && bare && base.len() <= 200 && base.bytes().all(plain)).then(|| base.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::CampaignId;

    const BASE: &str = "https://mail.example.com";

    fn key(name: &str, byte: u8) -> String {
        format!("{name}:{}", BASE64_STANDARD.encode([byte; KEY]))
    }

    fn links(keys: &str) -> PublicLinks {
        PublicLinks::new(BASE, keys).expect("sound settings")
    }

    fn message(campaign: u128, n: i32) -> MessageId {
        MessageId { campaign: CampaignId::from_uuid(Uuid::from_u128(campaign)), n }
    }

    fn token(links: &PublicLinks, purpose: Purpose, message: MessageId) -> String {
        links.url(purpose, message).expect("there are links").rsplit_once('/').expect("a path").1.to_owned()
    }

    proptest! {
        #[test]
        fn a_token_names_its_message_for_its_purpose_only(campaign: u128, n: i32, made in 0..4_usize, read in 0..4_usize) {
            let (links, message) = (links(&key("a", 1)), message(campaign, n));
            let (made, read) = (Purpose::ALL[made], Purpose::ALL[read]);
            let token = token(&links, made, message);
            prop_assert_eq!(token.len(), TEXT);
            prop_assert_eq!(links.read(read, &token), (made == read).then_some(message));
        }

        #[test]
        fn no_bit_can_be_changed(campaign: u128, n: i32, purpose in 0..4_usize, bit in 0..TOKEN * 8) {
            let (links, purpose) = (links(&key("a", 1)), Purpose::ALL[purpose]);
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(token(&links, purpose, message(campaign, n))).expect("base64");
            bytes[bit / 8] ^= 1 << (bit % 8);
            let forged = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            for purpose in Purpose::ALL {
                prop_assert_eq!(links.read(purpose, &forged), None);
            }
        }

        #[test]
        fn no_character_can_be_changed(at in 0..TEXT, other in "[A-Za-z0-9_-]") {
            let links = links(&key("a", 1));
            let mut text = token(&links, Purpose::Unsubscribe, message(7, 7));
            prop_assume!(text[at..=at] != other);
            text.replace_range(at..=at, &other);
            prop_assert_eq!(links.read(Purpose::Unsubscribe, &text), None);
        }

        #[test]
        fn a_short_link_names_its_message_and_no_bit_of_it_can_be_changed(campaign: u64, n: i32, bit in 0..400_usize) {
            let links = links(&key("a", 1));
            let url = links.short_url(campaign, n).expect("a link");
            let code = url.strip_prefix("https://mail.example.com/s/").expect("its path");
            let read = ShortLink { campaign, n, link: "B".to_owned() };
            prop_assert_eq!(links.read_short(&format!("{code}B")), Some(read));
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(code).expect("base64");
            let at = bit / 8 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
            let forged = BASE64_URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(links.read_short(&format!("{forged}B")), None);
            prop_assert_eq!(links.read_short(code), None);
        }

        #[test]
        fn nothing_else_is_a_token(text in ".{0,80}") {
            for purpose in Purpose::ALL {
                prop_assert_eq!(links(&key("a", 1)).read(purpose, &text), None);
            }
            prop_assert_eq!(links(&key("a", 1)).read_short(&text), None);
        }
    }

    #[test]
    fn keys_are_changed_one_after_the_other() {
        let (old, new) = (key("2026", 1), key("2027", 2));
        let before = token(&links(&old), Purpose::Click, message(1, 2));
        let both = links(&format!("{new}, {old}"));
        assert_eq!(both.read(Purpose::Click, &before), Some(message(1, 2)));
        let after = token(&both, Purpose::Click, message(1, 2));
        assert_eq!(links(&new).read(Purpose::Click, &after), Some(message(1, 2)));
        assert_eq!(links(&new).read(Purpose::Click, &before), None);
    }

    #[test]
    fn a_short_link_is_short() {
        let url = links(&key("a", 1)).short_url(40_000, 1_000_000).expect("a link");
        assert_eq!(url.len() - BASE.len(), "/s/".len() + 16);
    }

    #[test]
    fn a_part_of_a_token_is_none() {
        let links = links(&key("a", 1));
        let text = token(&links, Purpose::Open, message(1, 2));
        for cut in 0..text.len() {
            assert_eq!(links.read(Purpose::Open, &text[..cut]), None, "{cut}");
        }
        for more in ["=", "A", "%3D", "/", "\0", "\n"] {
            assert_eq!(links.read(Purpose::Open, &format!("{text}{more}")), None, "{more:?}");
        }
    }

    #[test]
    fn settings_that_are_none_are_refused() {
        let good = key("a", 1);
        assert!(!PublicLinks::new("", &good).expect("no links").exist());
        assert!(!PublicLinks::default().exist());
        for base in [
            "mail.example.com",
            "http://mail.example.com",
            "https://a@b.com",
            "https://b.com?x",
            "ftp://b.com",
        ] {
            assert_eq!(PublicLinks::new(base, &good).map(drop), Err(PublicLinksError::Base), "{base}");
        }
        assert_eq!(PublicLinks::new(BASE, "").map(drop), Err(PublicLinksError::NoKey));
        for wrong in ["a", "a:AAAA", &good[1..]] {
            assert_eq!(
                PublicLinks::new(BASE, wrong).map(drop),
                Err(PublicLinksError::Key { at: 1 }),
                "{wrong}"
            );
        }
        let deep = PublicLinks::new("https://example.com/mail/", &good).expect("a path is fine");
        let url = deep.url(Purpose::Unsubscribe, message(1, 2)).expect("a link");
        assert!(url.starts_with("https://example.com/mail/u/AX"), "{url}");
        assert!(!format!("{deep:?}").contains("AQEB"));
    }
}
