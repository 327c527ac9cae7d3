//! `fanfare import`: contacts from a file.

use std::path::PathBuf;

use fanfare_engine::contacts::{self, Author, ImportOptions, ImportReport, ImportRequest, Progress};

use super::{
    context::Context,
    exit::{Exit, Failure},
    follow::Meter,
    out,
};
use crate::assemble::import_limits;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV, TSV or XLSX
    file: PathBuf,
    /// Slug of the tenant [default: the only one]
    #[arg(long)]
    tenant: Option<String>,
    /// What a column is, as HEADER=field[:type[:currency]] or #2=field; may be repeated
    #[arg(long, value_name = "COLUMN=FIELD")]
    map: Vec<String>,
    /// Take the file even if it was taken before
    #[arg(long)]
    force: bool,
    /// Where to write the rows and values that were not taken
    #[arg(long, value_name = "OUT.csv")]
    refused: Option<PathBuf>,
    /// Read 03/04/2027 as the 4th of March
    #[arg(long)]
    month_first: bool,
    /// Sheet of a workbook [default: the first]
    #[arg(long)]
    sheet: Option<String>,
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    context.start_log(true)?;
    if !args.file.is_file() {
        return Err(Failure::say(
            Exit::BadInput,
            format!("there is no file {}: correct the path", args.file.display()),
        ));
    }
    let store = context.store().await?;
    let tenant = context.tenant(&store, args.tenant.as_deref()).await?;
    let limits = import_limits(context.config());
    let request = ImportRequest {
        tenant: tenant.id,
        file_name: args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        path: args.file,
        options: ImportOptions {
            force: args.force,
            mapping: args.map,
            day_first: !args.month_first,
            sheet: args.sheet,
            refused_to: args.refused.clone(),
            limits,
            ..ImportOptions::default()
        },
        author: Some(Author { actor: context.actor(), action: "upload.create", request_id: None }),
    };
    let meter = std::sync::Mutex::new(Meter::new(&request.file_name));
    let show = |progress: Progress| {
        let mut meter = meter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match progress {
            Progress::Reading { rows, bytes, of } => {
                meter.set(bytes, of.max(bytes), format!("{rows} rows read"))
            }
            Progress::Merging { rows } => meter.set(rows, rows, "becoming contacts"),
        }
    };
    let imported =
        contacts::import(&store, &context.sources.ids, &*context.sources.clock, request, &show).await;
    meter.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).end();
    context.out.show(&imported?, |report| text(report, args.refused.as_ref()))
}

fn text(report: &ImportReport, refused: Option<&PathBuf>) -> String {
    let mut text = format!(
        "{}: {} rows read = {} taken + {} refused; {} contacts made, {} changed; {} values left out\nupload: {}\n",
        report.file_name,
        report.rows_read,
        report.rows_taken,
        report.rows_refused,
        report.contacts_created,
        report.contacts_updated,
        report.fields_left_out,
        report.upload,
    );
    let columns: Vec<Vec<String>> = report
        .mapping
        .iter()
        .map(|column| {
            vec![column.column.clone(), column.header.clone(), column.field.clone(), column.kind.to_owned()]
        })
        .collect();
    text += &format!("\n{}\n", out::table(&["COLUMN", "HEADER", "BECAME", "TYPE"], &columns));
    if !report.reasons.is_empty() {
        let reason = |r: &contacts::report::ReasonCount| {
            vec![r.field.clone(), r.refused.to_string(), r.left_out.to_string(), r.reason.clone()]
        };
        let rows: Vec<Vec<String>> = report.reasons.iter().map(reason).collect();
        text += &format!("\n{}\n", out::table(&["FIELD", "REFUSED", "LEFT OUT", "REASON"], &rows));
    }
    for note in &report.notes {
        text += &format!("\nNote: {note}");
    }
    if let Some(path) = refused {
        text += &format!("\nWhat was not taken is in {}.", path.display());
    }
    text
}
