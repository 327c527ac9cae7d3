//! Tokens. Opaque ones (API keys, refresh tokens, links) are 256 random bits behind a prefix that says what they are, so
//! that a leaked one can be found; the database knows their SHA-256 only. Access tokens are JWTs that name a session.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_engine::{
    domain::environment::Environment,
    id::{Ids, SessionId, TenantId, UserId},
    store::sessions::TokenHash,
};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What an opaque token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ApiKey,
    Refresh,
    Link,
}

impl Kind {
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::ApiKey => "ffk_",
            Self::Refresh => "ffr_",
            Self::Link => "ffl_",
        }
    }
}

/// A new token, and what is kept of it. The token is told once.
pub(crate) fn make(kind: Kind, ids: &Ids) -> (String, TokenHash) {
    let token = format!("{}{}", kind.prefix(), BASE64_URL_SAFE_NO_PAD.encode(ids.random_bytes::<32>()));
    let hash = hash(&token);
    (token, hash)
}

pub(crate) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

/// What an access token says. Who may do what is not in it: that stands in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    sub: UserId,
    pub(crate) sid: SessionId,
    pub(crate) tid: TenantId,
    pub(crate) env: Environment,
    iat: i64,
    exp: i64,
}

/// Whose token it is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bearer {
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) tenant: TenantId,
    pub(crate) environment: Environment,
}

/// Signs and reads access tokens, by HS256.
pub(crate) struct AccessTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    lifetime: Duration,
}

impl std::fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessTokens").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl AccessTokens {
    pub(crate) fn new(secret: &SecretString, lifetime: Duration) -> Self {
        // Fails where it is installed already.
        let _ = super::hs256::PROVIDER.install_default();
        let secret = secret.expose_secret().as_bytes();
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            lifetime,
        }
    }

    pub(crate) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(crate) fn sign(&self, bearer: Bearer, now: Timestamp) -> String {
        let Bearer { user: sub, session: sid, tenant: tid, environment: env } = bearer;
        let iat = now.as_second();
        let exp = iat + i64::try_from(self.lifetime.as_secs()).unwrap_or(0);
        let claims = Claims { sub, sid, tid, env, iat, exp };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .expect("claims are JSON")
    }

    /// `None` for what we did not sign, or what has expired.
    pub(crate) fn read(&self, token: &str, now: Timestamp) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        // By the clock that is passed in.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?.claims;
        (now.as_second() < claims.exp).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(secret: &str) -> AccessTokens {
        AccessTokens::new(&SecretString::from(secret), Duration::from_mins(15))
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("in range")
    }

    fn bearer() -> Bearer {
        let ids = Ids::from_seed(1);
        let (user, session, tenant) = (ids.next(now()), ids.next(now()), ids.next(now()));
        Bearer { user, session, tenant, environment: Environment::Sandbox }
    }

    #[test]
    fn an_access_token_is_good_for_a_while() {
        let token = tokens("one").sign(bearer(), now());
        let at = |seconds: i64| Timestamp::from_second(1_700_000_000 + seconds).expect("in range");
        let read = tokens("one").read(&token, at(899)).expect("good for 15 minutes");
        assert_eq!((read.sid, read.env), (bearer().session, Environment::Sandbox));
        assert_eq!(tokens("one").read(&token, at(900)), None);
        assert_eq!(tokens("another").read(&token, now()), None);
    }

    #[test]
    fn an_unsigned_token_is_no_token() {
        let token = tokens("one").sign(bearer(), now());
        let body = token.split('.').nth(1).expect("three parts");
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        for forged in [format!("{none}.{body}."), format!("{none}.{body}"), String::new(), "a.b.c".to_owned()]
        {
            assert_eq!(tokens("one").read(&forged, now()), None, "{forged}");
        }
    }

    #[test]
    fn tokens_differ_and_only_their_hash_is_kept() {
        let ids = Ids::from_seed(1);
        let ((one, kept), (two, _)) = (make(Kind::ApiKey, &ids), make(Kind::ApiKey, &ids));
        assert!(one.starts_with("ffk_") && one.len() == 47 && one != two);
        assert_eq!(hash(&one), kept);
    }
}
