//! What an account charges.

use std::collections::BTreeSet;

use axum::extract::State;
use fanfare_engine::{
    domain::{
        permission::needs,
        price::{Micros, Price},
    },
    id::AccountId,
    store::{
        kept,
        listing::{Order, Way},
        prices::{self as store, NewPrice},
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        etag::{IfMatch, Tag, Tagged},
        extract::{Body, PathId, Query},
        page::{Pagination, Wanted},
        problem::{FieldError, Problem},
        sort::Sortable,
    },
    routes::Work,
    service::Service,
};

/// Of one request: more than there are countries and their operators.
const MOST: usize = 2_000;

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PriceView {
    prefix: String,
    micros: i64,
    currency: String,
    #[schema(value_type = String, format = DateTime)]
    valid_from: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PricesView {
    prices: Vec<PriceView>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PriceList {
    prices: Vec<PriceView>,
    pagination: Pagination,
}

/// What prices are sorted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ByPrefix;

impl Sortable for ByPrefix {
    const FIELDS: &'static [(&'static str, Self)] = &[("prefix", Self)];
    const USUAL: Order<Self> = (Self, Way::Up);
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Prices {
    /// At most 2,000.
    prices: Vec<PriceInput>,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PriceInput {
    /// Digits that numbers begin with, without the plus sign; the longest holds, and none is everything.
    #[serde(default)]
    #[schema(pattern = "^[0-9]{0,15}$")]
    prefix: String,
    /// Of a message, or of each segment of an SMS: millionths of the currency's unit.
    #[schema(minimum = 0)]
    micros: i64,
    /// ISO 4217.
    #[schema(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: String,
}

impl Prices {
    fn check(self) -> Result<Vec<NewPrice>, Problem> {
        if self.prices.len() > MOST {
            return Err(Problem::field("prices", format!("has more than {MOST}")));
        }
        let (mut errors, mut seen) = (Vec::new(), BTreeSet::new());
        for (at, price) in self.prices.iter().enumerate() {
            let mut wrong = |what: &str, message: &str| {
                errors
                    .push(FieldError { field: format!("prices[{at}].{what}"), message: message.to_owned() });
            };
            if price.prefix.len() > 15 || !price.prefix.bytes().all(|byte| byte.is_ascii_digit()) {
                wrong("prefix", "must have at most 15 digits and nothing else");
            }
            if !seen.insert(price.prefix.as_str()) {
                wrong("prefix", "is there twice");
            }
            if price.micros < 0 {
                wrong("micros", "must not be below 0");
            }
            if price.currency.len() != 3 || !price.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
                wrong("currency", "must be an ISO 4217 currency such as EUR");
            }
        }
        if !errors.is_empty() {
            return Err(Problem::fields(errors));
        }
        let price =
            |PriceInput { prefix, micros, currency }| NewPrice { prefix, micros: Micros(micros), currency };
        Ok(self.prices.into_iter().map(price).collect())
    }
}

impl From<Vec<Price>> for PricesView {
    fn from(prices: Vec<Price>) -> Self {
        let view = |price| {
            let Price { prefix, valid_from, micros, currency } = price;
            PriceView { prefix, micros: micros.0, currency, valid_from }
        };
        Self { prices: prices.into_iter().map(view).collect() }
    }
}

/// The prices that hold now.
#[utoipa::path(get, path = "/api/accounts/{account_id}/prices", tag = "accounts",
    security(("bearer" = ["accounts:read"])),
    params(("account_id" = String, Path, description = "`acct_…`"), Wanted<ByPrefix>),
    responses((status = 200, description = "The prices", body = Envelope<PriceList>)))]
pub(super) async fn list(
    State(service): State<Service>,
    may: May<needs::AccountsRead>,
    PathId(id): PathId<AccountId>,
    Query(wanted): Query<Wanted<ByPrefix>>,
) -> Result<Tagged<Data<PriceList>>, Problem> {
    let window = wanted.window::<String>()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let account = kept::get(&mut work.tx, may.caller.tenant, id).await?;
    let prices = store::current(&mut work.tx, may.caller.tenant, id, account.provider.channel()).await?;
    // Whatever part of them is read: they are edited as a whole.
    let tag = Tag::of(&PricesView::from(prices.clone()));
    let (prices, pagination) = window.of_all(prices, wanted.sort.way(), |price: &Price| price.prefix.clone());
    let PricesView { prices } = prices.into();
    work.end();
    Ok(Tagged::new(tag, Data(PriceList { prices, pagination })))
}

/// Says what holds from now on. Prices of prefixes that are not named stay; what was sent before keeps its price.
#[utoipa::path(put, path = "/api/accounts/{account_id}/prices", tag = "accounts",
    security(("bearer" = ["accounts:update"])),
    params(("account_id" = String, Path, description = "`acct_…`"), ("If-Match" = Option<String>, Header, description = "The ETag that was read")),
    request_body = Prices, responses((status = 200, description = "The prices that hold now", body = Envelope<PricesView>)))]
pub(super) async fn set(
    State(service): State<Service>,
    may: May<needs::AccountsUpdate>,
    PathId(id): PathId<AccountId>,
    demand: IfMatch,
    Body(prices): Body<Prices>,
) -> Result<Tagged<Data<PricesView>>, Problem> {
    let caller = &may.caller;
    let mut work = Work::begin(&service, caller).await?;
    // Under its lock: of two price lists at once, one is the later.
    let account = kept::lock(&mut work.tx, caller.tenant, id).await?;
    let channel = account.provider.channel();
    let before = store::current(&mut work.tx, caller.tenant, id, channel).await?;
    demand.check(Tag::of(&PricesView::from(before)))?;
    let prices = prices.check()?;
    store::set(&mut work.tx, caller.tenant, id, channel, &prices).await?;
    let now = store::current(&mut work.tx, caller.tenant, id, channel).await?;
    let detail: Vec<_> =
        prices.iter().map(|price| json!([price.prefix, price.micros.0, price.currency])).collect();
    work.note("account.prices", &id.to_string(), json!({"slug": account.slug, "prices": detail})).await?;
    work.commit().await?;
    Ok(Tagged::whole(now.into()))
}
