//! The import of one file: looks at it, parses it on a blocking thread, stages and merges it in one transaction.

use std::path::PathBuf;

use iso_currency::Currency;
use tokio::sync::mpsc;

use super::{
    error::ImportError,
    header::Override,
    inspect::{Inspected, inspect},
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
        Store,
        uploads::{Merged, Staging, TenantDefaults, UploadFacts},
    },
};

/// Batches that may wait for the database: what bounds the memory of an import, with the size of one.
const BATCHES_IN_FLIGHT: usize = 4;

/// A file to import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    pub tenant: TenantId,
    pub path: PathBuf,
    /// As the person who uploaded it calls it.
    pub file_name: String,
    pub options: ImportOptions,
}

#[derive(Debug, Clone)]
pub struct ImportOptions {
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
    let defaults =
        store.tenant_defaults(request.tenant).await?.ok_or(ImportError::UnknownTenant(request.tenant))?;
    let (path, limit) = (request.path.clone(), request.options.limits.max_bytes);
    let inspected = blocking(move || inspect(&path, limit)).await?;
    refuse_known(store.upload_by_hash(request.tenant, &inspected.sha256).await?, request.options.force)?;

    let now = clock.now();
    let upload: UploadId = ids.next(now);
    // The parser's thread outlives the borrow of `ids`: it gets a generator of its own.
    let job = job(&request, inspected, &defaults, Ids::from_seed(ids.random_uuid().as_u64_pair().0), now)?;
    let mut staging = Staging::begin(store).await?;
    let summary = stage(&mut staging, job, progress).await?;
    progress(Progress::Merging { rows: summary.rows_read });
    refuse_known(staging.lock_tenant(request.tenant, &inspected.sha256).await?, request.options.force)?;
    let facts = facts(&request, upload, &inspected, &defaults, &summary);
    let merged = staging.merge(&facts).await?;
    if let Some(path) = &request.options.refused_to {
        // Before the commit: a list that can't be written is a reason not to take the file.
        let mut file = tokio::fs::File::create(path).await?;
        refused::write_staged(&mut staging, upload, &mut file).await?;
    }
    staging.commit().await?;
    Ok(report(request, upload, &inspected, summary, merged))
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

fn job(
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

/// Feeds the staging table while the parser reads. An early return drops the receiver, which ends the parser.
async fn stage(
    staging: &mut Staging,
    job: Job,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Summary, ImportError> {
    let of = job.inspected.bytes;
    let (sender, mut batches) = mpsc::channel::<Batch>(BATCHES_IN_FLIGHT);
    let parser = tokio::task::spawn_blocking(move || {
        parse::run(&job, &mut |batch| sender.blocking_send(batch).is_ok())
    });
    let mut copy = staging.copy_rows().await?;
    while let Some(batch) = batches.recv().await {
        copy.send(batch.copy).await?;
        progress(Progress::Reading { rows: batch.rows, bytes: batch.bytes, of });
    }
    // On an error the connection is dropped in the middle of the copy, and with it everything staged.
    let summary = parser.await.map_err(|panic| ImportError::Broken(panic.to_string()))??;
    copy.finish().await?;
    Ok(summary)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImportError> + Send + 'static,
) -> Result<T, ImportError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| ImportError::Broken(panic.to_string()))?
}

fn facts<'a>(
    request: &'a ImportRequest,
    upload: UploadId,
    inspected: &'a Inspected,
    defaults: &'a TenantDefaults,
    summary: &'a Summary,
) -> UploadFacts<'a> {
    UploadFacts {
        upload,
        tenant: request.tenant,
        file_name: &request.file_name,
        sha256: &inspected.sha256,
        bytes: inspected.bytes,
        format: summary.info.format,
        mapping: serde_json::to_value(&summary.columns).unwrap_or_default(),
        rows_read: summary.rows_read,
        rows_refused: summary.rows_refused,
        time_zone: &defaults.time_zone,
        facts: &summary.facts,
        reference: summary.reference.as_deref().unwrap_or("row"),
    }
}

fn report(
    request: ImportRequest,
    upload: UploadId,
    inspected: &Inspected,
    summary: Summary,
    merged: Merged,
) -> ImportReport {
    ImportReport {
        upload,
        file_name: request.file_name,
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
