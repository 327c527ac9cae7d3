//! Proofs that a webhook comes from its provider. Secrets are compared in constant time.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::{HookError, HookRequest, settings::WebhookAuth};

/// Brevo's proof: what the webhook's owner made it show, and where it comes from.
#[derive(Debug)]
pub(super) struct HookAuth {
    auth: Option<WebhookAuth>,
    networks: Vec<IpNet>,
}

impl HookAuth {
    pub(super) const fn new(auth: Option<WebhookAuth>, networks: Vec<IpNet>) -> Self {
        Self { auth, networks }
    }

    pub(super) fn verify(&self, request: &HookRequest<'_>) -> Result<(), HookError> {
        if !self.networks.is_empty() {
            let peer = request.peer.map(|ip| ip.to_canonical()).ok_or(HookError::ForeignPeer)?;
            if !self.networks.iter().any(|network| network.contains(&peer)) {
                return Err(HookError::ForeignPeer);
            }
        }
        let shown = request.headers.get("authorization").unwrap_or_default();
        let (scheme, value) = shown.trim().split_once(' ').unwrap_or_default();
        let sound = match &self.auth {
            Some(WebhookAuth::Bearer { token }) => {
                scheme.eq_ignore_ascii_case("bearer") && same(value.trim().as_bytes(), token)
            }
            Some(WebhookAuth::Basic { user, password }) => {
                let expected = SecretString::from(format!("{user}:{}", password.expose_secret()));
                scheme.eq_ignore_ascii_case("basic")
                    && STANDARD.decode(value.trim()).is_ok_and(|pair| same(&pair, &expected))
            }
            None => false,
        };
        if sound { Ok(()) } else { Err(HookError::Forged) }
    }
}

pub(super) fn same(shown: &[u8], expected: &SecretString) -> bool {
    shown.ct_eq(expected.expose_secret().as_bytes()).into()
}

/// Meta's proof: `sha256=` and the hexadecimal HMAC-SHA256 of the body, byte for byte as it came.
pub(super) fn verify_signature(
    secret: &SecretString,
    header: Option<&str>,
    body: &[u8],
) -> Result<(), HookError> {
    let shown = header.and_then(|text| text.trim().strip_prefix("sha256=")).ok_or(HookError::Forged)?;
    let shown = hex::decode(shown).map_err(|_| HookError::Forged)?;
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).map_err(|_| HookError::Forged)?;
    mac.update(body);
    mac.verify_slice(&shown).map_err(|_| HookError::Forged)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::providers::HeaderLookup;

    #[derive(Debug)]
    struct Authorization(&'static str);

    impl HeaderLookup for Authorization {
        fn get(&self, name: &str) -> Option<&str> {
            (name == "authorization").then_some(self.0)
        }
    }

    fn check(
        auth: Option<WebhookAuth>,
        networks: &[&str],
        shown: (&'static str, Option<&str>),
    ) -> Result<(), HookError> {
        let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        let (header, peer) = shown;
        let peer: Option<IpAddr> = peer.map(|text| text.parse().unwrap());
        HookAuth::new(auth, networks).verify(&HookRequest {
            peer,
            headers: &Authorization(header),
            body: b"",
        })
    }

    #[test]
    fn brevo_shows_its_token_or_password_from_where_it_may() {
        let bearer = || Some(WebhookAuth::Bearer { token: "s3cret".into() });
        let basic = || Some(WebhookAuth::Basic { user: "brevo".into(), password: "s3cret".into() });
        let right = concat!("Basic ", "YnJldm86czNjcmV0");
        for (auth, networks, shown, expected) in [
            (bearer(), &[][..], ("Bearer s3cret", None), Ok(())),
            (bearer(), &[], ("bearer  s3cret", None), Ok(())),
            (bearer(), &[], ("Bearer s3cre", None), Err(HookError::Forged)),
            (bearer(), &[], ("Bearer s3cret2", None), Err(HookError::Forged)),
            (bearer(), &[], ("", None), Err(HookError::Forged)),
            (bearer(), &[], (right, None), Err(HookError::Forged)),
            (basic(), &[], (right, None), Ok(())),
            (basic(), &[], ("Basic YnJldm86d3Jvbmc=", None), Err(HookError::Forged)),
            (basic(), &[], ("Basic !!", None), Err(HookError::Forged)),
            (basic(), &[], ("Bearer s3cret", None), Err(HookError::Forged)),
            (None, &[], ("Bearer ", None), Err(HookError::Forged)),
            (bearer(), &["1.179.112.0/20"], ("Bearer s3cret", Some("1.179.127.9")), Ok(())),
            (bearer(), &["1.179.112.0/20"], ("Bearer s3cret", Some("::ffff:1.179.112.1")), Ok(())),
            (
                bearer(),
                &["1.179.112.0/20"],
                ("Bearer s3cret", Some("1.179.128.0")),
                Err(HookError::ForeignPeer),
            ),
            (bearer(), &["1.179.112.0/20"], ("Bearer s3cret", None), Err(HookError::ForeignPeer)),
            (bearer(), &["1.179.112.0/20"], ("Bearer wrong", Some("1.179.112.1")), Err(HookError::Forged)),
        ] {
            assert_eq!(check(auth, networks, shown), expected, "{shown:?} from {networks:?}");
        }
    }

    #[test]
    fn meta_signs_the_raw_bytes() {
        let secret = SecretString::from("app_secret");
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let right = "sha256=c236c758c9b2bd40b388a550eeca09eaca72384dd0aa5e7c31d19cddac5bba46";
        assert_eq!(verify_signature(&secret, Some(right), body), Ok(()));
        for (header, body) in [
            (None, &body[..]),
            (Some(&right[7..]), body),
            (Some(&right[..69]), body),
            (Some("sha256="), body),
            (Some("sha256=zz"), body),
            // The same JSON, written otherwise.
            (Some(right), br#"{"object": "whatsapp_business_account", "entry": []}"#),
        ] {
            assert_eq!(verify_signature(&secret, header, body), Err(HookError::Forged), "{header:?}");
        }
        assert_eq!(verify_signature(&"other".into(), Some(right), body), Err(HookError::Forged));
    }
}
