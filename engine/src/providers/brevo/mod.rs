//! Brevo (<https://developers.brevo.com>, API v3): e-mail and SMS of one company behind one kind of key.

pub(super) mod email;
mod email_hooks;
mod hooks;
mod look_up;
pub(super) mod sms;
mod sms_hooks;

use hyper::Uri;
use secrecy::SecretString;
use url::Url;

use super::{
    Answer,
    classify::{self, brevo::Keys},
    http::{Http, Reply, SendError, Size},
    settings::{self, ConfigError, HttpSettings},
};

/// An account's connections to Brevo.
#[derive(Debug)]
struct Client {
    http: Http,
    base: Url,
    send: Uri,
    keys: Keys,
}

impl Client {
    /// `send` is the path under `base_url` that messages go to.
    fn new(
        base_url: &str,
        send: &str,
        key: &SecretString,
        keys: Keys,
        http: &HttpSettings,
    ) -> Result<Self, ConfigError> {
        let base = settings::base_url(base_url, http)?;
        let send = settings::uri(&settings::below(&base, send));
        Ok(Self { http: Http::new(http, ("api-key", settings::secret("api_key", key)?))?, base, send, keys })
    }

    /// Sends, and reads a 2xx with `read`, which says nothing when it cannot make sense of it.
    async fn send(&self, body: Vec<u8>, read: impl Fn(&[u8]) -> Option<String>) -> Answer {
        let reply = match self.http.post(&self.send, body, Size::One).await {
            Ok(reply) => reply,
            Err(error) => return classify::no_answer(error),
        };
        match (reply.status, &reply.body) {
            (200..300, Ok(body)) => read(body)
                .map_or_else(|| classify::unreadable(&reply), |id| classify::accepted(id, reply.quota)),
            (200..300, Err(_)) => classify::unreadable(&reply),
            _ => self.refusal(&reply),
        }
    }

    fn refusal(&self, reply: &Reply) -> Answer {
        classify::brevo::refusal(reply, self.keys)
    }

    async fn post_many(&self, body: Vec<u8>) -> Result<Reply, SendError> {
        self.http.post(&self.send, body, Size::Many).await
    }

    /// Asks for the account's own data: proves connection and key, and costs nothing.
    async fn probe(&self) -> Result<(), String> {
        let account = settings::uri(&settings::below(&self.base, "account"));
        let reply =
            self.http.get(&account, Size::One).await.map_err(|_| "Brevo cannot be reached".to_owned())?;
        if (200..300).contains(&reply.status) {
            return Ok(());
        }
        let words = self.refusal(&reply).words.unwrap_or_default();
        Err(format!("Brevo answers {} to a question about the account: {words}", reply.status))
    }
}
