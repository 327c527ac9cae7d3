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

/// The header of the list, with the mark that makes spreadsheet programs read it as UTF-8.
pub fn csv_header() -> Vec<u8> {
    let mut lines = csv::Writer::from_writer("\u{feff}".as_bytes().to_vec());
    lines.write_record(HEADER).expect("a vector takes whatever is written");
    lines.into_inner().expect("a vector takes whatever is written")
}

/// A piece of the list.
pub fn csv_lines(problems: &[ProblemRow]) -> Vec<u8> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    for problem in problems {
        lines.write_record(fields(problem)).expect("a vector takes whatever is written");
    }
    lines.into_inner().expect("a vector takes whatever is written")
}

const HEADER: [&str; 5] = ["row", "field", "value", "reason", "refused"];

fn fields(problem: &ProblemRow) -> [String; 5] {
    let refused = if problem.refused { "yes" } else { "no" };
    let [field, value, reason] = [&problem.field, &problem.value, &problem.reason].map(|text| harmless(text));
    [problem.row_no.to_string(), field, value, reason, refused.to_owned()]
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

/// A value that a spreadsheet would run as a formula gets an apostrophe, which makes it text.
fn harmless(text: &str) -> String {
    let dangerous = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\0']);
    if dangerous { format!("'{text}") } else { text.to_owned() }
}
