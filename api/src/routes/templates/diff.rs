//! What changed between two versions, line by line.

use std::time::Duration;

use axum::extract::State;
use fanfare_engine::{domain::permission::needs, store::template_versions, store::templates};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    locale,
    texts::{TextsView, apart},
};
use crate::{
    auth::caller::May,
    http::{
        envelope::{Data, Envelope},
        extract::{PathId, Query},
        problem::Problem,
    },
    routes::Work,
    service::Service,
};

pub(super) fn routes() -> OpenApiRouter<Service> {
    OpenApiRouter::new().routes(routes!(diff))
}

/// After this a coarser answer is given: right, but not the shortest.
const PATIENCE: Duration = Duration::from_millis(40);
/// Unchanged lines around each change.
const AROUND: usize = 3;
/// Lines that are told of one text.
const LINES: usize = 5_000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Between {
    /// Number of the earlier version; the one before `to` if not said.
    from: Option<i32>,
    /// Number of the later version; the newest published one, else the newest draft, if not said.
    to: Option<i32>,
    /// Language of both; the tenant's, else the first that the template has, if not said.
    locale: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct ChangedLine {
    /// `same`, `removed` or `added`.
    change: &'static str,
    text: String,
    /// Its number in the earlier version, from 1.
    from: Option<usize>,
    /// Its number in the later version, from 1.
    to: Option<usize>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
struct ChangedPart {
    /// `subject`, `preheader`, `content` or `text`.
    part: &'static str,
    /// Each change with three lines around it.
    lines: Vec<ChangedLine>,
    /// There are more than 5,000 such lines.
    truncated: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct TemplateDiff {
    locale: String,
    from: i32,
    to: i32,
    /// Those that differ.
    parts: Vec<ChangedPart>,
}

/// What changed between two versions, line by line, each as its author wrote it.
#[utoipa::path(get, path = "/api/templates/{template_id}/diff", tag = "templates", security(("bearer" = ["templates:read"])),
    params(("template_id" = String, Path, description = "`tmpl_…`, or a slug that one channel only has"), Between),
    responses((status = 200, description = "What changed", body = Envelope<TemplateDiff>)))]
async fn diff(
    State(service): State<Service>,
    may: May<needs::TemplatesRead>,
    PathId(named): PathId<String>,
    Query(between): Query<Between>,
) -> Result<Data<TemplateDiff>, Problem> {
    let asked = between.locale.as_deref().map(locale).transpose()?;
    let mut work = Work::read(&service, &may.caller).await?;
    let id = templates::resolve(&mut work.tx, may.caller.tenant, &named, None).await?;
    let locale = match asked {
        Some(locale) => locale,
        None => template_versions::usual_locale(&mut work.tx, id).await?,
    };
    let later = template_versions::get(&mut work.tx, id, &locale, between.to).await?;
    let from = between.from.unwrap_or(later.version.saturating_sub(1));
    let earlier = template_versions::get(&mut work.tx, id, &locale, Some(from)).await?;
    work.end();
    let to = later.version;
    let parts = apart(move || changed(earlier.into(), later.into())).await?;
    Ok(Data(TemplateDiff { locale, from, to, parts }))
}

fn changed(earlier: TextsView, later: TextsView) -> Vec<ChangedPart> {
    let (before, after) = (texts(earlier), texts(later));
    before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before.1 != after.1)
        .map(|((part, before), (_, after))| lines(part, before, after))
        .collect()
}

fn texts(view: TextsView) -> [(&'static str, String); 4] {
    let content = match view.content {
        Value::String(text) => text,
        other => serde_json::to_string_pretty(&other).unwrap_or_default(),
    };
    [
        ("subject", view.subject.unwrap_or_default()),
        ("preheader", view.preheader.unwrap_or_default()),
        ("content", content),
        ("text", view.text.unwrap_or_default()),
    ]
}

fn lines(part: &'static str, before: &str, after: &str) -> ChangedPart {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    let groups = diff.grouped_ops(AROUND);
    let changes = groups.iter().flatten().flat_map(|op| diff.iter_changes(op));
    let mut lines: Vec<ChangedLine> = changes
        .take(LINES + 1)
        .map(|change| ChangedLine {
            change: match change.tag() {
                ChangeTag::Equal => "same",
                ChangeTag::Delete => "removed",
                ChangeTag::Insert => "added",
            },
            text: change.value().trim_end_matches(['\r', '\n']).to_owned(),
            from: change.old_index().map(|index| index + 1),
            to: change.new_index().map(|index| index + 1),
        })
        .collect();
    let truncated = lines.len() > LINES;
    lines.truncate(LINES);
    ChangedPart { part, lines, truncated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(change: &'static str, text: &str, from: Option<usize>, to: Option<usize>) -> ChangedLine {
        ChangedLine { change, text: text.to_owned(), from, to }
    }

    #[test]
    fn a_change_is_told_with_the_lines_around_it() {
        let text: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let part = lines("content", &text, &text.replace("line 10\n", "line ten\n"));
        let expected = vec![
            line("same", "line 7", Some(7), Some(7)),
            line("same", "line 8", Some(8), Some(8)),
            line("same", "line 9", Some(9), Some(9)),
            line("removed", "line 10", Some(10), None),
            line("added", "line ten", None, Some(10)),
            line("same", "line 11", Some(11), Some(11)),
            line("same", "line 12", Some(12), Some(12)),
            line("same", "line 13", Some(13), Some(13)),
        ];
        assert_eq!(part, ChangedPart { part: "content", lines: expected, truncated: false });
    }

    #[test]
    fn a_long_answer_ends() {
        let part = lines("content", &"a\n".repeat(LINES), &"b\n".repeat(LINES));
        assert_eq!((part.lines.len(), part.truncated), (LINES, true));
    }
}
