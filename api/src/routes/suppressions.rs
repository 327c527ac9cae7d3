//! The list of addresses that must not be written to. Adding to it is a stop: it is answered when nothing whose intent was
//! not committed before will leave. Whoever takes an address off says why.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use fanfare_engine::{
    contacts::person::{self, Fault, Faults},
    domain::{
        address::{self, EmailAddress, PhoneNumber, Region, masked},
        channel::Channel,
        event::Scope,
        outcome::Reason,
        permission::needs,
    },
    id::SuppressionId,
    store::{
        listing::{Order, Way},
        suppressions::{self, By, Filter, Listed, Place, Suppression},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Work,
    contacts::{refused, region},
};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope, Made},
        extract::{Body, PathId, Query},
        incoming::whole,
        page::{Counted, Pagination, Wanted},
        problem::{Code, Problem},
        sort::Sortable,
    },
    service::Service,
};

/// Why an address may be put on the list by hand; the engine knows more.
const REASONS: &[Reason] = &[
    Reason::Unsubscribed,
    Reason::Complained,
    Reason::Bounced,
    Reason::InvalidAddress,
    Reason::BlockedByProvider,
];
const LARGEST_FILE: usize = 64 << 20;
const READING: Duration = Duration::from_secs(60);
/// Rows that go to the database together.
const BATCH: usize = 5_000;
/// Problems that an answer tells of.
const TOLD: usize = 1_000;
const LONGEST_WHY: usize = 500;

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(show, remove)).routes(routes!(import))
}

#[derive(Debug, Serialize, ToSchema)]
struct SuppressionView {
    #[schema(value_type = String, example = "supp_01jd3v9x2gfk8s5m7q4w6r0t1z")]
    id: SuppressionId,
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    address: String,
    /// `all`, or `marketing`: bills and receipts still arrive.
    #[schema(value_type = String, example = "marketing")]
    scope: Scope,
    reason: String,
    /// `webhook`, `send`, `command`, `api`, `import`, or the recipient: `one_click`, `unsubscribe_page`, `preference_page`.
    source: String,
    /// When it was last said.
    #[schema(value_type = String, format = DateTime)]
    since: jiff::Timestamp,
}

impl From<Listed> for SuppressionView {
    fn from(listed: Listed) -> Self {
        Self {
            id: listed.id,
            channel: listed.channel,
            address: listed.address,
            scope: listed.scope,
            reason: listed.reason,
            source: listed.source,
            since: listed.since,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct Suppressions {
    suppressions: Vec<SuppressionView>,
    pagination: Pagination,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wish {
    /// `email`, `sms` or `whatsapp`.
    #[param(value_type = Option<String>)]
    channel: Option<Channel>,
    /// `all` or `marketing`.
    #[param(value_type = Option<String>)]
    scope: Option<Scope>,
    /// `unsubscribed`, `bounced`, `complained` …
    #[param(value_type = Option<String>)]
    reason: Option<Reason>,
    /// The whole e-mail address or phone number.
    address: Option<String>,
}

impl Sortable for By {
    const FIELDS: &'static [(&'static str, Self)] = &[("address", Self::Address), ("since", Self::Since)];
    const USUAL: Order<Self> = (Self::Address, Way::Up);
}

/// The addresses that must not be written to, by channel and address if no `sort` is said. By
/// `since`, all that the filters leave is read.
#[utoipa::path(get, path = "/api/suppressions", tag = "suppressions", security(("bearer" = ["suppressions:read"])), params(Wanted<By>, Wish),
    responses((status = 200, description = "The list", body = Envelope<Suppressions>)))]
async fn list(
    State(service): State<Service>,
    may: May<needs::SuppressionsRead>,
    Query(wanted): Query<Wanted<By>>,
    Query(Wish { channel, scope, reason, address }): Query<Wish>,
) -> Result<Data<Suppressions>, Problem> {
    let tenant = may.caller.tenant;
    // Whoever names an address knows it.
    if address.is_none() {
        may.caller.may_list_everybody()?;
    }
    let window = wanted.window::<Counted<Place>>()?;
    let address = match address {
        Some(text) => {
            // Any channel of a number will do: it has one form on all of them.
            let channel = channel.or_else(|| (!text.contains('@')).then_some(Channel::Sms));
            Some(address_of(&text, channel, &region(&may.caller.home)?).map_err(refused)?.1)
        }
        None => None,
    };
    let filter = Filter { channel, scope, reason, address: address.as_deref() };
    let mut work = Work::read(&service, &may.caller).await?;
    let total = match window.counted() {
        Some(total) => total,
        None => suppressions::count(&mut work.tx, tenant, filter).await?,
    };
    let rows = suppressions::list(&mut work.tx, tenant, filter, wanted.sort.0, &window.places()).await?;
    let (rows, next) = window.cut(rows, |last: &Listed| Counted { place: last.place(), total });
    work.seen("suppression.list", "suppressions", json!({"suppressions": rows.len()})).await?;
    let suppressions = rows.into_iter().map(SuppressionView::from).collect();
    Ok(Data(Suppressions { suppressions, pagination: window.pagination(total, next) }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSuppression {
    /// An e-mail address, or a phone number as people write it.
    #[schema(max_length = 320)]
    address: String,
    /// `sms` or `whatsapp`; an e-mail address needs none.
    #[schema(value_type = Option<String>)]
    channel: Option<Channel>,
    /// `marketing` (if not said), or `all` for bills and receipts too.
    #[schema(value_type = Option<String>)]
    scope: Option<Scope>,
    /// `unsubscribed` (if not said), `complained`, `bounced`, `invalid_address` or `blocked_by_provider`.
    #[schema(value_type = Option<String>)]
    reason: Option<Reason>,
}

/// What a request or a row says, read.
#[derive(Debug)]
struct Stop {
    channel: Channel,
    address: String,
    scope: Scope,
    reason: Reason,
}

impl Stop {
    fn read(new: &NewSuppression, region: &Region) -> Result<Self, Vec<Fault>> {
        let (channel, address) = address_of(&new.address, new.channel, region)?;
        let reason = new.reason.unwrap_or(Reason::Unsubscribed);
        let mut faults = Faults::default();
        if !REASONS.contains(&reason) {
            let known: Vec<&str> = REASONS.iter().map(|known| known.as_str()).collect();
            faults.add("reason", format!("must be one of: {}", known.join(", ")));
        }
        faults.or(Self { channel, address, scope: new.scope.unwrap_or(Scope::Marketing), reason })
    }

    fn at(&self, source: &'static str, at: jiff::Timestamp) -> Suppression<'_> {
        Suppression {
            channel: self.channel,
            address: &self.address,
            scope: self.scope,
            reason: self.reason,
            source,
            at,
        }
    }
}

/// Writes to an address no more. Answered when nothing more will leave for it. One that is on the list keeps its reason.
#[utoipa::path(post, path = "/api/suppressions", tag = "suppressions", security(("bearer" = ["suppressions:update"])),
    request_body = NewSuppression, responses(
        (status = 201, description = "It is on the list", body = Envelope<SuppressionView>),
        (status = 200, description = "It was on the list", body = Envelope<SuppressionView>)))]
async fn add(
    State(service): State<Service>,
    may: May<needs::SuppressionsUpdate>,
    Body(new): Body<NewSuppression>,
) -> Result<Response, Problem> {
    let tenant = may.caller.tenant;
    let stop = Stop::read(&new, &region(&may.caller.home)?).map_err(refused)?;
    let now = service.store.now().await?;
    let key = (stop.channel, stop.address.as_str(), stop.scope);
    let mut work = Work::begin(&service, &may.caller).await?;
    let known = suppressions::of_address(&mut work.tx, tenant, key).await?.is_some();
    suppressions::add(&mut work.tx, tenant, &[stop.at("api", now)]).await?;
    let Some(listed) = suppressions::of_address(&mut work.tx, tenant, key).await? else {
        return Err(Problem::say(Code::Conflict, "Somebody has just taken it off the list: try again."));
    };
    let detail = json!({"channel": stop.channel, "address": masked(&stop.address), "scope": stop.scope,
        "reason": stop.reason, "known": known});
    work.note("suppression.add", &listed.id.to_string(), detail).await?;
    work.commit().await?;
    service.store.grace(tenant).await?;
    let view = SuppressionView::from(listed);
    Ok(if known { Data(view).into_response() } else { Made(view).into_response() })
}

/// One entry of the list.
#[utoipa::path(get, path = "/api/suppressions/{suppression_id}", tag = "suppressions", security(("bearer" = ["suppressions:read"])),
    params(("suppression_id" = String, Path, description = "`supp_…`")),
    responses((status = 200, description = "The entry", body = Envelope<SuppressionView>)))]
async fn show(
    State(service): State<Service>,
    may: May<needs::SuppressionsRead>,
    PathId(id): PathId<SuppressionId>,
) -> Result<Data<SuppressionView>, Problem> {
    let mut work = Work::read(&service, &may.caller).await?;
    let listed = suppressions::get(&mut work.tx, may.caller.tenant, id).await?;
    work.seen("suppression.read", &id.to_string(), json!({})).await?;
    Ok(Data(listed.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Why {
    /// Why the address may be written to again: 3 to 500 characters, kept in the audit log.
    #[param(value_type = String, required = true)]
    reason: Option<String>,
}

/// Takes an address off the list.
#[utoipa::path(delete, path = "/api/suppressions/{suppression_id}", tag = "suppressions", security(("bearer" = ["suppressions:update"])),
    params(("suppression_id" = String, Path, description = "`supp_…`"), Why),
    responses((status = 204, description = "It is off the list")))]
async fn remove(
    State(service): State<Service>,
    may: May<needs::SuppressionsUpdate>,
    PathId(id): PathId<SuppressionId>,
    Query(why): Query<Why>,
) -> Result<StatusCode, Problem> {
    let mut work = Work::begin(&service, &may.caller).await?;
    suppressions::get(&mut work.tx, may.caller.tenant, id).await?;
    let reason = why.reason.unwrap_or_default();
    if !(3..=LONGEST_WHY).contains(&reason.trim().chars().count()) || reason.contains('\0') {
        return Err(Problem::field("reason", format!("must have 3 to {LONGEST_WHY} characters, and no NUL")));
    }
    let was = suppressions::remove(&mut work.tx, may.caller.tenant, id).await?;
    let detail = json!({"channel": was.channel, "address": masked(&was.address), "scope": was.scope,
        "was": was.reason, "since": was.since, "why": reason});
    work.note("suppression.remove", &id.to_string(), detail).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Imported {
    rows_read: u64,
    rows_taken: u64,
    rows_refused: u64,
    /// Addresses that were not on the list, or are wanted even less since.
    added: u64,
    /// In the order of rows, the first 1,000.
    problems: Vec<RowProblem>,
    /// How many more there are.
    problems_left_out: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct RowProblem {
    /// Of the file; the header stands in line 1.
    line: u64,
    field: String,
    reason: String,
}

/// Puts the addresses of a CSV file on the list. Its header names the columns: `address`, and, if they are there, `channel`,
/// `scope` and `reason`, as in `POST /api/suppressions`. 64 MiB at most. A row that can't be taken is told of; all others
/// are taken together, and it is answered when nothing more will leave for them.
#[utoipa::path(post, path = "/api/suppressions/import", tag = "suppressions", security(("bearer" = ["suppressions:update"])),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "What became of the rows", body = Envelope<Imported>)))]
async fn import(
    State(service): State<Service>,
    may: May<needs::SuppressionsUpdate>,
    request: Request,
) -> Result<Data<Imported>, Problem> {
    let tenant = may.caller.tenant;
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/csv") {
        return Err(Problem::say(Code::WrongContentType, "Send it as text/csv."));
    }
    // The whole file is in memory from here on.
    let _turn = service.heavy_turn().await?;
    let bytes = tokio::time::timeout(READING, whole(request.into_body(), LARGEST_FILE))
        .await
        .map_err(|_| Problem::say(Code::Malformed, "The file did not arrive within a minute."))??;
    let region = region(&may.caller.home)?;
    // Reading a million phone numbers takes seconds of a processor.
    let read =
        tokio::task::spawn_blocking(move || rows(&bytes, &region)).await.map_err(|_| Code::Broken)??;
    let (stops, mut imported) = read;
    let now = service.store.now().await?;
    let mut work = Work::begin(&service, &may.caller).await?;
    for batch in stops.chunks(BATCH) {
        let batch: Vec<Suppression<'_>> = batch.iter().map(|stop| stop.at("import", now)).collect();
        imported.added += suppressions::add(&mut work.tx, tenant, &batch).await?;
    }
    let detail = json!({"rowsTaken": imported.rows_taken, "rowsRefused": imported.rows_refused, "added": imported.added});
    work.note("suppression.import", "suppressions", detail).await?;
    work.commit().await?;
    service.store.grace(tenant).await?;
    Ok(Data(imported))
}

/// Which column holds what.
struct Columns {
    address: usize,
    channel: Option<usize>,
    scope: Option<usize>,
    reason: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord) -> Result<Self, Problem> {
        let bare =
            |cell: &str| cell.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}').to_lowercase();
        let named = |name: &str| header.iter().position(|cell| bare(cell) == name);
        let address = named("address").ok_or_else(|| {
            Problem::field(
                "body",
                "has no column `address`: the first row names the columns, apart by commas",
            )
        })?;
        Ok(Self { address, channel: named("channel"), scope: named("scope"), reason: named("reason") })
    }

    fn read(&self, record: &csv::StringRecord, region: &Region) -> Result<Stop, Vec<Fault>> {
        let cell = |at: Option<usize>| {
            at.and_then(|at| record.get(at)).map(str::trim).filter(|text| !text.is_empty())
        };
        let mut faults = Faults::default();
        let new = NewSuppression {
            address: cell(Some(self.address)).unwrap_or_default().to_owned(),
            channel: cell(self.channel).and_then(|text| faults.take("channel", short(text).parse())),
            scope: cell(self.scope).and_then(|text| faults.take("scope", short(text).parse())),
            reason: cell(self.reason).and_then(|text| faults.take("reason", short(text).parse())),
        };
        faults.or(())?;
        Stop::read(&new, region)
    }
}

/// Enough to recognise it in a message.
fn short(text: &str) -> String {
    text.to_lowercase().chars().take(40).collect()
}

fn rows(bytes: &[u8], region: &Region) -> Result<(Vec<Stop>, Imported), Problem> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let unreadable =
        |error: &csv::Error| Problem::field("body", format!("can't be read as CSV in UTF-8: {error}"));
    let columns = Columns::of(reader.headers().map_err(|error| unreadable(&error))?)?;
    let (mut stops, mut imported, mut problems): (Vec<Stop>, _, u64) = (Vec::new(), Imported::default(), 0);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| unreadable(&error))? {
        imported.rows_read += 1;
        match columns.read(&record, region) {
            Ok(stop) => {
                imported.rows_taken += 1;
                stops.push(stop);
            }
            Err(faults) => {
                imported.rows_refused += 1;
                let line = record.position().map_or(0, csv::Position::line);
                for Fault { field, reason } in faults {
                    problems += 1;
                    if imported.problems.len() < TOLD {
                        imported.problems.push(RowProblem { line, field, reason });
                    }
                }
            }
        }
    }
    // Whoever adds several waits for others in the order of the key.
    stops.sort_by(|one, other| {
        (one.channel, &one.address, one.scope).cmp(&(other.channel, &other.address, other.scope))
    });
    imported.problems_left_out = problems - u64::try_from(imported.problems.len()).unwrap_or(problems);
    Ok((stops, imported))
}

/// An address in its normal form, and the channel that it is meant for.
fn address_of(
    text: &str,
    channel: Option<Channel>,
    region: &Region,
) -> Result<(Channel, String), Vec<Fault>> {
    let fault = |field: &str, reason: String| vec![Fault { field: field.to_owned(), reason }];
    let channel = match channel {
        _ if text.trim().is_empty() => return Err(fault("address", "is missing".to_owned())),
        Some(channel) => channel,
        None if text.contains('@') => Channel::Email,
        None => {
            return Err(fault(
                "channel",
                "is missing: say whether a phone number is for sms or whatsapp".to_owned(),
            ));
        }
    };
    let normal = match channel {
        Channel::Email => person::email(text).map(EmailAddress::into_string),
        Channel::Sms | Channel::Whatsapp => person::phone(text, region).map(PhoneNumber::into_string),
        Channel::InApp => address::normalised(channel, text).map_err(|error| error.to_string()),
    };
    normal.map(|address| (channel, address)).map_err(|reason| fault("address", reason))
}
