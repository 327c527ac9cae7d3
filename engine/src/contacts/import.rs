//! The import of one file: looks at it, parses it on a blocking thread, stages and merges it in one transaction.

use std::path::PathBuf;

use iso_currency::Currency;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    error::ImportError,
    header::Override,
    inspect::{Inspected, inspect},
    options::ReadingOptions,
    parse::{self, Job, Summary},
    refused,
    report::ImportReport,
    stage::Batch,
    values::date::Order,
};
use crate::{
    clock::Clock,
    domain::address::Region,
    id::{Ids, TenantId, UploadId},
    store::{
        Store, StoreError,
        audit::Deed,
        straight::{Home, Route},
        uploads::{Merged, Staging, TenantDefaults, UploadFacts},
    },
};

/// Batches that may wait for the database: what bounds the memory of an import, with the size of one.
const BATCHES_IN_FLIGHT: usize = 2;

/// A file to import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    pub tenant: TenantId,
    pub path: PathBuf,
    /// As the person who uploaded it calls it.
    pub file_name: String,
    pub options: ImportOptions,
    /// Noted in the audit log with the import itself.
    pub author: Option<Author>,
}

/// Who imports.
#[derive(Debug, Clone)]
pub struct Author {
    /// As the audit log names them.
    pub actor: String,
    pub action: &'static str,
    /// Of a request of the API.
    pub request_id: Option<String>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shape {
    /// A header and rows, as a back office exports them: CSV, TSV or XLSX.
    #[default]
    Table,
    /// A JSON object a line, as a program writes them.
    Lines,
}

#[derive(Debug, Clone)]
pub struct ImportOptions {
    pub shape: Shape,
    /// Takes a file that was taken before.
    pub force: bool,
    /// `Header=field[:type[:currency]]`, or `#2=field` for the second column. Fields: `email`, `phone`, `name`,
    /// `first_name`, `last_name`, `language`, `time_zone`, `reference`, `currency`, `ignore`; any other name is an
    /// attribute. Types: `text`, `date`, `amount`.
    pub mapping: Vec<String>,
    /// Whether 03/04/2027 is the 3rd of April.
    pub day_first: bool,
    /// The sheet of a workbook; the first one if not said.
    pub sheet: Option<String>,
    /// Where the list of refused rows and left-out values is written, as CSV.
    pub refused_to: Option<PathBuf>,
    pub limits: Limits,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            shape: Shape::Table,
            force: false,
            mapping: Vec::new(),
            day_first: true,
            sheet: None,
            refused_to: None,
            limits: Limits::default(),
        }
    }
}

/// What bounds the work and memory that a file can cause.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of the file.
    pub max_bytes: u64,
    /// Of all that a workbook inflates to.
    pub max_inflated_bytes: u64,
    /// Of what a row may hold, in bytes.
    pub max_row_bytes: usize,
    pub max_columns: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, max_inflated_bytes: 2 << 30, max_row_bytes: 1 << 20, max_columns: 512 }
    }
}

/// An upload whose row is there already, and the claim under which it is taken.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) upload: UploadId,
    pub(super) number: i32,
    pub(super) options: ReadingOptions,
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Rows were read and staged; `bytes` of `of` (0 where the place in the file is unknown).
    Reading { rows: u64, bytes: u64, of: u64 },
    /// All rows are staged and become contacts.
    Merging { rows: u64 },
}

/// What [`read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowCounts {
    pub read: u64,
    pub refused: u64,
}

/// Takes a file in whole, or not at all.
pub async fn import(
    store: &Store,
    ids: &Ids,
    clock: &dyn Clock,
    request: ImportRequest,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<ImportReport, ImportError> {
    import_claimed(store, ids, clock, request, None, progress).await
}

/// The same, into an upload that exists.
pub(super) async fn import_claimed(
    store: &Store,
    ids: &Ids,
    clock: &dyn Clock,
    request: ImportRequest,
    claimed: Option<&Claimed>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<ImportReport, ImportError> {
    let usual =
        store.tenant_defaults(request.tenant).await?.ok_or(ImportError::UnknownTenant(request.tenant))?;
    let defaults = match claimed {
        Some(claimed) => claimed.options.over(usual),
        None => usual,
    };
    let (path, limit) = (request.path.clone(), request.options.limits.max_bytes);
    let inspected = blocking(move || inspect(&path, limit)).await?;
    refuse_known(store.upload_by_hash(request.tenant, &inspected.sha256).await?, request.options.force)?;

    let file = File { request, inspected, defaults, claimed: claimed.cloned() };
    let now = clock.now();
    match take(store, ids, now, &file, None, progress).await {
        // Not this time: every row goes the way that can meet somebody.
        Err(ImportError::Store(StoreError::Raced)) => {
            take(store, ids, now, &file, Some(Route::Staged), progress).await
        }
        done => done,
    }
}

/// A file that was looked at, and what is known beside it.
struct File {
    request: ImportRequest,
    inspected: Inspected,
    defaults: TenantDefaults,
    claimed: Option<Claimed>,
}

/// Takes the file by the given route, or by the shortest.
async fn take(
    store: &Store,
    ids: &Ids,
    now: jiff::Timestamp,
    file: &File,
    route: Option<Route>,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<ImportReport, ImportError> {
    let File { request, inspected, defaults, claimed } = file;
    let upload = claimed.as_ref().map_or_else(|| ids.next(now), |claimed| claimed.upload);
    let home = Home { upload, tenant: request.tenant, time_zone: &defaults.time_zone };
    // The parser's thread outlives the borrow of `ids`: it gets a generator of its own.
    let ids = Ids::from_seed(ids.random_uuid().as_u64_pair().0);
    let (mut batches, parser) = start(job(request, *inspected, defaults, ids, now)?);
    // The first rows before the transaction: nothing is locked while a workbook is unpacked, and who hears that a header is
    // wrong need not wait for another import.
    let mut next = batches.recv().await;
    let mut staging = Staging::begin(store).await?;
    if next.is_some() {
        refuse_known(staging.lock_tenant(request.tenant, &inspected.sha256).await?, request.options.force)?;
    }
    let route = match route {
        Some(route) => route,
        None => staging.route(request.tenant).await?,
    };
    while let Some(batch) = next {
        staging.take(&home, route, &batch.rows, &batch.problems).await?;
        progress(Progress::Reading { rows: batch.rows_read, bytes: batch.bytes_read, of: inspected.bytes });
        next = batches.recv().await;
    }
    // On an error the connection is dropped, and with it everything written.
    let summary = ended(parser).await?;
    progress(Progress::Merging { rows: summary.rows_read });
    let facts = UploadFacts {
        claim: claimed.as_ref().map(|claimed| claimed.number),
        ..facts(request, home, inspected, &summary)
    };
    let merged = staging.merge(&facts).await?;
    if let Some(path) = &request.options.refused_to {
        // Before the commit: a list that can't be written is a reason not to take the file.
        let mut file = tokio::fs::File::create(path).await?;
        refused::write_staged(&mut staging, upload, &mut file).await?;
    }
    if let Some(author) = &request.author {
        let detail = serde_json::json!({"rowsTaken": merged.rows_taken, "rowsRefused": merged.rows_refused,
            "contactsCreated": merged.contacts_created, "contactsUpdated": merged.contacts_updated});
        let deed = Deed {
            at: now,
            tenant: request.tenant,
            actor: author.actor.clone(),
            action: author.action,
            subject: upload.to_string(),
            detail,
            request_id: author.request_id.clone(),
        };
        staging.note(&deed).await?;
    }
    staging.commit().await?;
    Ok(report(request, upload, inspected, summary, merged))
}

/// Reads a file as [`import`] does, and stores nothing: how many rows it holds, and how many of them would be refused for
/// what stands in them. Blocks.
pub fn read(
    request: &ImportRequest,
    defaults: &TenantDefaults,
    ids: Ids,
    now: jiff::Timestamp,
) -> Result<RowCounts, ImportError> {
    let inspected = inspect(&request.path, request.options.limits.max_bytes)?;
    let summary = parse::run(&job(request, inspected, defaults, ids, now)?, &mut |_| true)?;
    Ok(RowCounts { read: summary.rows_read, refused: summary.rows_refused })
}

fn refuse_known(known: Option<(UploadId, jiff::Timestamp)>, force: bool) -> Result<(), ImportError> {
    match known {
        Some((upload, at)) if !force => Err(ImportError::AlreadyImported { upload, at }),
        _ => Ok(()),
    }
}

pub(super) fn job(
    request: &ImportRequest,
    inspected: Inspected,
    defaults: &TenantDefaults,
    ids: Ids,
    now: jiff::Timestamp,
) -> Result<Job, ImportError> {
    let setting = |setting, value: &str| ImportError::TenantSetting { setting, value: value.to_owned() };
    let overrides: Result<Vec<_>, _> =
        request.options.mapping.iter().map(|given| Override::parse(given)).collect();
    Ok(Job {
        path: request.path.clone(),
        inspected,
        shape: request.options.shape,
        overrides: overrides?,
        sheet: request.options.sheet.clone(),
        order: if request.options.day_first { Order::DayFirst } else { Order::MonthFirst },
        region: Region::parse(&defaults.region).map_err(|_| setting("region", &defaults.region))?,
        currency: Currency::from_code(&defaults.currency)
            .ok_or_else(|| setting("currency", &defaults.currency))?,
        limits: request.options.limits,
        ids,
        now,
    })
}

type Parser = JoinHandle<Result<Summary, ImportError>>;

/// Starts the parser. Whoever drops the receiver ends it.
fn start(job: Job) -> (mpsc::Receiver<Batch>, Parser) {
    let (sender, batches) = mpsc::channel(BATCHES_IN_FLIGHT);
    let parser = tokio::task::spawn_blocking(move || {
        parse::run(&job, &mut |batch| sender.blocking_send(batch).is_ok())
    });
    (batches, parser)
}

async fn ended(parser: Parser) -> Result<Summary, ImportError> {
    parser.await.map_err(|panic| ImportError::Broken(panic.to_string()))?
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| ImportError::Broken(panic.to_string()))?
}

fn facts<'a>(
    request: &'a ImportRequest,
    home: Home<'a>,
    inspected: &'a Inspected,
    summary: &'a Summary,
) -> UploadFacts<'a> {
    UploadFacts {
        home,
        claim: None,
        file_name: &request.file_name,
        sha256: &inspected.sha256,
        bytes: inspected.bytes,
        format: summary.info.format,
        mapping: serde_json::to_value(&summary.columns).unwrap_or_default(),
        rows_read: summary.rows_read,
        rows_refused: summary.rows_refused,
        facts: &summary.facts,
        reference: summary.reference.as_deref().unwrap_or("row"),
    }
}

fn report(
    request: &ImportRequest,
    upload: UploadId,
    inspected: &Inspected,
    summary: Summary,
    merged: Merged,
) -> ImportReport {
    ImportReport {
        upload,
        file_name: request.file_name.clone(),
        format: summary.info.format,
        bytes: inspected.bytes,
        encoding: summary.info.encoding,
        separator: summary.info.separator,
        sheet: summary.info.sheet,
        header_row: summary.header_row,
        rows_read: summary.rows_read,
        rows_blank: summary.rows_blank,
        rows_taken: merged.rows_taken,
        rows_refused: merged.rows_refused,
        contacts_created: merged.contacts_created,
        contacts_updated: merged.contacts_updated,
        fields_left_out: merged.reasons.iter().map(|reason| reason.left_out).sum(),
        reasons: merged.reasons,
        mapping: summary.columns,
        notes: summary.notes,
    }
}
