use fanfare_templates::{Rendered, publish};
use serde_json::{Value, json};

use crate::{refused, render, source};

fn mjml(body: &str) -> fanfare_templates::Source {
    let mjml =
        format!("<mjml><mj-body><mj-section><mj-column>{body}</mj-column></mj-section></mj-body></mjml>");
    source(json!({"channel": "email", "subject": "s", "body": {"mjml": mjml}}))
}

fn email(source: &fanfare_templates::Source, variables: &Value) -> (String, String) {
    match render(source, variables, "en") {
        Ok(Rendered::Email { html, text, .. }) => (html, text),
        other => panic!("an e-mail, not {other:?}"),
    }
}

#[test]
fn placeholders_survive_mjml() {
    let source = mjml(
        "<mj-text>Dear {{default name \"you\"}}, {{#if (eq kind \"x\")}}<b>{{money due}}</b>{{else}}nothing{{/if}}</mj-text>\
         <mj-button href=\"{{url}}?a=1&amp;n={{url_encode name}}\">Pay {{name}}</mj-button>\
         <mj-image src=\"{{image}}\" alt=\"{{name}}\" />",
    );
    let v = json!({"name": "A & B", "kind": "x", "due": {"minor": 5, "currency": "MUR"}, "url": "https://e.example/p", "image": "https://e.example/i.png"});
    let (html, text) = email(&source, &v);
    for expected in [
        "Dear A &amp; B, <b>Rs\u{a0}0.05</b>",
        "href=\"https://e.example/p?a=1&amp;n=A%20%26%20B\"",
        "src=\"https://e.example/i.png\"",
        "alt=\"A &amp; B\"",
    ] {
        assert!(html.contains(expected), "{expected} in {html}");
    }
    assert!(!html.contains("{{") && !html.contains("fonts.googleapis"), "{html}");
    assert!(text.contains("Dear A & B, Rs\u{a0}0.05\n"), "{text}");
    assert!(text.contains("Pay A & B (https://e.example/p?a=1&n=A%20%26%20B)"), "{text}");
}

#[test]
fn blocks_may_stand_around_elements_of_mjml() {
    let source = mjml("<mj-text>Always</mj-text>{{#if a}}<mj-text>Sometimes</mj-text>{{/if}}");
    for (a, expected) in [(true, "Always\n\nSometimes"), (false, "Always")] {
        let (html, text) = email(&source, &json!({ "a": a }));
        assert_eq!(html.contains("Sometimes"), a);
        assert_eq!(text.trim_end(), expected);
    }
}

#[test]
fn the_text_part_follows_the_html() {
    let html = "<html><head><title>t</title><style>p{color:red}</style></head><body><h1>Hello {{name}}</h1>\
                <p>Items, wrapped over a line that is longer than seventy-eight characters by a good measure:</p>\
                <ul>{{#each items}}<li>{{this}}</li>{{/each}}</ul>{{#if late}}<p>Late &amp; <i>due</i>.</p>{{/if}}\
                <p><a href=\"{{url}}\">Open</a> or <a href=\"#top\">go up</a></p></body></html>";
    let source = source(
        json!({"channel": "email", "subject": "s", "preheader": "hidden {{name}}", "body": {"html": html}}),
    );
    let v = json!({"name": "Ann", "items": ["one", "two"], "late": true, "url": "https://e.example/"});
    let (html, text) = email(&source, &v);
    insta::assert_snapshot!(text);
    assert!(html.contains("<body><div style=\"display:none"), "{html}");
    assert!(!text.contains("hidden"));
}

#[test]
fn a_text_part_that_cannot_follow_is_asked_for() {
    let html = "<table>{{#each rows}}<tr><td>{{this}}</td></tr>{{/each}}</table>";
    let error = refused(&source(json!({"channel": "email", "subject": "s", "body": {"html": html}})));
    assert!(error.to_string().contains("write the text part yourself"), "{error}");
    let own = source(
        json!({"channel": "email", "subject": "s", "body": {"html": html}, "text": "{{#each rows}}{{this}} {{/each}}"}),
    );
    let (html, text) = email(&own, &json!({"rows": [1, 2]}));
    assert_eq!(
        (html.as_str(), text.as_str()),
        ("<table><tr><td>1</td></tr><tr><td>2</td></tr></table>", "1 2 ")
    );
}

#[test]
fn mjml_faults_are_explained() {
    for (body, told) in [
        ("<mj-text a=>x</mj-text>", "valid MJML"),
        ("<mj-paragraph>x</mj-paragraph>", "<mj-paragraph> is not"),
        ("<mj-text colour=\"{{name}}\">x</mj-text>", "would be lost"),
        ("<mj-include path=\"/etc/passwd\" />", "mj-include"),
        ("<mj-text>{{unknown x}}</mj-text>", "no helper"),
        (&"<div>".repeat(100_000), "longer than"),
        (&"<div>".repeat(1_000), "nested"),
    ] {
        let error = refused(&mjml(body));
        assert_eq!(error.part(), "mjml", "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
    assert!(
        publish(&source(json!({"channel": "email", "subject": "s", "body": {"mjml": "<p>no</p>"}}))).is_err()
    );
}

#[test]
fn hostile_html_neither_crashes_nor_stalls() {
    let nested =
        |tag: &str, n: usize| format!("{}x{}", format!("<{tag}>").repeat(n), format!("</{tag}>").repeat(n));
    for html in [
        nested("div", 20_000),
        nested("b", 20_000),
        nested("table><tr><td", 2_000),
        nested("table><tr><td", 60),
        nested("ul><li", 60),
        nested("blockquote", 5_000),
        nested("table role=\"presentation\"><tr><td", 60),
        "<table role=\"presentation\">".to_owned() + &"<tr><td>".repeat(20_000),
        "<p>".repeat(60_000),
        "x ".repeat(60_000),
        "<tr><td>".repeat(20_000),
        "<td>x".repeat(20_000),
        format!("<table>{}", "<tr><td>x".repeat(10_000)),
        format!("<table><tr>{}", "<td>x".repeat(10_000)),
        "<a href='x'>".repeat(10_000),
        "<li>".repeat(30_000),
        "<".repeat(200_000),
    ] {
        drop(publish(&source(json!({"channel": "email", "subject": "s", "body": {"html": html}}))));
    }
}
