//! Reports over all that a tenant sent: what each provider account did, how quickly, and for how much.

use axum::extract::State;
use fanfare_engine::{
    domain::{
        answers,
        channel::{Channel, Provider},
        measure::rate,
        permission::needs,
        price::{self, Bill, Price},
    },
    id::AccountId,
    store::{
        account_hours::{self, AccountSums, Hour, HourOf},
        listing::{Order, Way},
        prices,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Work, cost::Cost};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::Query,
        page::{Pagination, Wanted},
        problem::Problem,
        sort::Sortable,
    },
    service::Service,
};

const USUAL: SignedDuration = SignedDuration::from_hours(30 * 24);
const LONGEST: SignedDuration = SignedDuration::from_hours(100 * 24);
const HOUR: i64 = 3_600;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(providers))
}

/// What accounts are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    /// And within one by slug.
    Provider,
    Slug,
    Total,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] =
        &[("provider", Self::Provider), ("slug", Self::Slug), ("total", Self::Total)];
    const USUAL: Order<Self> = (Self::Provider, Way::Up);
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// RFC 3339; its whole hour counts. 30 days before `to` if not said.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// RFC 3339; up to its hour, or through it where it is within one. Now if not said. At most 100 days after `from`.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
}

impl Asked {
    /// The period, in whole hours.
    fn read(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
        let far = |field| Problem::field(field, "is beyond any time that is kept");
        let to = self.to.unwrap_or(now);
        let from = match self.from {
            Some(from) => from,
            None => to.checked_sub(USUAL).map_err(|_| far("to"))?,
        };
        // There were no computers to count anything.
        for (field, moment) in [("from", self.from), ("to", self.to)] {
            if moment.is_some_and(|moment| moment < Timestamp::UNIX_EPOCH) {
                return Err(far(field));
            }
        }
        if to.duration_since(from) > LONGEST {
            return Err(Problem::field("from", "is more than 100 days before `to`"));
        }
        if from >= to {
            return Err(Problem::field("from", "is not before `to`"));
        }
        let whole = |second: i64, field| Timestamp::from_second(second).map_err(|_| far(field));
        let last = to.as_second() + i64::from(to.subsec_nanosecond() > 0);
        let begin = whole(from.as_second().div_euclid(HOUR) * HOUR, "from")?;
        Ok((
            begin,
            whole(last.div_euclid(HOUR) * HOUR + if last.rem_euclid(HOUR) > 0 { HOUR } else { 0 }, "to")?,
        ))
    }
}

/// What one account did. Messages count once the chunk in which they were sent is done, by that moment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccountReport {
    #[schema(value_type = String)]
    account_id: AccountId,
    slug: String,
    /// `brevo_email`, `brevo_sms`, `whatsapp_cloud` or `in_app`.
    #[schema(value_type = String)]
    provider: Provider,
    #[schema(value_type = String)]
    channel: Channel,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    /// `sent`, `failed` and `unknown` together.
    total: i64,
    /// Accepted by the provider.
    sent: i64,
    /// Refused for good.
    failed: i64,
    /// They may have been sent, and nobody can tell.
    unknown: i64,
    /// Attempts that another one followed; their messages are counted where they ended.
    retried: i64,
    /// `sent` of `total`, in per cent with one decimal.
    success_rate: f64,
    /// What was accepted, at the prices of its hour: an amount for each currency.
    costs: Vec<Cost>,
    /// There where prices differ within a country: `costs` has the price of the country.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    costs_estimated: bool,
    /// Messages, or segments of SMS, for which no price is known.
    unpriced: i64,
    latency: Latency,
}

/// From the request to the provider's answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Latency {
    /// Answers that were timed: of a request for many messages, one for each of them.
    answers: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    average_ms: Option<f64>,
    /// Within it 95 of 100 answers came; 10,000 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    p95_ms: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ProvidersReport {
    /// The period in whole hours.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    accounts: Vec<AccountReport>,
    pagination: Pagination,
}

/// What each account did in a period. Latency and costs are told by the processes every few seconds.
#[utoipa::path(get, path = "/api/reports/providers", tag = "reports", security(("bearer" = ["reports:read"])), params(Wanted<By>, Asked),
    responses((status = 200, description = "The accounts of the tenant", body = Envelope<ProvidersReport>)))]
async fn providers(
    State(service): State<Service>,
    may: May<needs::ReportsRead>,
    Query(wanted): Query<Wanted<By>>,
    Query(asked): Query<Asked>,
) -> Result<Data<ProvidersReport>, Problem> {
    let (from, to) = asked.read(service.clock.now())?;
    let window = wanted.window::<(String, i64, String, AccountId)>()?;
    let (by, way) = wanted.sort.0;
    let tenant = may.caller.tenant;
    let mut work = Work::read(&service, &may.caller).await?;
    let sums = account_hours::sums(&mut work.tx, tenant, (from, to)).await?;
    let hours = account_hours::hours(&mut work.tx, tenant, (from, to)).await?;
    let prices = prices::until(&mut work.tx, tenant, to).await?;
    let reports = sums.into_iter().map(|sums| report(sums, &hours, &prices)).collect();
    let (accounts, pagination) = window.of_all(reports, way, |account: &AccountReport| {
        let (slug, id) = (account.slug.clone(), account.account_id);
        match by {
            By::Provider => (account.provider.as_str().to_owned(), 0, slug, id),
            By::Slug => (String::new(), 0, slug, id),
            By::Total => (String::new(), account.total, slug, id),
        }
    });
    work.end();
    Ok(Data(ProvidersReport { from, to, accounts, pagination }))
}

fn report(sums: AccountSums, hours: &[(HourOf, Hour)], prices: &[(AccountId, Price)]) -> AccountReport {
    let hours: Vec<&(HourOf, Hour)> = hours.iter().filter(|(of, _)| of.account == sums.id).collect();
    let prices: Vec<Price> =
        prices.iter().filter(|(account, _)| *account == sums.id).map(|(_, price)| price.clone()).collect();
    let mut all = Hour::default();
    hours.iter().for_each(|(_, hour)| all.add(hour));
    let Costs { bill, estimated } = costs(&hours, &prices);
    let total = sums.accepted + sums.failed + sums.unknown;
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    AccountReport {
        account_id: sums.id,
        slug: sums.slug,
        channel: sums.provider.channel(),
        provider: sums.provider,
        deleted: sums.deleted,
        total,
        sent: sums.accepted,
        failed: sums.failed,
        unknown: sums.unknown,
        retried: sums.retried,
        success_rate: rate(sums.accepted, total),
        unpriced: bill.unpriced,
        costs: Cost::each(bill),
        costs_estimated: estimated,
        latency: Latency {
            answers: all.requests,
            #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
            average_ms: (all.requests > 0)
                .then(|| tenths(all.answer_us as f64 / all.requests as f64 / 1_000.0)),
            p95_ms: answers::quantile(&all.answers, 0.95).map(tenths),
        },
    }
}

#[derive(Debug, Default, PartialEq)]
struct Costs {
    bill: Bill,
    estimated: bool,
}

/// A price that was set within an hour holds for all of it.
fn costs(hours: &[&(HourOf, Hour)], prices: &[Price]) -> Costs {
    let mut found = Costs::default();
    for (of, hour) in hours.iter().filter(|(_, hour)| hour.units > 0) {
        let code = if of.code == 0 { String::new() } else { of.code.to_string() };
        let at = Timestamp::from_second(of.hour + HOUR - 1).unwrap_or(Timestamp::MAX);
        // Who was written to within the country, nobody has counted.
        found.estimated |= of.code != 0
            && prices.iter().any(|price| price.prefix.len() > code.len() && price.prefix.starts_with(&code));
        found.bill.add(price::price(prices, &code, at), hour.units);
    }
    found
}

#[cfg(test)]
mod tests {
    use fanfare_engine::domain::price::Micros;

    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_period_is_of_whole_hours() {
        let now = moment("2026-05-15T10:30:00Z");
        let read = |from: Option<&str>, to: Option<&str>| {
            let (from, to) = (from.map(moment), to.map(moment));
            Asked { from, to }.read(now)
        };
        assert_eq!(
            read(None, None).unwrap(),
            (moment("2026-04-15T10:00:00Z"), moment("2026-05-15T11:00:00Z"))
        );
        let day = (moment("2026-05-14T00:00:00Z"), moment("2026-05-15T00:00:00Z"));
        assert_eq!(read(Some("2026-05-14T00:00:00Z"), Some("2026-05-15T00:00:00Z")).unwrap(), day);
        assert_eq!(read(Some("2026-05-14T00:59:59.9Z"), Some("2026-05-14T23:00:00.1Z")).unwrap(), day);
        for (from, to) in [
            (Some("2026-05-15T10:30:00Z"), None),
            (Some("2026-05-16T00:00:00Z"), None),
            (Some("2025-01-01T00:00:00Z"), None),
            (None, Some("-009999-01-02T01:59:59Z")),
            (Some("-009999-01-02T01:59:59Z"), Some("9999-12-30T22:00:00Z")),
        ] {
            assert!(read(from, to).is_err(), "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_was_accepted_costs_what_its_hour_says() {
        let price = |prefix: &str, from: i64, micros: i64, currency: &str| Price {
            prefix: prefix.to_owned(),
            valid_from: Timestamp::from_second(from).expect("in range"),
            micros: Micros(micros),
            currency: currency.to_owned(),
        };
        let hour = |hour: i64, code: i16, units: i64| {
            let account = AccountId::from_uuid(uuid::Uuid::nil());
            (HourOf { account, hour, code }, Hour { units, ..Hour::default() })
        };
        let hours = [hour(0, 91, 2), hour(7_200, 91, 3), hour(7_200, 230, 5), hour(7_200, 0, 7)];
        let all: Vec<&(HourOf, Hour)> = hours.iter().collect();
        let prices = [price("91", 0, 10, "INR"), price("91", 9_000, 20, "INR"), price("230", 0, 4, "MUR")];
        let bill = |amounts: &[(&str, i64)], unpriced| Bill {
            micros: amounts.iter().map(|&(currency, micros)| (currency.to_owned(), micros)).collect(),
            unpriced,
        };
        let expected = Costs { bill: bill(&[("INR", 80), ("MUR", 20)], 7), estimated: false };
        assert_eq!(costs(&all, &prices), expected);
        let finer = [price("", 0, 1, "EUR"), price("9198", 0, 9, "EUR")];
        assert_eq!(costs(&all, &finer), Costs { bill: bill(&[("EUR", 17)], 0), estimated: true });
    }
}
