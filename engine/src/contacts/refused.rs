//! The list of what was not taken, as CSV for the back office to correct: streamed, and safe to open in a spreadsheet.

use futures::{Stream, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::ImportError;
use crate::{
    id::{TenantId, UploadId},
    spreadsheet,
    store::{
        Store, StoreResult,
        uploads::{ProblemRow, Staging},
    },
};

/// Lines that are written together.
const PAGE: usize = 500;

/// Writes row number, field, value, reason and whether the row was refused (`yes`) or only the value left out (`no`).
/// Returns the number of lines below the header.
pub async fn write_csv(
    store: &Store,
    tenant: TenantId,
    upload: UploadId,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<u64, ImportError> {
    store.ensure_upload(tenant, upload).await?;
    write(store.upload_problems(upload), writer).await
}

pub(super) async fn write_staged(
    staging: &mut Staging,
    upload: UploadId,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<u64, ImportError> {
    write(staging.problems(upload), writer).await
}

/// The header of the list.
pub fn csv_header() -> Vec<u8> {
    spreadsheet::header(["row", "field", "value", "reason", "refused"])
}

/// A piece of the list.
pub fn csv_lines(problems: &[ProblemRow]) -> Vec<u8> {
    spreadsheet::lines(problems.iter().map(|problem| {
        let refused = if problem.refused { "yes" } else { "no" };
        let [field, value, reason] = [&problem.field, &problem.value, &problem.reason].map(String::clone);
        [problem.row_no.to_string(), field, value, reason, refused.to_owned()]
    }))
}

async fn write(
    problems: impl Stream<Item = StoreResult<ProblemRow>> + Send,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<u64, ImportError> {
    let mut pages = std::pin::pin!(problems.try_chunks(PAGE));
    writer.write_all(&csv_header()).await?;
    let mut count = 0;
    while let Some(page) = pages.try_next().await.map_err(|error| error.1)? {
        writer.write_all(&csv_lines(&page)).await?;
        count += page.len() as u64;
    }
    writer.flush().await?;
    Ok(count)
}
