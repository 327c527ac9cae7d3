//! What a campaign came to: sums, rates, how it went on in time, and which of its contents did best.

use std::{cmp::Reverse, collections::BTreeMap};

use axum::extract::State;
use fanfare_engine::{
    domain::{
        measure::{Measure, rate},
        permission::needs,
    },
    id::{CampaignId, TemplateVersionId},
    store::analytics::{self, Numbers, VariantRow},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Work;
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        problem::Problem,
    },
    service::Service,
};

/// Hours are shown of a campaign whose events lie within so many; of a longer one days.
const HOURS_SHOWN: usize = 72;
/// Buckets of an answer.
const MOST_BUCKETS: usize = 2_000;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(analytics))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum Bucket {
    Hour,
    Day,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct How {
    /// `hour`, or `day` in the tenant's zone. Not said: hours as long as there are few.
    bucket: Option<Bucket>,
}

/// Distinct recipients, and rates over those to whom it was delivered, in per cent with one decimal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    /// Accepted by a provider.
    sent: i64,
    delivered: i64,
    /// Opened or read; whoever clicked or replied counts, too.
    opened: i64,
    clicked: i64,
    converted: i64,
    open_rate: f64,
    click_rate: f64,
    conversion_rate: f64,
    replied: i64,
    /// Accepted, and did not arrive: bounced, blocked or failed.
    undelivered: i64,
    complained: i64,
    unsubscribed: i64,
}

/// What happened for the first time in an hour or on a day.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TimelineEntry {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// By when the messages' chunk was done.
    sent: i64,
    delivered: i64,
    opened: i64,
    clicked: i64,
    converted: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContentEntry {
    #[schema(value_type = String)]
    template_version_id: TemplateVersionId,
    /// The template's slug.
    template: String,
    locale: String,
    version: i32,
    delivered: i64,
    opened: i64,
    clicked: i64,
    converted: i64,
    open_rate: f64,
    click_rate: f64,
    conversion_rate: f64,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Analytics {
    #[schema(value_type = String)]
    campaign_id: CampaignId,
    metrics: Metrics,
    bucket: Bucket,
    timeline: Vec<TimelineEntry>,
    /// Each content that recipients got, the best first: by conversions, then clicks, then opens.
    top_performing_content: Vec<ContentEntry>,
}

/// What a campaign came to. About a second behind the webhooks.
#[utoipa::path(get, path = "/api/campaigns/{campaign_id}/analytics", tag = "campaigns", security(("bearer" = ["campaigns:read"])),
    params(("campaign_id" = String, Path, description = "`camp_…`"), How),
    responses((status = 200, description = "The numbers", body = Envelope<Analytics>)))]
async fn analytics(
    State(service): State<Service>,
    may: May<needs::CampaignsRead>,
    PathId(id): PathId<CampaignId>,
    Query(how): Query<How>,
) -> Result<Data<Analytics>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let numbers = analytics::numbers(&mut work.tx, may.caller.tenant, id).await?;
    work.end();
    let hours = by_hour(&numbers);
    let bucket = how.bucket.unwrap_or(if hours.len() <= HOURS_SHOWN { Bucket::Hour } else { Bucket::Day });
    let zone = TimeZone::get(&numbers.time_zone).unwrap_or(TimeZone::UTC);
    let timeline = match bucket {
        Bucket::Hour => hours.into_values().collect(),
        Bucket::Day => by_day(hours, &zone),
    };
    if timeline.len() > MOST_BUCKETS {
        return Err(Problem::field(
            "bucket",
            format!("would be more than {MOST_BUCKETS} entries: ask for `day`"),
        ));
    }
    let top_performing_content = contents(&numbers);
    Ok(Data(Analytics {
        campaign_id: id,
        metrics: metrics(&numbers),
        bucket,
        timeline,
        top_performing_content,
    }))
}

fn metrics(numbers: &Numbers) -> Metrics {
    let sum = |measure| numbers.sum(measure);
    let delivered = sum(Measure::Delivered);
    Metrics {
        sent: numbers.sent(),
        delivered,
        opened: sum(Measure::Opened),
        clicked: sum(Measure::Clicked),
        converted: sum(Measure::Converted),
        open_rate: rate(sum(Measure::Opened), delivered),
        click_rate: rate(sum(Measure::Clicked), delivered),
        conversion_rate: rate(sum(Measure::Converted), delivered),
        replied: sum(Measure::Replied),
        undelivered: sum(Measure::Undelivered),
        complained: sum(Measure::Complained),
        unsubscribed: sum(Measure::Unsubscribed),
    }
}

/// Hours in which nothing happened are left out.
fn by_hour(numbers: &Numbers) -> BTreeMap<Timestamp, TimelineEntry> {
    let mut hours: BTreeMap<Timestamp, TimelineEntry> = BTreeMap::new();
    for (&at, &sent) in &numbers.sent {
        hours.entry(at).or_default().sent += sent;
    }
    for row in &numbers.hours {
        let counted = |entry: &mut TimelineEntry| match row.measure {
            Measure::Delivered => entry.delivered += row.recipients,
            Measure::Opened => entry.opened += row.recipients,
            Measure::Clicked => entry.clicked += row.recipients,
            Measure::Converted => entry.converted += row.recipients,
            Measure::Replied | Measure::Undelivered | Measure::Complained | Measure::Unsubscribed => {}
        };
        counted(hours.entry(row.hour).or_default());
    }
    for (at, entry) in &mut hours {
        entry.at = *at;
    }
    hours
}

fn by_day(hours: BTreeMap<Timestamp, TimelineEntry>, zone: &TimeZone) -> Vec<TimelineEntry> {
    let mut days: BTreeMap<Timestamp, TimelineEntry> = BTreeMap::new();
    for (at, hour) in hours {
        let day = at.to_zoned(zone.clone()).start_of_day().map_or(at, |day| day.timestamp());
        let entry = days.entry(day).or_default();
        entry.at = day;
        entry.sent += hour.sent;
        entry.delivered += hour.delivered;
        entry.opened += hour.opened;
        entry.clicked += hour.clicked;
        entry.converted += hour.converted;
    }
    days.into_values().collect()
}

fn contents(numbers: &Numbers) -> Vec<ContentEntry> {
    let entry = |(at, variant): (i16, &VariantRow)| {
        let sum = |measure| numbers.sum_of(at, measure);
        let delivered = sum(Measure::Delivered);
        ContentEntry {
            template_version_id: variant.version,
            template: variant.slug.clone(),
            locale: variant.locale.clone(),
            version: variant.number,
            delivered,
            opened: sum(Measure::Opened),
            clicked: sum(Measure::Clicked),
            converted: sum(Measure::Converted),
            open_rate: rate(sum(Measure::Opened), delivered),
            click_rate: rate(sum(Measure::Clicked), delivered),
            conversion_rate: rate(sum(Measure::Converted), delivered),
        }
    };
    let mut contents: Vec<ContentEntry> = (0_i16..).zip(&numbers.variants).map(entry).collect();
    #[expect(clippy::cast_possible_truncation, reason = "tenths of a per cent")]
    let tenths = |rate: f64| (rate * 10.0).round() as i64;
    contents.sort_by_key(|content| {
        let rates = [content.conversion_rate, content.click_rate, content.open_rate].map(tenths);
        Reverse((rates, content.delivered))
    });
    contents
}

#[cfg(test)]
mod tests {
    use fanfare_engine::store::analytics::HourRow;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    fn sample() -> Numbers {
        let row =
            |hour, measure, variant, recipients| HourRow { hour: at(hour), measure, variant, recipients };
        let variant = |locale: &str| VariantRow {
            version: TemplateVersionId::from_uuid(uuid::Uuid::nil()),
            slug: "renewal".to_owned(),
            locale: locale.to_owned(),
            number: 1,
        };
        Numbers {
            sent: BTreeMap::from([(at("2024-05-15T14:00:00Z"), 142)]),
            hours: vec![
                row("2024-05-15T14:00:00Z", Measure::Delivered, 0, 100),
                row("2024-05-15T20:00:00Z", Measure::Delivered, 1, 38),
                row("2024-05-15T14:00:00Z", Measure::Opened, 0, 60),
                row("2024-05-15T20:00:00Z", Measure::Opened, 1, 29),
                row("2024-05-15T20:00:00Z", Measure::Clicked, 1, 34),
                row("2024-05-15T21:00:00Z", Measure::Converted, 1, 12),
            ],
            variants: vec![variant("en"), variant("fr")],
            time_zone: "Indian/Mauritius".to_owned(),
        }
    }

    #[test]
    fn the_sample_has_these_rates() {
        let metrics = serde_json::to_value(metrics(&sample())).expect("JSON");
        for (name, expected) in [
            ("sent", 142.0),
            ("delivered", 138.0),
            ("opened", 89.0),
            ("clicked", 34.0),
            ("converted", 12.0),
            ("openRate", 64.5),
            ("clickRate", 24.6),
            ("conversionRate", 8.7),
        ] {
            let got = metrics[name].as_f64().expect(name);
            assert!((got - expected).abs() < 1e-9, "{name}: {got}");
        }
    }

    #[test]
    fn a_day_is_the_tenants() {
        let hours = by_hour(&sample());
        assert_eq!(hours.len(), 3);
        let days = by_day(hours, &TimeZone::fixed(jiff::tz::offset(4)));
        let told: Vec<_> = days.iter().map(|day| (day.at, day.delivered, day.converted)).collect();
        assert_eq!(told, [(at("2024-05-14T20:00:00Z"), 100, 0), (at("2024-05-15T20:00:00Z"), 38, 12)]);
    }

    #[test]
    fn the_best_content_comes_first() {
        let contents = contents(&sample());
        assert_eq!(contents[0].locale, "fr");
        assert_eq!((contents[1].delivered, contents[1].clicked), (100, 0));
    }
}
