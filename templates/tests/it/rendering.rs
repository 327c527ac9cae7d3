use std::sync::Arc;

use fanfare_templates::{Compiled, Encoding, RenderError, Rendered, limits, publish};
use serde_json::{Value, json};

use crate::{locale, render, render_sms, render_text, sms, source};

fn missing(text: &str, variables: &Value, name: &str) {
    let expected = RenderError::MissingVariable { name: name.to_owned(), part: "sms".to_owned() };
    assert_eq!(render_sms(text, variables, "en"), Err(expected), "{text} with {variables}");
}

#[test]
fn a_missing_or_null_variable_is_named() {
    for variables in [json!({}), json!({"a": null}), json!({"b": 1})] {
        missing("{{a}}", &variables, "a");
        missing("{{upper a}}", &variables, "a");
        missing("{{upper (lower a)}}", &variables, "a");
        missing("{{#if (eq a 1)}}x{{/if}}", &variables, "a");
        missing("x{{#if b}}{{a}}{{else}}{{a}}{{/if}}", &variables, "a");
        missing("{{#each a}}x{{/each}}", &variables, "a");
        missing("{{#with a}}x{{/with}}", &variables, "a");
        missing("{{default c a}}", &variables, "a");
        missing("{{plural n one=a other=\"x\"}}", &json!({"n": 1}), "a");
    }
    missing("{{a.b.c}}", &json!({"a": {"b": {}}}), "a.b.c");
    missing("{{#each a}}{{b}}{{/each}}", &json!({"a": [{"b": 1}, {}]}), "b");
    assert_eq!(render_sms("{{a}}", &json!([1]), "en"), Err(RenderError::NotAnObject));
    // A variable that its own condition leaves out is not missed.
    assert_eq!(render_sms("x{{#if a}}{{a}}{{/if}}", &json!({}), "en").as_deref(), Ok("x"));
}

#[test]
fn values_are_written_by_type() {
    let v = json!({"s": "x", "i": -3, "d": 1.5, "t": true, "l": [1], "o": {"a": 1}});
    assert_eq!(
        render_sms("{{s}} {{i}} {{d}} {{t}} {{l.0}} {{o.a}}", &v, "en").as_deref(),
        Ok("x -3 1.5 true 1 1")
    );
    for (text, told) in [("a\n {{l}}", "`l` must be"), ("{{o}}", "`o` must be"), ("{{l.x}}", "{{#each}}")] {
        let error = render_sms(text, &v, "en").unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
    let error = render_sms("a\n {{l}}", &v, "en").unwrap_err();
    assert!(matches!(error, RenderError::Value { line: 2, .. }), "{error:?}");
}

#[test]
fn values_are_data_and_never_templates_or_markup() {
    let source = source(json!({
        "channel": "email", "subject": "Hi {{n}}", "preheader": "Pre {{n}}",
        "body": {"html": "<html><body class=\"a\"><p title=\"{{n}}\">{{n}} {{upper n}}</p></body></html>"},
    }));
    let n = "{{7*7}} <b onload='x'>\"&";
    let Ok(Rendered::Email { subject, html, text }) = render(&source, &json!({ "n": n }), "en") else {
        panic!("an e-mail")
    };
    let escaped = "{{7*7}} &lt;b onload&#x3D;&#x27;x&#x27;&gt;&quot;&amp;";
    assert_eq!(subject, format!("Hi {n}"));
    assert_eq!(text, format!("{n} {}", n.to_uppercase()));
    assert!(html.contains(&format!("<p title=\"{escaped}\">{escaped} ")), "{html}");
    assert!(html.contains(&format!(">Pre {escaped}</div><p")), "{html}");
    assert!(!html.contains("<b ") && !html.contains("<B"), "{html}");
    assert_eq!(render_sms("{{n}}", &json!({ "n": n }), "en").as_deref(), Ok(n));
}

#[test]
fn a_subject_stays_one_line() {
    let source = source(json!({"channel": "email", "subject": "Hi {{n}}", "body": {"html": "<p>x</p>"}}));
    for n in ["a\r\nBcc: b@example.com", "a\nb", "a\u{0}b\u{7f}", "a\u{2028}b\u{85}"] {
        let Ok(Rendered::Email { subject, .. }) = render(&source, &json!({ "n": n }), "en") else {
            panic!("an e-mail")
        };
        assert!(!subject.contains(|c: char| c.is_control() || c == '\u{2028}'), "{subject:?}");
    }
    let long = json!({"n": "é".repeat(limits::SUBJECT_CHARS)});
    assert!(matches!(render(&source, &long, "en"), Err(RenderError::Limit { .. })));
}

#[test]
fn output_and_work_are_bounded() {
    let items: Vec<u32> = (0..500).collect();
    let v = json!({"items": items, "more": (0..501).collect::<Vec<u32>>(), "big": "x".repeat(limits::OUTPUT_BYTES), "n": "x"});
    assert!(
        render_text("{{upper big}}", &v, "en").unwrap_err().to_string().contains("longer than 2048 bytes")
    );
    for text in [
        "{{#each items}}{{#each ../items}}x{{/each}}{{/each}}",
        "{{#each items}}{{#each ../items}}{{/each}}{{/each}}",
        &format!("{{{{#each items}}}}{}{{{{/each}}}}", "{{#if (eq (upper ../n) \"X\")}}{{/if}}".repeat(299)),
        "{{big}}x",
    ] {
        let found = render_text(text, &v, "en");
        assert!(matches!(found, Err(RenderError::Limit { .. })), "{text}");
    }
    assert!(
        render_text("{{#each more}}x{{/each}}", &v, "en").unwrap_err().to_string().contains("at most 500")
    );
    assert!(matches!(render_sms("{{big}}", &v, "en"), Err(RenderError::Limit { .. })));
    let empty = render_sms("{{#if a}}x{{/if}}", &json!({}), "en");
    assert_eq!(empty, Err(RenderError::Empty { part: "sms".to_owned() }));
}

#[test]
fn one_compiled_template_serves_threads_and_locales() {
    let published = publish(&sms("{{money m}} {{i}}")).unwrap();
    let compiled = Arc::new(Compiled::new(&published).unwrap());
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let compiled = Arc::clone(&compiled);
            std::thread::spawn(move || {
                for i in 0..50 {
                    let (tag, amount) = if thread % 2 == 0 { ("en", "Rs 1.00") } else { ("fr", "1,00 Rs") };
                    let v = json!({"m": {"minor": 100, "currency": "MUR"}, "i": i});
                    let Ok(Rendered::Sms { text, segments }) = compiled.render(&v, &locale(tag)) else {
                        panic!("an SMS")
                    };
                    assert_eq!(text, format!("{amount} {i}"));
                    assert_eq!((segments.encoding, segments.count), (Encoding::Gsm7, 1));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn locales_fall_back() {
    for (tag, canonical, fallbacks) in [
        ("en", "en", &["en"][..]),
        ("fr_mu", "fr-MU", &["fr-MU", "fr", "en"]),
        ("EN-us", "en-US", &["en-US", "en"]),
        ("zh-Hant-TW", "zh-Hant-TW", &["zh-Hant-TW", "zh-Hant", "zh", "en"]),
    ] {
        let locale = locale(tag);
        assert_eq!(locale.as_str(), canonical);
        assert_eq!(locale.fallbacks().collect::<Vec<_>>(), fallbacks);
    }
    for wrong in ["", "e", "12", "en-", "en US", "français", "en-toolongsubtag"] {
        assert!(fanfare_templates::Locale::parse(wrong).is_err(), "{wrong}");
    }
}
