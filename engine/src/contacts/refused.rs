//! The list of what was not taken, as CSV for the back office to correct: streamed, and safe to open in a spreadsheet.

use futures::{Stream, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::error::ImportError;
use crate::{
    id::{TenantId, UploadId},
    store::{
        Store, StoreResult,
        uploads::{ProblemRow, Staging},
    },
};

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

async fn write(
    problems: impl Stream<Item = StoreResult<ProblemRow>> + Send,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<u64, ImportError> {
    let mut problems = std::pin::pin!(problems);
    let mut lines = csv::Writer::from_writer(Vec::new());
    // The mark makes spreadsheet programs read the file as UTF-8.
    writer.write_all("\u{feff}".as_bytes()).await?;
    lines.write_record(["row", "field", "value", "reason", "refused"]).map_err(std::io::Error::from)?;
    let mut count = 0;
    while let Some(problem) = problems.try_next().await? {
        let refused = if problem.refused { "yes" } else { "no" };
        let row = problem.row_no.to_string();
        let texts = [&problem.field, &problem.value, &problem.reason].map(|text| harmless(text));
        lines.write_record([&row, &texts[0], &texts[1], &texts[2], refused]).map_err(std::io::Error::from)?;
        count += 1;
        if count % 500 == 0 {
            lines = flush(lines, writer).await?;
        }
    }
    flush(lines, writer).await?;
    writer.flush().await?;
    Ok(count)
}

async fn flush(
    lines: csv::Writer<Vec<u8>>,
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> Result<csv::Writer<Vec<u8>>, ImportError> {
    let bytes = lines.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    writer.write_all(&bytes).await?;
    Ok(csv::Writer::from_writer(Vec::new()))
}

/// A value that a spreadsheet would run as a formula gets an apostrophe, which makes it text.
fn harmless(text: &str) -> String {
    let dangerous = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']);
    if dangerous { format!("'{text}") } else { text.to_owned() }
}
