//! A look at a file before anybody waits for it: whether it is one that can be taken at all, and how many rows it has.
//!
//! It reads as an import does and stores nothing, so whatever would refuse the whole file at its beginning (no table, no
//! column with addresses, a mapping of columns that are not there) is told at once. It ends when the caller has waited long
//! enough: then the number of rows is estimated from the part that was read, or, of a workbook, which does not tell how far
//! the reading is, from its size.

use std::path::PathBuf;

use jiff::Timestamp;

use super::{
    error::ImportError,
    import::{ImportRequest, Limits, job},
    inspect::{Content, inspect},
    options::ReadingOptions,
    parse,
};
use crate::{
    id::{Ids, TenantId},
    store::uploads::TenantDefaults,
};

/// A larger workbook is not unpacked while somebody waits.
const LARGE_WORKBOOK: u64 = 8 << 20;
/// Of a workbook, a row with a dozen columns: between 40 and 90 in files of back offices.
const BYTES_OF_A_PACKED_ROW: u64 = 60;

/// A file to look at, and how it would be read.
#[derive(Debug)]
pub struct LookRequest {
    pub tenant: TenantId,
    pub path: PathBuf,
    pub options: ReadingOptions,
    pub limits: Limits,
    pub usual: TenantDefaults,
    pub ids: Ids,
    pub now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// `csv` or `xlsx`.
    pub format: &'static str,
    pub rows: u64,
    /// Whether all rows were counted.
    pub exactly: bool,
}

/// Blocks, until the file is read or `enough` says so. Refuses what an import would refuse of its beginning.
pub fn look(request: LookRequest, enough: &dyn Fn() -> bool) -> Result<Look, ImportError> {
    let LookRequest { tenant, path, options, limits, usual, ids, now } = request;
    let inspected = inspect(&path, limits.max_bytes)?;
    let format = match inspected.content {
        Content::Text(_) => "csv",
        Content::Zip => "xlsx",
    };
    let by_size = inspected.bytes.div_ceil(BYTES_OF_A_PACKED_ROW);
    if inspected.content == Content::Zip && inspected.bytes > LARGE_WORKBOOK {
        return Ok(Look { format, rows: by_size, exactly: false });
    }
    let import = ImportRequest {
        tenant,
        path,
        file_name: String::new(),
        options: options.import(limits),
        author: None,
    };
    let job = job(&import, inspected, &options.over(usual), ids, now)?;
    let mut cut = None;
    let read = parse::run(&job, &mut |batch| {
        if enough() {
            cut = Some((batch.rows_read, batch.bytes_read));
        }
        cut.is_none()
    });
    match (read, cut) {
        (Ok(summary), _) => Ok(Look { format, rows: summary.rows_read, exactly: true }),
        (Err(_), Some((rows, 0))) => Ok(Look { format, rows: rows.max(by_size), exactly: false }),
        (Err(_), Some((rows, bytes))) => {
            let all = u128::from(rows) * u128::from(inspected.bytes) / u128::from(bytes);
            Ok(Look { format, rows: u64::try_from(all).unwrap_or(rows), exactly: false })
        }
        (Err(error), None) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn looked(text: &str, enough: &dyn Fn() -> bool) -> Result<Look, ImportError> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        let ids = Ids::from_seed(1);
        let request = LookRequest {
            tenant: ids.next(Timestamp::UNIX_EPOCH),
            path: file.path().to_owned(),
            options: ReadingOptions::default(),
            limits: Limits::default(),
            usual: TenantDefaults {
                region: "MU".to_owned(),
                time_zone: "Indian/Mauritius".to_owned(),
                currency: "MUR".to_owned(),
            },
            ids,
            now: Timestamp::UNIX_EPOCH,
        };
        look(request, enough)
    }

    fn list(rows: usize) -> String {
        (0..rows)
            .fold("email,name\n".to_owned(), |text, n| text + &format!("p{n:07}@example.com,Person {n:07}\n"))
    }

    #[test]
    fn rows_are_counted_or_estimated() {
        let small = looked(&list(150), &|| false).expect("a list");
        assert_eq!(small, Look { format: "csv", rows: 150, exactly: true });
        let large = looked(&list(40_000), &|| true).expect("a list");
        assert!(!large.exactly && (25_000..60_000).contains(&large.rows), "{large:?}");
    }

    #[test]
    fn what_is_no_list_is_refused_at_once() {
        assert!(matches!(looked("%PDF-1.7 …", &|| true), Err(ImportError::NotATable { .. })));
        assert!(matches!(looked("policy,amount\n1,2\n", &|| true), Err(ImportError::NoAddressColumn { .. })));
        assert!(matches!(looked("", &|| true), Err(ImportError::Empty)));
    }
}
