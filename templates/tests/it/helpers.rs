use fanfare_templates::RenderError;
use serde_json::{Value, json};

use crate::{render_sms, render_text};

fn check(template: &str, variables: &Value, tag: &str, expected: &str) {
    assert_eq!(
        render_text(template, variables, tag).as_deref(),
        Ok(expected),
        "{template} in {tag} with {variables}"
    );
}

fn fault(template: &str, variables: &Value) -> String {
    match render_text(template, variables, "en") {
        Err(error @ RenderError::Value { .. }) => error.to_string(),
        other => panic!("{template} with {variables} should be refused, but {other:?}"),
    }
}

#[test]
fn dates() {
    let day = json!({"d": "2026-12-15", "f": "2027-01-01", "a": "2026-08-09"});
    for (template, tag, expected) in [
        ("{{date d}}", "en", "15 December 2026"),
        ("{{date d \"long\"}}", "en-GB", "15 December 2026"),
        ("{{date d \"medium\"}}", "en", "15 Dec 2026"),
        ("{{date d \"short\"}}", "en", "15/12/2026"),
        ("{{date d \"full\"}}", "en", "Tuesday 15 December 2026"),
        ("{{date d \"long\"}}", "en-US", "December 15, 2026"),
        ("{{date d \"medium\"}}", "en_us", "Dec 15, 2026"),
        ("{{date d \"short\"}}", "en-US", "12/15/2026"),
        ("{{date d \"full\"}}", "en-US", "Tuesday, December 15, 2026"),
        ("{{date d \"long\"}}", "fr", "15 décembre 2026"),
        ("{{date d \"medium\"}}", "fr-MU", "15 déc. 2026"),
        ("{{date d \"short\"}}", "fr", "15/12/2026"),
        ("{{date f}}", "fr", "1er janvier 2027"),
        ("{{date f \"full\"}}", "fr", "vendredi 1er janvier 2027"),
        ("{{date a}}", "fr", "9 août 2026"),
        ("{{date d}}", "mfe", "15 December 2026"),
    ] {
        check(template, &day, tag, expected);
    }
    // The date is the one that is written, whatever the offset.
    check("{{date t}}", &json!({"t": "2026-12-15T23:30:00+04:00"}), "en", "15 December 2026");
    check("{{date t}}", &json!({"t": "2026-12-15T23:30:00Z"}), "en", "15 December 2026");
    assert_eq!(render_sms("{{date a}}", &day, "fr").as_deref(), Ok("9 aout 2026"));
    for wrong in [json!("soon"), json!("2026-02-30"), json!(20261215), json!("")] {
        assert!(fault("{{date d}}", &json!({ "d": wrong })).contains("2026-12-15"), "{wrong}");
    }
}

#[test]
fn amounts() {
    let amount = |minor: i64, currency: &str| json!({"m": {"minor": minor, "currency": currency}});
    for (minor, currency, tag, expected) in [
        (125_000, "MUR", "en", "Rs\u{a0}1,250.00"),
        (125_000, "MUR", "fr", "1\u{a0}250,00\u{a0}Rs"),
        (125_000, "EUR", "en", "€1,250.00"),
        (125_000, "EUR", "fr", "1\u{a0}250,00\u{a0}€"),
        (125_000, "USD", "en-US", "$1,250.00"),
        (125_000, "USD", "fr", "1\u{a0}250,00\u{a0}$US"),
        (125_000, "GBP", "en", "£1,250.00"),
        (12_345_678_900, "INR", "en-IN", "₹12,34,56,789.00"),
        (125_000, "JPY", "en", "JPY\u{a0}125,000"),
        (1_250_000, "KWD", "en", "KWD\u{a0}1,250.000"),
        (5, "MUR", "en", "Rs\u{a0}0.05"),
        (0, "MUR", "fr", "0,00\u{a0}Rs"),
        (-125_050, "MUR", "en", "-Rs\u{a0}1,250.50"),
        (-99, "EUR", "fr", "-0,99\u{a0}€"),
        (i64::MIN, "MUR", "en", "-Rs\u{a0}92,233,720,368,547,758.08"),
    ] {
        check("{{money m}}", &amount(minor, currency), tag, expected);
    }
    // An SMS keeps to the seven-bit alphabet.
    assert_eq!(render_sms("{{money m}}", &amount(125_000, "MUR"), "fr").as_deref(), Ok("1 250,00 Rs"));
    assert_eq!(render_sms("{{money m}}", &amount(125_000, "INR"), "en").as_deref(), Ok("Rs 1,250.00"));
    for wrong in [
        json!(1250),
        json!({"minor": 12.5, "currency": "MUR"}),
        json!({"minor": 1}),
        json!({"minor": 1, "currency": "XXZ"}),
    ] {
        assert!(fault("{{money m}}", &json!({ "m": wrong })).contains("`m`"), "{wrong}");
    }
}

#[test]
fn numbers() {
    for (value, tag, expected) in [
        (json!(1_234_567), "en", "1,234,567"),
        (json!(1_234_567), "fr", "1\u{a0}234\u{a0}567"),
        (json!(1_234_567), "en-IN", "12,34,567"),
        (json!("1234.50"), "en", "1,234.50"),
        (json!("1234.50"), "fr", "1\u{a0}234,50"),
        (json!(-999), "en", "-999"),
        (json!(u64::MAX), "en", "18,446,744,073,709,551,615"),
        (json!(1000), "en", "1,000"),
        (json!("007"), "en", "7"),
    ] {
        check("{{number n}}", &json!({ "n": value }), tag, expected);
    }
    for wrong in [json!("a"), json!("1."), json!(".5"), json!(""), json!(true), json!([1])] {
        assert!(fault("{{number n}}", &json!({ "n": wrong })).contains("`n`"), "{wrong}");
    }
}

#[test]
fn plurals() {
    for (n, tag, expected) in [
        (json!(0), "en", "days"),
        (json!(1), "en", "day"),
        (json!("1.0"), "en", "days"),
        (json!(2), "en", "days"),
        (json!(0), "fr", "day"),
        (json!(1), "fr", "day"),
        (json!("1.5"), "fr", "day"),
        (json!(2), "fr", "days"),
        (json!(1_000_000), "fr", "many"),
        (json!(1_000_000), "en", "days"),
    ] {
        check("{{plural n one=\"day\" other=\"days\" many=\"many\"}}", &json!({ "n": n }), tag, expected);
    }
    check("{{plural n other=\"x\"}}", &json!({"n": 1}), "en", "x");
}

#[test]
fn texts_and_conditions() {
    let v = json!({"name": "Zoë", "blank": "  ", "nil": null, "n": 3, "paid": true, "status": "due", "items": [{"t": "a"}, {"t": "b"}]});
    for (template, expected) in [
        ("{{default name \"you\"}}", "Zoë"),
        ("{{default blank \"you\"}}", "you"),
        ("{{default nil \"you\"}}", "you"),
        ("{{default gone \"you\"}}", "you"),
        ("{{upper (default gone \"you\")}}", "YOU"),
        ("{{upper name}}|{{lower name}}", "ZOË|zoë"),
        ("{{short_link name}}", "Zoë"),
        ("{{url_encode name}}", "Zo%C3%AB"),
        ("{{url_encode \"a b/c?d&e\"}}", "a%20b%2Fc%3Fd%26e"),
        ("{{#if paid}}yes{{else}}no{{/if}}", "yes"),
        ("{{#if gone}}yes{{else}}no{{/if}}", "no"),
        ("{{#unless gone}}none{{/unless}}", "none"),
        ("{{#if (eq status \"due\")}}pay{{/if}}", "pay"),
        ("{{#if (and paid (gt n 2))}}both{{/if}}", "both"),
        ("{{#if (or gone paid)}}either{{/if}}", "either"),
        ("{{#if (not gone)}}none{{/if}}", "none"),
        ("{{#if (lte \"2026-01-02\" \"2026-01-10\")}}before{{/if}}", "before"),
        ("{{#each items}}{{@index}}{{t}}{{../n}}{{#unless @last}},{{/unless}}{{/each}}", "0a3,1b3"),
        ("{{#each items as |item i|}}{{i}}{{item.t}}{{@root.n}} {{/each}}", "0a3 1b3 "),
        ("{{#each gone}}x{{else}}none{{/each}}", "none"),
        ("{{#each items}}{{#each ../items}}{{../t}}{{t}} {{/each}}{{/each}}", "aa ab ba bb "),
    ] {
        check(template, &v, "en", expected);
    }
    assert!(fault("{{#if (gt status 1)}}x{{/if}}", &v).contains("own type"));
    assert!(fault("{{upper paid}}", &v).contains("`paid` must be a text, but is true or false"));
    assert!(fault("{{#each name}}x{{/each}}", &v).contains("`name` must be a list"));
}
