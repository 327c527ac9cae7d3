//! Variables in single braces: on the way to Handlebars and back, and as a recipient reads them.

use fanfare_templates::{Compiled, Locale, Notation, Rendered, Source, publish};
use proptest::prelude::*;
use serde_json::json;

use crate::{render_sms, sms, source};

fn declared() -> Vec<String> {
    ["name", "policy_number"].map(str::to_owned).to_vec()
}

#[test]
fn only_declared_names_between_single_braces_are_variables() {
    for (text, expected) in [
        ("Dear {name}, policy {policy_number}.", "Dear {{name}}, policy {{policy_number}}."),
        ("{ name }{name}", "{{ name }}{{name}}"),
        ("a{color:red} {other} {name", "a{color:red} {other} {name"),
        (r#"{"a": {"b": "{name}"}}"#, r#"{"a": {"b": "{{name}}"}}"#),
        ("{name}} {a{name}} {}", "{name}} {a{name}} {}"),
        ("{{name}} {{other}}", r"\{{name}} \{{other}}"),
        ("{{{name}}}", r"\{{{name}}}"),
        ("{{{{name}}}}", r"\{{\{{name}}}}"),
        (r"\{name} \\{name} \x", r"\\{{name}} \\\{{name}} \x"),
        (r"\{{x", r"\\{{!}}\{{x"),
        ("é{name}é", "é{{name}}é"),
        ("", ""),
    ] {
        let stored = Notation::Single.to_handlebars(text, &declared());
        assert_eq!(stored, expected, "{text}");
        assert_eq!(Notation::Single.of_handlebars(&stored, &declared()), text);
        assert_eq!(Notation::Handlebars.to_handlebars(text, &declared()), text);
        assert_eq!(Notation::Handlebars.of_handlebars(text, &declared()), text);
    }
}

#[test]
fn a_recipient_reads_every_other_brace_as_it_was_written() {
    let text = r#"Dear {name}, {{name}} {{{x}}} {"a": {"b": 1}} \{name} \\{{#if x}} {other} {{!-- y --}}"#;
    let stored = Notation::Single.to_handlebars(text, &declared());
    let read = render_sms(&stored, &json!({"name": "Ann"}), "en").expect("renders");
    assert_eq!(read, text.replacen("{name}", "Ann", 1).replace(r"\{name}", r"\Ann"));
}

#[test]
fn the_notation_is_seen_unless_both_stand_there() {
    let check = |texts: &[&str], expected| {
        assert_eq!(Notation::of(texts.iter().copied(), &declared()), expected, "{texts:?}");
    };
    check(&["Dear {name}"], Some(Notation::Single));
    check(&["Hello", "Dear {name}, {{{x}}}"], Some(Notation::Single));
    check(&["Dear {{name}}"], Some(Notation::Handlebars));
    check(&["Dear {other}"], Some(Notation::Handlebars));
    check(&["Hello {{name}}", "Dear {name}"], None);
    check(&["Dear {name}, {{#if late}}hurry{{/if}}"], None);
    check(&[], Some(Notation::Handlebars));
}

#[test]
fn a_source_is_changed_in_all_its_texts() {
    let declared = declared();
    let single = |text: &str| Notation::Single.to_handlebars(text, &declared);
    let email = source(
        json!({"channel": "email", "subject": "{name}", "preheader": "{name}", "body": {"text": "{name}"}, "text": "{name}"}),
    );
    let mapped = serde_json::to_value(email.map(single)).expect("serialises");
    let expected = json!({"channel": "email", "subject": "{{name}}", "preheader": "{{name}}", "body": {"text": "{{name}}"}, "text": "{{name}}"});
    assert_eq!(mapped, expected);
    let whatsapp = source(json!({"channel": "whatsapp", "kind": "text", "body": "Dear {name}"}));
    let mapped = serde_json::to_value(whatsapp.map(single)).expect("serialises");
    assert_eq!(mapped["body"], "Dear {{name}}");
}

#[test]
fn a_plain_text_becomes_html_that_says_the_same() {
    let text = "Dear {{name}} <ann&co>,\n\n{{#if late}}\nHurry!\n{{/if}}\nYours";
    let plain: Source = source(json!({"channel": "email", "subject": "s", "body": {"text": text}}));
    let compiled = Compiled::new(&publish(&plain).expect("sound")).expect("compiles");
    let variables = json!({"name": "<b>", "late": true});
    let Ok(Rendered::Email { html, text, .. }) = compiled.render(&variables, &Locale::default()) else {
        panic!("an e-mail")
    };
    assert_eq!(text, "Dear <b> <ann&co>,\n\nHurry!\nYours");
    assert!(html.contains("Dear &lt;b&gt; &lt;ann&amp;co&gt;,<br>\n<br>\n"), "{html}");
    assert!(html.contains("Hurry!<br>\n") && !html.contains("<br>\n<br>\nYours"), "{html}");
}

fn braced() -> impl Strategy<Value = String> {
    r"([{}\\a \n\x22:]|\{name\}|\{\{name\}\}|\{ name \}|\{\{!\}\}|policy_number|name){0,30}"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_text_comes_back(text in braced()) {
        let stored = Notation::Single.to_handlebars(&text, &declared());
        prop_assert_eq!(Notation::Single.of_handlebars(&stored, &declared()), text);
    }

    #[test]
    fn any_text_comes_back(text in "\\PC{0,60}", name in "[a-z]{1,3}") {
        let stored = Notation::Single.to_handlebars(&text, std::slice::from_ref(&name));
        prop_assert_eq!(Notation::Single.of_handlebars(&stored, &[name]), text);
    }

    #[test]
    fn every_text_is_read_as_written(text in r"x([{}\\a \x22:]|\{name\}|\{\{name\}\}|\{\{!\}\}|name){0,30}") {
        let stored = Notation::Single.to_handlebars(&text, &declared());
        let published = publish(&sms(&stored)).expect("nothing but declared names is read as an expression");
        let compiled = Compiled::new(&published).expect("compiles");
        // A variable whose value is its own notation leaves the text as it was written.
        let Ok(Rendered::Sms { text: read, .. }) = compiled.render(&json!({"name": "{name}"}), &Locale::default()) else {
            panic!("an SMS")
        };
        // Spaces around a name in braces are no part of what is read.
        if ["{ ", " }"].iter().any(|spaced| text.contains(spaced)) {
            prop_assert_eq!(read.replace(' ', ""), text.replace(' ', ""));
        } else {
            prop_assert_eq!(read, text);
        }
    }
}

#[test]
fn spaces_around_a_name_are_no_text() {
    let stored = Notation::Single.to_handlebars("x{name }\"{  name}", &declared());
    assert_eq!(render_sms(&stored, &json!({"name": "Ann"}), "en").expect("renders"), "xAnn\"Ann");
}
