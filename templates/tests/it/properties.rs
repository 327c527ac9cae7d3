use fanfare_templates::{Compiled, Locale, Rendered, publish, starters};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{locale, sms, source};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        "\\PC{0,12}".prop_map(Value::from),
        "[{}<>&\"'\r\n\u{0}é=0-9-]{0,12}".prop_map(Value::from),
        Just(json!({"minor": i64::MIN, "currency": "JPY"})),
        Just(json!("2026-12-15")),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn kitchen_sink() -> Compiled {
    let text = "{{#if a}}{{a}}{{/if}}{{default b \"x\"}}{{#each l}}{{@index}}{{this}}{{else}}none{{/each}}{{#if (and c d)}}{{upper c}}{{/if}}\
                {{#if e}}{{date e}}{{money e}}{{number e}}{{plural e one=\"1\" other=\"n\"}}{{url_encode e}}{{/if}}{{#if (not f)}}{{f}}{{/if}}";
    let source = source(
        json!({"channel": "email", "subject": text, "body": {"html": format!("<p>{text}</p>")}, "text": text}),
    );
    Compiled::new(&publish(&source).unwrap()).unwrap()
}

const CALLS: &[&str] = &[
    "v",
    "date v",
    "date v \"full\"",
    "money v",
    "number v",
    "upper v",
    "lower v",
    "url_encode v",
    "default v \"<x>\"",
    "default v 5",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn rendering_never_panics(values in prop::collection::vec(value(), 7), french in any::<bool>()) {
        let variables: Map<_, _> = "abcdefl".chars().map(String::from).zip(values).collect();
        let locale = locale(if french { "fr" } else { "en" });
        if let Ok(Rendered::Email { subject, .. }) = kitchen_sink().render(&Value::Object(variables), &locale) {
            prop_assert!(!subject.contains(char::is_control));
        }
    }

    #[test]
    fn starters_never_panic(index in any::<prop::sample::Index>(), name in any::<prop::sample::Index>(), value in value()) {
        let starter = index.get(starters());
        let mut sample = starter.sample.clone();
        let object = sample.as_object_mut().unwrap();
        let key = object.keys().nth(name.index(object.len())).unwrap().clone();
        object.insert(key, value);
        let compiled = Compiled::new(&publish(&starter.source).unwrap()).unwrap();
        drop(compiled.render(&sample, &locale(starter.locale)));
    }

    #[test]
    fn publishing_never_panics(text in "([{}#/a-z \"'()~!&>@.\\[\\]\\\\é]|\\{\\{|\\}\\}|\\{\\{#if a\\}\\}|\\{\\{/if\\}\\}|<mj-text>|</p>){0,40}") {
        drop(publish(&sms(&text)));
        drop(publish(&source(json!({"channel": "email", "subject": "s", "body": {"html": text.clone()}}))));
        drop(publish(&source(json!({"channel": "email", "subject": "s", "body": {"mjml": text}}))));
    }

    #[test]
    fn a_value_is_written_as_it_is(value in "\\PC{1,40}") {
        prop_assume!(!value.trim().is_empty());
        let compiled = Compiled::new(&publish(&sms("{{v}}")).unwrap()).unwrap();
        let Ok(Rendered::Sms { text, .. }) = compiled.render(&json!({"v": value.clone()}), &Locale::default()) else { panic!("an SMS") };
        prop_assert_eq!(text, value);
    }

    /// Inside a block Handlebars makes the call, outside nobody needs to.
    #[test]
    fn a_call_is_the_same_inside_a_block(value in value(), there in any::<bool>(), french in any::<bool>()) {
        let locale = locale(if french { "fr" } else { "en" });
        let mut variables = json!({"yes": true});
        if there {
            variables["v"] = value;
        }
        for call in CALLS {
            let rendered = |text: String| {
                let source = source(json!({"channel": "email", "subject": "s", "body": {"html": format!("<p>{text}</p>")}, "text": text}));
                Compiled::new(&publish(&source).unwrap()).unwrap().render(&variables, &locale)
            };
            let outside = rendered(format!("-\n{{{{{call}}}}}"));
            prop_assert_eq!(outside, rendered(format!("{{{{#if yes}}}}-\n{{{{{call}}}}}{{{{/if}}}}")), "{}", call);
        }
    }

    #[test]
    fn locales_are_parsed_or_refused(text in "\\PC{0,20}") {
        if let Ok(locale) = Locale::parse(&text) {
            prop_assert_eq!(Locale::parse(locale.as_str()), Ok(locale.clone()));
        }
    }
}
