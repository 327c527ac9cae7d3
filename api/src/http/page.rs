//! Lists on the wire, by page or by cursor. A page is a number, for people; a cursor is where the last list ended, for
//! programs: it neither skips nor repeats when rows come in meanwhile, and the thousandth costs what the first does.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use fanfare_engine::store::listing::{Part, Way};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::{
    IntoParams, ToSchema,
    openapi::{
        Required,
        path::{Parameter, ParameterIn},
    },
};

use super::{
    problem::Problem,
    sort::{Sort, Sortable},
};

const USUAL: u32 = 20;
const MOST: u32 = 500;
/// Rows before a page are read and thrown away: further in there is the cursor.
const FURTHEST: u64 = 100_000;
/// As JSON writes it.
const NUL: &[u8] = br"\u0000";

/// Which part of a list, in which order.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound = "F: Sortable")]
pub(crate) struct Wanted<F: Sortable> {
    pub(crate) page: Option<u32>,
    pub(crate) limit: Option<u32>,
    pub(crate) cursor: Option<String>,
    #[serde(default)]
    pub(crate) sort: Sort<F>,
}

/// As the document describes them, whatever the list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is described, and never made")]
struct Described {
    /// From 1; not together with `cursor`.
    page: Option<u32>,
    /// At most 500; 20 if not said.
    limit: Option<u32>,
    /// `nextCursor` of the list before.
    cursor: Option<String>,
}

impl<F: Sortable> IntoParams for Wanted<F> {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let sort = Parameter::builder().name("sort").parameter_in(ParameterIn::Query);
        let mut all = Described::into_params(place);
        all.push(sort.required(Required::False).schema(Some(Sort::<F>::schema())).build());
        all
    }
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
    /// As it is written: a cursor goes on in the order that it comes from, and in no other.
    sort: String,
}

/// Where a list ended of which it was counted for its first part how many there are: counting for every part would cost more
/// than reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted<P> {
    pub(crate) place: P,
    pub(crate) total: u64,
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

impl<F: Sortable> Wanted<F> {
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
            (Some(cursor), None) => Start::After(read(cursor, &self.sort.to_string())?),
            (None, page) => Start::Page(page.unwrap_or(1)),
        };
        match start {
            Start::Page(0) => Err(Problem::field("page", "begins at 1")),
            Start::Page(page) if u64::from(page - 1) * u64::from(limit) > FURTHEST => {
                Err(Problem::field("page", format!("reaches {FURTHEST} rows at most: follow `nextCursor`")))
            }
            start => Ok(Window { start, limit, sort: self.sort.to_string() }),
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
            next_cursor: next.map(|key| write(&self.sort, key)),
        }
    }
}

impl<P: Clone> Window<Counted<P>> {
    /// How many there are in all, where that was counted before.
    pub(crate) fn counted(&self) -> Option<u64> {
        match &self.start {
            Start::After(Counted { total, .. }) => Some(*total),
            Start::Page(_) => None,
        }
    }

    /// As [`Window::part`], by place alone.
    pub(crate) fn places(&self) -> Part<P> {
        let Part { after, offset, limit } = self.part();
        Part { after: after.map(|counted| counted.place), offset, limit }
    }
}

impl<K: Ord + Serialize> Window<K> {
    /// The part of a short list that was read whole: it is put in order here.
    pub(crate) fn of_all<T>(&self, all: Vec<T>, way: Way, key: impl Fn(&T) -> K) -> (Vec<T>, Pagination) {
        let total = all.len() as u64;
        let along = |one: &K, other: &K| match way {
            Way::Up => one.cmp(other),
            Way::Down => other.cmp(one),
        };
        let mut keyed: Vec<(K, T)> = all.into_iter().map(|row| (key(&row), row)).collect();
        keyed.sort_by(|(one, _), (other, _)| along(one, other));
        let behind = |(key, _): &(K, T)| match &self.start {
            Start::After(last) => along(key, last).is_gt(),
            Start::Page(_) => true,
        };
        let rest = keyed.into_iter().filter(behind).map(|(_, row)| row);
        let passed = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        let (rows, next) = self.cut(rest.skip(passed).collect(), key);
        (rows, self.pagination(total, next))
    }
}

fn write(sort: &str, key: impl Serialize) -> String {
    BASE64_URL_SAFE_NO_PAD
        .encode(serde_json::to_vec(&(sort, key)).expect("what a list is ordered by is JSON"))
}

fn read<K: DeserializeOwned>(cursor: &str, sort: &str) -> Result<K, Problem> {
    let (of, key): (String, Value) = BASE64_URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        // The database takes no NUL, and no list has given one.
        .filter(|bytes| !bytes.windows(NUL.len()).any(|part| part == NUL))
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(foreign)?;
    if of != sort {
        return Err(Problem::field("cursor", "is of another order: say the `sort` that it came from"));
    }
    serde_json::from_value(key).map_err(|_| foreign())
}

fn foreign() -> Problem {
    Problem::field("cursor", "is not the `nextCursor` of this list")
}

#[cfg(test)]
mod tests {
    use fanfare_engine::store::listing::Order;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    struct ByNumber;

    impl Sortable for ByNumber {
        const FIELDS: &'static [(&'static str, Self)] = &[("n", Self)];
        const USUAL: Order<Self> = (Self, Way::Up);
    }

    fn wanted(page: Option<u32>, limit: Option<u32>, cursor: Option<&str>) -> Wanted<ByNumber> {
        Wanted { page, limit, cursor: cursor.map(str::to_owned), sort: Sort::default() }
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
        let next = wanted(None, None, Some(&write("n", 7))).window::<i64>().expect("a window");
        assert_eq!(next.total(7, false), None);
    }

    #[test]
    fn a_short_list_is_cut_in_its_order() {
        let all = || vec![(2, 'a'), (1, 'c'), (3, 'b')];
        let (rows, told) =
            wanted(None, Some(2), None).window().expect("a window").of_all(all(), Way::Down, |row| row.0);
        assert_eq!(rows, [(3, 'b'), (2, 'a')]);
        assert_eq!((told.total, told.total_pages), (3, 2));
        let (rows, told) = wanted(None, Some(2), told.next_cursor.as_deref())
            .window()
            .expect("a window")
            .of_all(all(), Way::Down, |row| row.0);
        assert_eq!((rows, told.next_cursor), (vec![(1, 'c')], None));
        let second = wanted(Some(2), Some(2), None).window().expect("a window");
        assert_eq!(second.of_all(all(), Way::Up, |row| row.0).0, [(3, 'b')]);
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
            (wanted(None, None, Some(&write("n", (7, "a\0b")))), "cursor"),
            (wanted(None, None, Some(&write("-n", (7, "b")))), "cursor"),
        ];
        for (wanted, field) in refused {
            let problem = wanted.window::<(i64, String)>().expect_err(field);
            assert!(format!("{problem:?}").contains(field), "{problem:?}");
        }
    }
}
