//! Lists on the wire, by page or by cursor. A page is a number, for people; a cursor is where the last list ended, for
//! programs: it neither skips nor repeats when rows come in meanwhile, and the thousandth costs what the first does.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_engine::store::listing::Part;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

const USUAL: u32 = 20;
const MOST: u32 = 500;
/// Rows before a page are read and thrown away: further in there is the cursor.
const FURTHEST: u64 = 100_000;
/// As JSON writes it.
const NUL: &[u8] = br"\u0000";

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// From 1; not together with `cursor`.
    pub(crate) page: Option<u32>,
    /// At most 500; 20 if not said.
    pub(crate) limit: Option<u32>,
    /// `nextCursor` of the list before.
    pub(crate) cursor: Option<String>,
}

/// Where a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start<K> {
    Page(u32),
    After(K),
}

/// A checked [`Wanted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window<K> {
    pub(crate) start: Start<K>,
    pub(crate) limit: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    /// Absent in a list by cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<u32>,
    pub(crate) limit: u32,
    pub(crate) total: u64,
    pub(crate) total_pages: u64,
    /// Absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

impl Wanted {
    /// `K` is what a list is ordered by, down to something unique.
    pub(crate) fn window<K: DeserializeOwned>(&self) -> Result<Window<K>, Problem> {
        let limit = self.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::field("limit", format!("must be between 1 and {MOST}")));
        }
        let start = match (&self.cursor, self.page) {
            (Some(_), Some(_)) => {
                return Err(Problem::field("cursor", "says where to begin, and so does `page`"));
            }
            (Some(cursor), None) => Start::After(read(cursor)?),
            (None, page) => Start::Page(page.unwrap_or(1)),
        };
        match start {
            Start::Page(0) => Err(Problem::field("page", "begins at 1")),
            Start::Page(page) if u64::from(page - 1) * u64::from(limit) > FURTHEST => {
                Err(Problem::field("page", format!("reaches {FURTHEST} rows at most: follow `nextCursor`")))
            }
            start => Ok(Window { start, limit }),
        }
    }
}

impl<K> Window<K> {
    /// Rows to pass over.
    pub(crate) fn offset(&self) -> i64 {
        match self.start {
            Start::Page(page) => i64::from(page - 1) * i64::from(self.limit),
            Start::After(_) => 0,
        }
    }

    /// What a query is to give: one row more than the window, which tells whether more follow.
    pub(crate) fn part(&self) -> Part<K>
    where
        K: Clone,
    {
        let after = match &self.start {
            Start::After(key) => Some(key.clone()),
            Start::Page(_) => None,
        };
        Part { after, offset: self.offset(), limit: i64::from(self.limit) + 1 }
    }

    /// Of a list that was asked for one row more than the window: those within, and the key of their last if more follow.
    pub(crate) fn cut<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Option<K>) {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(key);
        (rows, next)
    }

    /// How many there are in all, where a part of so many rows that ends the list tells.
    pub(crate) fn total(&self, rows: usize, more: bool) -> Option<u64> {
        let first = matches!(self.start, Start::Page(1));
        let ends = !more && matches!(self.start, Start::Page(_)) && (rows > 0 || first);
        ends.then(|| self.offset().unsigned_abs() + rows as u64)
    }

    /// What is said of a list of `total`, after whose last row there is more or not.
    pub(crate) fn pagination(&self, total: u64, next: Option<impl Serialize>) -> Pagination {
        let page = match self.start {
            Start::Page(page) => Some(page),
            Start::After(_) => None,
        };
        Pagination {
            page,
            limit: self.limit,
            total,
            total_pages: total.div_ceil(u64::from(self.limit)),
            next_cursor: next.map(write),
        }
    }
}

fn write(key: impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&key).expect("what a list is ordered by is JSON"))
}

fn read<K: DeserializeOwned>(cursor: &str) -> Result<K, Problem> {
    BASE64_URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        // The database takes no NUL, and no list has given one.
        .filter(|bytes| !bytes.windows(NUL.len()).any(|part| part == NUL))
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Problem::field("cursor", "is not the `nextCursor` of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(page: Option<u32>, limit: Option<u32>, cursor: Option<&str>) -> Wanted {
        Wanted { page, limit, cursor: cursor.map(str::to_owned) }
    }

    #[test]
    fn a_cursor_leads_to_where_the_list_ended() {
        let first = wanted(None, Some(2), None).window::<(i64, String)>().expect("a window");
        assert_eq!(first.offset(), 0);
        let told = first.pagination(5, Some((7, "b")));
        assert_eq!((told.page, told.total_pages), (Some(1), 3));
        let next =
            wanted(None, Some(2), told.next_cursor.as_deref()).window::<(i64, String)>().expect("a window");
        assert_eq!(next.start, Start::After((7, "b".to_owned())));
    }

    #[test]
    fn the_last_part_tells_how_many_there_are() {
        let total = |page, rows, more| {
            let window = wanted(page, Some(20), None).window::<i64>().expect("a window");
            window.total(rows, more)
        };
        assert_eq!(
            (total(None, 0, false), total(Some(1), 7, false), total(Some(3), 20, false)),
            (Some(0), Some(7), Some(60))
        );
        assert_eq!(
            (total(None, 20, true), total(Some(2), 0, false)),
            (None, None),
            "there may be fewer or more"
        );
        let next = wanted(None, None, Some("Nw")).window::<i64>().expect("a window");
        assert_eq!(next.total(7, false), None);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let refused = [
            (wanted(Some(0), None, None), "page"),
            (wanted(Some(1_000_000), None, None), "page"),
            (wanted(None, Some(0), None), "limit"),
            (wanted(None, Some(501), None), "limit"),
            (wanted(Some(1), None, Some("W10")), "cursor"),
            (wanted(None, None, Some("not base64!")), "cursor"),
            (wanted(None, None, Some("W10")), "cursor"),
            (wanted(None, None, Some(&write((7, "a\0b")))), "cursor"),
        ];
        for (wanted, field) in refused {
            let problem = wanted.window::<(i64, String)>().expect_err(field);
            assert!(format!("{problem:?}").contains(field), "{problem:?}");
        }
    }
}
