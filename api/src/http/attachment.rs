//! Files that are answered: named so that no name, whatever is in it, can be anything but a name. And lists that are answered
//! as files, all of them, a page at a time.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use fanfare_engine::store::{StoreError, StoreResult};
use futures::{StreamExt as _, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

const CSV: &str = "text/csv; charset=utf-8";

/// In which form a list comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListFormat {
    #[default]
    Json,
    Csv,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Form {
    /// `json`, page by page, or `csv`, all of it.
    #[serde(default)]
    #[param(inline)]
    pub(crate) format: ListFormat,
}

pub(crate) fn file(body: Body, kind: &'static str, name: &str) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, attachment(name));
    response
}

/// All of a list as CSV. `page` gives the lines after what the page before ended with; it is called once those before have been
/// taken, so that a list of any length needs the memory of a page.
pub(crate) fn csv<K: Send + 'static, P>(
    name: &str,
    header: Vec<u8>,
    page: impl Fn(Option<K>) -> P + Send + 'static,
) -> Response
where
    P: Future<Output = StoreResult<Option<(Vec<u8>, K)>>> + Send + 'static,
{
    let pages = stream::try_unfold((page, None), async |(page, after)| {
        let found = page(after).await?;
        Ok::<_, StoreError>(found.map(|(lines, last)| (Bytes::from(lines), (page, Some(last)))))
    });
    file(Body::from_stream(stream::once(async { Ok(Bytes::from(header)) }).chain(pages)), CSV, name)
}

/// What RFC 8187 lets stand as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `Content-Disposition` of a file to be saved: in plain letters for old programs, and in full (RFC 6266). A name that is
/// plain already is said once.
fn attachment(name: &str) -> HeaderValue {
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let text = if plain == name {
        format!("attachment; filename=\"{plain}\"")
    } else {
        format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ENCODED))
    };
    HeaderValue::from_str(&text).expect("plain ASCII")
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || " ._-()".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_nothing_but_a_name() {
        let cases = [
            ("policies.xlsx", "attachment; filename=\"policies.xlsx\""),
            (
                "May \"renewals\"; filename=evil.exe\r\nX: y",
                "attachment; filename=\"May _renewals__ filename_evil.exe__X_ y\"; \
                 filename*=UTF-8''May%20%22renewals%22%3B%20filename%3Devil.exe%0D%0AX%3A%20y",
            ),
            (
                "échéances.csv",
                "attachment; filename=\"_ch_ances.csv\"; filename*=UTF-8''%C3%A9ch%C3%A9ances.csv",
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(attachment(name), expected);
        }
    }
}
