use std::collections::HashSet;

use fanfare_templates::{Channel, Compiled, Encoding, Rendered, publish, starters};

use crate::{locale, render};

#[test]
fn every_starter_renders_with_its_sample() {
    assert_eq!(starters().len(), 12 * 2 * 3);
    let identities: HashSet<_> = starters().iter().map(|s| (s.slug, s.channel, s.locale)).collect();
    assert_eq!(identities.len(), starters().len());
    for starter in starters() {
        let name = format!("{}-{}-{}", starter.slug, starter.channel.as_str(), starter.locale);
        let rendered = render(&starter.source, &starter.sample, starter.locale)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let shown = match rendered {
            Rendered::Email { subject, html, text } => {
                format!("Subject: {subject}\n\n{text}\n\n----\n{html}")
            }
            Rendered::Sms { text, segments } => format!("{text}\n\n{segments:?}"),
            Rendered::Whatsapp(message) => serde_json::to_string_pretty(&message).unwrap(),
            Rendered::InApp(notice) => serde_json::to_string_pretty(&notice).unwrap(),
        };
        assert!(!shown.contains("{{"), "{name}");
        insta::assert_snapshot!(name, shown);
    }
}

#[test]
fn a_starter_copes_without_a_first_name() {
    for starter in starters() {
        let mut sample = starter.sample.clone();
        sample.as_object_mut().unwrap().remove("first_name");
        render(&starter.source, &sample, starter.locale)
            .unwrap_or_else(|error| panic!("{}: {error}", starter.slug));
    }
}

#[test]
fn samples_hold_what_their_starters_read_and_nothing_else_is_needed() {
    for starter in starters() {
        let published = publish(&starter.source).unwrap();
        for name in &published.variables().required {
            assert!(starter.sample.get(name).is_some(), "{} lacks {name}", starter.slug);
        }
    }
}

#[test]
fn an_sms_of_a_starter_is_one_segment_of_the_seven_bit_alphabet() {
    for starter in starters().iter().filter(|starter| starter.channel == Channel::Sms) {
        let compiled = Compiled::new(&publish(&starter.source).unwrap()).unwrap();
        let Ok(Rendered::Sms { text, segments }) = compiled.render(&starter.sample, &locale(starter.locale))
        else {
            panic!("an SMS")
        };
        assert_eq!(
            (segments.encoding, segments.count),
            (Encoding::Gsm7, 1),
            "{} {}: {text}",
            starter.slug,
            starter.locale
        );
    }
}
