//! From a published template to one recipient's message, on the starter for renewals.

use criterion::{BenchmarkId, Criterion};
use fanfare_benches::renewal;
use fanfare_templates::{Channel, Compiled, Locale, publish, segments};
use std::hint::black_box;

fn render(criterion: &mut Criterion) {
    let english = Locale::parse("en").expect("a locale");
    let mut group = criterion.benchmark_group("render");
    for channel in [Channel::Email, Channel::Sms, Channel::Whatsapp] {
        let starter = renewal(channel).expect("there is a starter for every channel");
        let published = publish(&starter.source).expect("starters are sound");
        let compiled = Compiled::new(&published).expect("what is published compiles");
        group.bench_with_input(
            BenchmarkId::new("renewal", channel.as_str()),
            &starter.sample,
            |bench, variables| {
                bench.iter(|| compiled.render(black_box(variables), &english));
            },
        );
    }
    group.finish();
}

fn once_a_version(criterion: &mut Criterion) {
    let starter = renewal(Channel::Email).expect("there is a starter for every channel");
    let published = publish(&starter.source).expect("starters are sound");
    criterion.bench_function("publish/renewal", |bench| bench.iter(|| publish(black_box(&starter.source))));
    criterion.bench_function("compile/renewal", |bench| bench.iter(|| Compiled::new(black_box(&published))));
}

fn sms_segments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("segments");
    let plain =
        "Harmony Insurance: policy MTR-204417 expires on 15 Dec 2026. Renew: https://harmony.example/r/8H2K "
            .repeat(3);
    let wide = plain.replace('e', "ê");
    for (name, text) in [("gsm7", plain), ("ucs2", wide)] {
        group.bench_with_input(name, &text, |bench, text| bench.iter(|| segments(black_box(text))));
    }
    group.finish();
}

fanfare_benches::main!(render, once_a_version, sms_segments);
