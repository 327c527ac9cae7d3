//! A file of a back office: read, and taken in.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use criterion::{Criterion, SamplingMode, Throughput};
use fanfare_benches::{
    bed::{Bed, spent},
    insurer::Insurer,
};
use fanfare_engine::{
    clock::{Clock, SystemClock},
    contacts::{ImportOptions, ImportReport, ImportRequest, RowCounts, import, read},
    id::Ids,
};
use tempfile::NamedTempFile;

const ROWS: u64 = 20_000;
const HEADER: &str =
    "Policy No,Customer Name,E-mail,Mobile,Expiry Date,Premium (MUR),Branch,Language,Notes\n";
const PHONES: [&str; 4] = ["+230 5", "002305", "5", "230-5"];
const DATES: [&str; 3] = ["27/01/2027", "26-12-2026", "04 Jan 2027"];
const AMOUNTS: [&str; 3] = ["39456.79", "\"8,400.00\"", "\"Rs 15,000.00\""];
const NOTES: [&str; 3] = ["", "call after 5pm", "\"moved to\nVacoas\""];

/// Values in several forms, as people type them.
fn file() -> NamedTempFile {
    let mut text = HEADER.to_owned();
    for n in 0..ROWS as usize {
        writeln!(
            text,
            "MOT/2020/{n:08},Patricia Wilson {n},Person.{n}@Mail{}.example,{}{:07},{},{},Port Louis,{},{}",
            n % 7,
            PHONES[n % 4],
            n * 83 % 1_000_000 + 4_000_000,
            DATES[n % 3],
            AMOUNTS[n % 3],
            if n % 5 == 0 { "en" } else { "FR" },
            NOTES[n % 3],
        )
        .expect("a text takes everything");
    }
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

fn request(insurer: &Insurer, file: &NamedTempFile) -> ImportRequest {
    ImportRequest {
        tenant: insurer.tenant,
        path: file.path().to_owned(),
        file_name: "renewals.csv".to_owned(),
        options: ImportOptions { force: true, ..ImportOptions::default() },
        author: None,
    }
}

fn imports(criterion: &mut Criterion) {
    let Some(bed) = Bed::make("import") else { return };
    let insurer = bed.runtime.block_on(Insurer::make(&bed.store));
    let file = file();
    let request = request(&insurer, &file);
    let mut group = criterion.benchmark_group("import");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_secs(1))
        .throughput(Throughput::Elements(ROWS));
    let defaults = bed.runtime.block_on(bed.store.tenant_defaults(insurer.tenant)).expect("an answer");
    let defaults = defaults.expect("the tenant is there");
    group.bench_function("read 20000 rows", |bench| {
        bench.iter(|| {
            let rows = read(&request, &defaults, Ids::from_seed(1), SystemClock.now()).expect("a sound file");
            assert_eq!(rows, RowCounts { read: ROWS, refused: 0 });
        });
    });
    // Whether the people are new, or those of the import before.
    bed.runtime.block_on(take(&insurer, &request));
    for (name, new) in [("take 20000 new people", true), ("take 20000 known people", false)] {
        group.bench_function(name, |bench| {
            bench.to_async(&bed.runtime).iter_custom(|imports| {
                spent(imports, async || {
                    if new {
                        bed.execute("truncate contacts, upload_rows, uploads cascade").await;
                    }
                    let (took, report) = take(&insurer, &request).await;
                    assert_eq!(report.contacts_created, if new { ROWS } else { 0 });
                    took
                })
            });
        });
    }
    group.finish();
}

async fn take(insurer: &Insurer, request: &ImportRequest) -> (Duration, ImportReport) {
    let begun = Instant::now();
    let report = import(&insurer.store, &insurer.ids, &SystemClock, request.clone(), &|_| ()).await;
    let took = begun.elapsed();
    let report = report.expect("a sound file");
    assert_eq!((report.rows_taken, report.rows_refused), (ROWS, 0));
    (took, report)
}

fanfare_benches::main!(imports);
