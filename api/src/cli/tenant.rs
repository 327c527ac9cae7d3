//! `fanfare tenant`: the organisations that send.

use fanfare_engine::{domain::address::Region, store::tenants::Tenant};
use serde::Serialize;
use serde_json::json;

use super::{
    context::Context,
    exit::{Exit, Failure},
    out,
};

#[derive(Debug, clap::Subcommand)]
pub enum Args {
    /// Make a tenant
    Create(Create),
    /// List all tenants
    List,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Short name: lower-case letters, digits and hyphens
    slug: String,
    /// Name as people know it
    #[arg(long)]
    name: String,
    /// ISO 3166 country that phone numbers without a country code belong to, such as MU
    #[arg(long)]
    region: String,
    /// Language of who states none, such as en-MU
    #[arg(long, default_value = "en")]
    locale: String,
    /// IANA time zone of who states none, such as Indian/Mauritius
    #[arg(long)]
    time_zone: String,
    /// ISO 4217 currency of amounts without one, such as MUR
    #[arg(long)]
    currency: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    slug: String,
    name: String,
    region: String,
    locale: String,
    time_zone: String,
    currency: String,
}

impl From<Tenant> for Shown {
    fn from(tenant: Tenant) -> Self {
        let Tenant { id, slug, name, region, locale, time_zone, currency } = tenant;
        Self { id: id.to_string(), slug, name, region, locale, time_zone, currency }
    }
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    let store = context.store().await?;
    match args {
        Args::Create(create) => {
            let tenant = parsed(context, create)?;
            store.create_tenant(&tenant).await?;
            let detail = json!({"slug": tenant.slug, "name": tenant.name});
            context.note(&store, context.deed(tenant.id, "tenant.create", tenant.id, detail)).await?;
            context.out.show(&Shown::from(tenant), |made| format!("{} is there: {}", made.slug, made.id))
        }
        Args::List => {
            let all: Vec<Shown> = store.tenants().await?.into_iter().map(Shown::from).collect();
            context.out.show(&all, |all| {
                let row = |t: &Shown| {
                    vec![
                        t.slug.clone(),
                        t.name.clone(),
                        t.region.clone(),
                        t.locale.clone(),
                        t.time_zone.clone(),
                        t.currency.clone(),
                        t.id.clone(),
                    ]
                };
                let rows: Vec<Vec<String>> = all.iter().map(row).collect();
                out::table(&["SLUG", "NAME", "REGION", "LOCALE", "TIME ZONE", "CURRENCY", "ID"], &rows)
            })
        }
    }
}

fn parsed(context: &Context, create: Create) -> Result<Tenant, Failure> {
    let wrong = |option: &str, problem: String| Failure::say(Exit::Usage, format!("--{option}: {problem}"));
    let Create { slug, name, region, locale, time_zone, currency } = create;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !slug.starts_with(plain) || !slug.chars().all(|c| plain(c) || c == '-') || slug.len() > 63 {
        let sentence =
            format!("`{slug}` cannot be a slug: use lower-case letters, digits and hyphens, at most 63");
        return Err(Failure::say(Exit::Usage, sentence));
    }
    Region::parse(&region).map_err(|problem| wrong("region", problem))?;
    fanfare_templates::Locale::parse(&locale).map_err(|error| wrong("locale", error.to_string()))?;
    jiff::tz::TimeZone::get(&time_zone).map_err(|_| {
        wrong("time-zone", format!("`{time_zone}` is no IANA time zone such as Indian/Mauritius"))
    })?;
    if iso_currency::Currency::from_code(&currency.to_ascii_uppercase()).is_none() {
        return Err(wrong("currency", format!("`{currency}` is no ISO 4217 currency such as MUR")));
    }
    let id = context.sources.ids.next(context.sources.clock.now());
    let (region, currency) = (region.to_ascii_uppercase(), currency.to_ascii_uppercase());
    Ok(Tenant { id, slug, name, region, locale, time_zone, currency })
}
