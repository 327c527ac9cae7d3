//! The default file, written from the sections and their documentation.

use std::fmt::Write as _;

use super::sections::{Config, SECTIONS};

const HEAD: &str = "\
# Fanfare's configuration with all its defaults, written by `fanfare config --defaults`.
# Copy what you change into fanfare.toml, or name a file by --config or FANFARE_CONFIG. Any key can be overridden by a
# variable: FANFARE__WORKER__CHUNKS=4. `fanfare config` shows what holds, and where it came from.
";

const TAIL: &str = "
# Organisations. Each is made when the database has none of that slug.
#
# [[tenants]]
# slug = \"island-mutual\"
# name = \"Island Mutual\"
# region = \"MU\"                      # ISO 3166: phone numbers without a country code belong to it
# locale = \"en-MU\"
# time_zone = \"Indian/Mauritius\"     # IANA
# currency = \"MUR\"                   # ISO 4217

# Credentials and quota at a provider. Accounts of one channel are tried in the order of `priority`.
# BREVO_API_KEY, BREVO_SENDER_EMAIL and BREVO_SENDER_NAME make `brevo-email` and `brevo-sms`; WHATSAPP_ACCESS_TOKEN,
# WHATSAPP_PHONE_NUMBER_ID, WHATSAPP_APP_SECRET and WHATSAPP_WEBHOOK_VERIFY_TOKEN make `whatsapp`.
# A secret is best given by a variable: FANFARE__ACCOUNTS__BREVO_EMAIL__API_KEY for the account `brevo-email`.
#
# [[accounts]]
# provider = \"brevo_email\"
# slug = \"brevo-email\"
# tenant = \"island-mutual\"           # may be left out where there is one tenant
# priority = 0
# limits = [{ window = \"second\", requests = 1000 }]
# api_key = \"xkeysib-…\"
# sender_email = \"billing@example.com\"
# sender_name = \"Island Mutual\"
# webhook_auth = { bearer = { token = \"…\" } }
#
# [[accounts]]
# provider = \"brevo_sms\"
# slug = \"brevo-sms\"
# limits = [{ window = \"second\", requests = 150 }]
# api_key = \"xkeysib-…\"
# sender = \"IslandMut\"               # at most 11 letters and digits
#
# [[accounts]]
# provider = \"whatsapp_cloud\"
# slug = \"whatsapp\"
# limits = [{ window = \"second\", requests = 80 }]
# people_per_day = 2000              # its tier: distinct people in any 24 hours; unlimited when left out
# phone_number_id = \"106540352242922\"
# access_token = \"…\"
# app_secret = \"…\"                   # signs the webhooks
# verify_token = \"…\"                 # asked for when the webhook is registered
#
# [[accounts]]
# provider = \"in_app\"                # notifications in the application itself: needs nothing but the database
# slug = \"in-app\"
";

/// The commented file with every key at its default.
pub fn default_file() -> String {
    let mut text = HEAD.to_owned();
    let tables = Config::default().to_tables();
    for section in SECTIONS {
        let table = tables.iter().find(|(name, _)| *name == section.name).map(|(_, table)| table);
        let _ = write!(text, "\n#{}\n[{}]\n", section.about, section.name);
        for key in section.keys {
            let value = table.and_then(|table| table.get(key.name));
            let value = value.expect("every documented key has a default");
            let _ = write!(text, "#{}\n{} = {value}\n", key.about, key.name);
        }
    }
    text + TAIL
}
