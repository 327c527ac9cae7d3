use fanfare_templates::{Published, Source, limits, publish};
use serde_json::json;

use crate::{refused, sms, source};

fn variables(text: &str) -> (Vec<String>, Vec<String>) {
    let published: Published = publish(&sms(text)).unwrap();
    (published.variables().required.clone(), published.variables().optional.clone())
}

fn check_variables(text: &str, required: &[&str], optional: &[&str]) {
    let (found_required, found_optional) = variables(text);
    assert_eq!((found_required, found_optional), (owned(required), owned(optional)), "{text}");
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn variables_are_collected_through_blocks_and_helpers() {
    for (text, required, optional) in [
        ("{{b}} {{a}} {{b}}", &["a", "b"][..], &[][..]),
        ("{{policy.number}} {{upper policy.kind}}", &["policy"], &[]),
        ("{{#if a}}{{b}}{{else}}{{c}}{{/if}}", &["b", "c"], &["a"]),
        ("{{#if a}}{{a}}{{/if}}", &[], &["a"]),
        ("{{#if (and a b)}}{{a}}{{b}}{{/if}}", &[], &["a", "b"]),
        ("{{#unless a}}x{{else}}{{a}}{{/unless}}", &[], &["a"]),
        ("{{#if a}}{{a}}{{/if}}{{a}}", &["a"], &[]),
        ("{{default a \"x\"}} {{default b c}}", &["c"], &["a", "b"]),
        (
            "{{#each items}}{{name}}{{this.x}}{{../a}}{{@index}}{{@root.b}}{{/each}}",
            &["a", "b", "items"],
            &[],
        ),
        ("{{#each items as |item|}}{{item.x}}{{/each}}", &["items"], &[]),
        ("{{#each items}}x{{else}}y{{/each}}", &[], &["items"]),
        ("{{#with policy}}{{number}}{{/with}}", &["policy"], &[]),
        ("{{plural n one=w other=\"d\"}}", &["n", "w"], &[]),
        ("{{#if (eq a \"x\")}}y{{else if b}}z{{/if}}", &["a"], &["b"]),
        ("{{!-- {{gone}} --}}\\{{gone}} x", &[], &[]),
        ("no variables", &[], &[]),
        ("{{date}} {{number}}", &["date", "number"], &[]),
    ] {
        check_variables(text, required, optional);
    }
}

#[test]
fn faults_name_the_place_and_the_remedy() {
    let faults = [
        "",
        "Hello {{name",
        "Hello\n  {{unknown x}}",
        "{{upper}} {{upper a b}}",
        "{{date d \"lonng\"}}",
        "{{plural n one=\"day\"}}",
        "{{plural n one=\"day\" othr=\"days\"}}",
        "{{{name}}}",
        "{{&name}}",
        "{{> header}}",
        "{{#> header}}{{/header}}",
        "{{* inline}}",
        "{{{{raw}}}}x{{{{/raw}}}}",
        "{{#if a}}x",
        "{{#if a}}x{{/each}}",
        "x{{/if}}",
        "{{#if}}x{{/if}}",
        "{{if a}}",
        "{{#upper a}}x{{/upper}}",
        "{{#unknown a}}x{{/unknown}}",
        "{{../name}}",
        "{{this}}",
        "{{@index}}",
        "{{}}",
        "{{a.[0]}}",
        "{{lookup a b}}",
        "{{log a}}",
        "{{upper \"x}}",
        "{{(upper a)}}",
        "{{#each a}}{{#each b}}{{#each c}}x{{/each}}{{/each}}{{/each}}",
    ];
    let told: Vec<_> = faults.iter().map(|text| format!("{text:?}\n    {}", refused(&sms(text)))).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn the_part_is_named() {
    let email = |subject: &str, preheader: &str, body: serde_json::Value, text: &str| {
        source(
            json!({"channel": "email", "subject": subject, "preheader": preheader, "body": body, "text": text}),
        )
    };
    let bad = "{{#if}}";
    let html = json!({"html": "<p>x</p>"});
    for (part, source) in [
        ("subject", email(bad, "p", html.clone(), "t")),
        ("preheader", email("s", bad, html.clone(), "t")),
        ("html", email("s", "p", json!({ "html": bad }), "t")),
        ("mjml", email("s", "p", json!({ "mjml": bad }), "t")),
        ("text", email("s", "p", html, bad)),
        ("sms", sms(bad)),
    ] {
        assert_eq!(refused(&source).part(), part);
    }
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = |n: usize| format!("{}x{}", "{{#if a}}".repeat(n), "{{/if}}".repeat(n));
    assert!(publish(&sms(&nested(limits::BLOCK_DEPTH))).is_ok());
    for text in [
        nested(limits::BLOCK_DEPTH + 1),
        nested(50_000),
        "{{#if a}}x{{/if}}".repeat(limits::BLOCKS + 1),
        "{{#if a}}{{!-- {{/if}} --}}".repeat(5_000),
        "{{#if a}}\\{{/if}}".repeat(5_000),
        format!("{{{{upper {}a{}}}}}", "(upper ".repeat(20_000), ")".repeat(20_000)),
        format!("{{{{upper {}}}}}", "[".repeat(20_000)),
        "x".repeat(limits::SOURCE_BYTES + 1),
    ] {
        refused(&sms(&text));
    }
}

#[test]
fn sources_refuse_unknown_fields() {
    for json in [
        json!({"channel": "sms", "text": "x", "colour": "red"}),
        json!({"channel": "email", "subject": "s", "body": {"html": "x"}, "html": "x"}),
        json!({"channel": "email", "subject": "s", "body": {"html": "x", "mjml": "x"}}),
        json!({"channel": "whatsapp", "kind": "text", "body": "x", "link": "y"}),
        json!({"channel": "whatsapp", "kind": "template", "name": "x", "language": "en", "body": [{"text": "x", "nam": "y"}]}),
        json!({"channel": "in_app", "type": "policy", "title": "t", "message": "m", "colour": "red"}),
        json!({"channel": "fax", "text": "x"}),
    ] {
        assert!(serde_json::from_value::<Source>(json.clone()).is_err(), "{json}");
    }
}
