//! The mails by which people come in: an invitation, a link for a new password. They go the way of every transactional
//! message, over the tenant's route for e-mail, so they are retried, suppressed and found like any other.
//!
//! Of a link only the hash is kept, but a mail that waits for its turn bears the link itself: whoever reads the tables of
//! messages can use it until it is used or over. So links that are mailed to whoever asks are good for an hour only.

use std::time::Duration;

use fanfare_engine::{
    deliver::direct::{DirectContent, DirectError, DirectRequest, Taken},
    domain::channel::{Channel, MessageClass},
    store::{sign_in::LinkPurpose, users::User},
};
use fanfare_templates::{Locale, html_from_text};
use serde_json::json;

use crate::{pages, service::Service};

/// Mails a link to whose it is. False where nothing can be mailed or this address must not be written to; the log says why,
/// without the address.
pub(crate) async fn send(
    service: &Service,
    user: &User,
    (purpose, token): (LinkPurpose, &str),
    good_for: Duration,
) -> bool {
    if !service.has_public_url {
        tracing::warn!(user = %user.id, purpose = purpose.as_str(), "a link was not mailed: `api.public_url` does not say where people find this service");
        return false;
    }
    match mail(service, user, (purpose, token), good_for).await {
        Ok(Taken::Accepted { .. } | Taken::Duplicate { .. }) => true,
        Ok(Taken::Refused { reason, .. }) => {
            tracing::warn!(user = %user.id, purpose = purpose.as_str(), reason = reason.as_str(), "a link was not mailed");
            false
        }
        Err(error) => {
            tracing::warn!(user = %user.id, purpose = purpose.as_str(), %error, "a link was not mailed");
            false
        }
    }
}

async fn mail(
    service: &Service,
    user: &User,
    (purpose, token): (LinkPurpose, &str),
    good_for: Duration,
) -> Result<Taken, DirectError> {
    let tenant = service.store.tenant_by_id(user.tenant).await?;
    let letter = Letter {
        house: &tenant.name,
        name: &user.first_name,
        url: &pages::link(&service.base_url, purpose, token),
        hours: good_for.as_secs() / 3_600,
    };
    let (subject, text) = letter.written(purpose, Tongue::of(&tenant.locale));
    let parts = json!({"subject": subject, "html": html_from_text(&text), "text": text});
    let request = DirectRequest {
        variables: parts.as_object().cloned().unwrap_or_default(),
        ..DirectRequest::new(
            &tenant,
            Channel::Email,
            DirectContent::Written(MessageClass::Transactional),
            &user.email,
        )
    };
    service.direct.take(request).await
}

/// The languages of the starters.
#[derive(Debug, Clone, Copy)]
enum Tongue {
    English,
    French,
}

impl Tongue {
    fn of(locale: &str) -> Self {
        let french = Locale::parse(locale).is_ok_and(|locale| locale.fallbacks().any(|known| known == "fr"));
        if french { Self::French } else { Self::English }
    }
}

struct Letter<'a> {
    house: &'a str,
    name: &'a str,
    url: &'a str,
    hours: u64,
}

impl Letter<'_> {
    /// Subject and text.
    fn written(&self, purpose: LinkPurpose, tongue: Tongue) -> (String, String) {
        let Self { house, name, url, hours } = self;
        match (purpose, tongue) {
            (LinkPurpose::Invitation, Tongue::English) => (
                format!("You are invited to {house}"),
                format!(
                    "Hello {name},\n\nYou are invited to work with {house}. Choose your password within {hours} {}:\n\n{url}\n\n\
                     The link is good once. If you do not know what this is about, do nothing.\n",
                    plural(*hours, "hour", "hours")
                ),
            ),
            (LinkPurpose::Invitation, Tongue::French) => (
                format!("Votre invitation chez {house}"),
                format!(
                    "Bonjour {name},\n\nVous êtes invité à travailler avec {house}. Choisissez votre mot de passe sous {hours} {} :\n\n{url}\n\n\
                     Ce lien ne sert qu'une fois. Si vous ne savez pas de quoi il s'agit, ne faites rien.\n",
                    plural(*hours, "heure", "heures")
                ),
            ),
            (LinkPurpose::PasswordReset, Tongue::English) => (
                format!("Your password at {house}"),
                format!(
                    "Hello {name},\n\nSomebody asked for a new password for your account at {house}. If it was you, choose one within {hours} {}:\n\n{url}\n\n\
                     The link is good once. If it was not you, do nothing: your password stays as it is.\n",
                    plural(*hours, "hour", "hours")
                ),
            ),
            (LinkPurpose::PasswordReset, Tongue::French) => (
                format!("Votre mot de passe chez {house}"),
                format!(
                    "Bonjour {name},\n\nUn nouveau mot de passe a été demandé pour votre compte chez {house}. Si c'était vous, choisissez-le sous {hours} {} :\n\n{url}\n\n\
                     Ce lien ne sert qu'une fois. Si ce n'était pas vous, ne faites rien : votre mot de passe reste le même.\n",
                    plural(*hours, "heure", "heures")
                ),
            ),
        }
    }
}

const fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_says_whose_it_is_what_to_do_and_until_when() {
        let letter = Letter { house: "Acme", name: "Asha", url: "https://f.example/password#x/t", hours: 1 };
        for purpose in [LinkPurpose::Invitation, LinkPurpose::PasswordReset] {
            for (locale, hour) in
                [("fr-MU", "1 heure "), ("en-MU", "1 hour:"), ("de", "1 hour:"), ("?", "1 hour:")]
            {
                let (subject, text) = letter.written(purpose, Tongue::of(locale));
                assert!(subject.contains("Acme"), "{subject}");
                for part in ["Asha", "Acme", "\n\nhttps://f.example/password#x/t\n\n", hour] {
                    assert!(text.contains(part), "{locale}, {part}: {text}");
                }
            }
        }
    }
}
