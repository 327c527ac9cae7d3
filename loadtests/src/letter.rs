//! The letter that everybody gets, and what it should read for a person.
//!
//! The second is worked out here with nothing but string replacement: were it rendered by the template crate, a mistake
//! in that crate would agree with itself.

use std::collections::BTreeMap;

use anyhow::Context as _;
use fanfare_engine::domain::channel::Channel;
use fanfare_templates::{EmailBody, InApp, Param, Priority, Published, Source, Whatsapp, publish};

use crate::people::{Person, Renewal};

const SUBJECT: &str = "Policy {{policy_number}} expires on {{date expiry_date}}";
const HTML: &str = include_str!("letter.html");

const SMS: &str = "{{first_name}}, your {{product}} policy {{policy_number}} expires on {{date expiry_date}}. {{agent}} is glad to renew it: reply YES.";
const WHATSAPP: [&str; 5] =
    ["{{first_name}}", "{{product}}", "{{policy_number}}", "{{date expiry_date}}", "{{agent}}"];

pub(crate) fn published(channel: Channel) -> anyhow::Result<Published> {
    let source = match channel {
        Channel::Email => Source::Email {
            subject: SUBJECT.to_owned(),
            preheader: None,
            body: EmailBody::Html(HTML.to_owned()),
            text: None,
        },
        Channel::Sms => Source::Sms { text: SMS.to_owned() },
        Channel::Whatsapp => Source::Whatsapp(Whatsapp::Template {
            name: "policy_renewal".to_owned(),
            language: "en".to_owned(),
            header: None,
            body: WHATSAPP.map(|text| Param { text: text.to_owned(), name: None }).to_vec(),
            buttons: Vec::new(),
        }),
        Channel::InApp => Source::InApp(InApp {
            title: SUBJECT.to_owned(),
            message: SMS.to_owned(),
            data: BTreeMap::new(),
            kind: "policy".to_owned(),
            priority: Priority::Medium,
            days: None,
        }),
    };
    publish(&source).context("the letter of the load test")
}

pub(crate) fn one_time_password() -> anyhow::Result<Published> {
    let source = Source::Email {
        subject: "{{code}} is your code".to_owned(),
        preheader: None,
        body: EmailBody::Html("<p>Your code is <b>{{code}}</b>. It holds for five minutes.</p>".to_owned()),
        text: None,
    };
    publish(&source).context("the one-time password")
}

/// The parts that stand in the receiver's digest: subject and HTML, the text, or the values of a template.
pub(crate) fn expected(channel: Channel, person: Person) -> Vec<String> {
    match channel {
        Channel::Email => vec![fill(SUBJECT, person, str::to_owned), fill(HTML, person, escaped)],
        Channel::Sms => vec![fill(SMS, person, str::to_owned)],
        Channel::Whatsapp => WHATSAPP.map(|text| fill(text, person, str::to_owned)).to_vec(),
        Channel::InApp => [SUBJECT, SMS].map(|text| fill(text, person, str::to_owned)).to_vec(),
    }
}

/// Replaces what stands between double braces.
fn fill(template: &str, person: Person, write: fn(&str) -> String) -> String {
    let mut parts = template.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").expect("every expression of the letter is closed");
        filled.push_str(&write(&value(expression, person)));
        filled.push_str(rest);
    }
    filled
}

fn value(expression: &str, person: Person) -> String {
    let renewal = person.renewal();
    match expression {
        "name" => person.name(),
        "first_name" => person.first_name().to_owned(),
        "product" => person.product().to_owned(),
        // Nothing in it needs percent-encoding.
        "policy_number" | "url_encode policy_number" => person.policy_number(),
        "agent" => person.agent(),
        "money premium" => rupees(renewal.premium_minor),
        "date expiry_date" => long_date(renewal),
        "date expiry_date \"full\"" => format!("{} {}", day_of_week(renewal), long_date(renewal)),
        other => unreachable!("the letter has no expression {other}"),
    }
}

fn rupees(minor: u64) -> String {
    let (mut whole, mut grouped) = (minor / 100, String::new());
    while whole >= 1_000 {
        grouped = format!(",{:03}{grouped}", whole % 1_000);
        whole /= 1_000;
    }
    format!("Rs\u{a0}{whole}{grouped}.{:02}", minor % 100)
}

fn long_date(Renewal { year, month, day, .. }: Renewal) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month =
        usize::try_from(month).ok().and_then(|month| MONTHS.get(month - 1)).expect("a month is 1 to 12");
    format!("{day} {month} {year}")
}

/// Sakamoto's rule.
fn day_of_week(Renewal { year, month, day, .. }: Renewal) -> &'static str {
    const SHIFTS: [u64; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let year = if month < 3 { year - 1 } else { year };
    let shift = SHIFTS[usize::try_from(month - 1).expect("a month is 1 to 12")];
    let at = (year + year / 4 - year / 100 + year / 400 + shift + day) % 7;
    DAYS[usize::try_from(at).expect("below 7")]
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#x27;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use fanfare_templates::{Compiled, Component, Locale, Rendered, TextParameter, WhatsappMessage};

    use super::*;

    fn parts(rendered: Rendered) -> Vec<String> {
        match rendered {
            Rendered::Email { subject, html, text } => {
                assert!(text.contains("MTR-"), "{text}");
                vec![subject, html]
            }
            Rendered::Sms { text, .. } => vec![text],
            Rendered::InApp(notice) => vec![notice.title, notice.message],
            Rendered::Whatsapp(WhatsappMessage::Template { template }) => template
                .components
                .into_iter()
                .flat_map(|component| match component {
                    Component::Body { parameters } => parameters,
                    other => panic!("{other:?}"),
                })
                .map(|TextParameter::Text { text, .. }| text)
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_judge_and_the_template_crate_agree() {
        let english = Locale::parse("en").expect("a locale");
        for &channel in Channel::ALL {
            let compiled = Compiled::new(&published(channel).expect("sound")).expect("compiles");
            for index in (0..3_000).chain([999_999, 9_345_678]) {
                let person = Person::number(index, 1);
                let rendered = compiled.render(&person.variables(), &english).expect("renders");
                assert_eq!(parts(rendered), expected(channel, person), "{channel} {index}");
            }
        }
    }

    #[test]
    fn the_letter_is_about_two_kilobytes() {
        assert!((1_800..3_000).contains(&expected(Channel::Email, Person::number(7, 0))[1].len()));
    }
}
