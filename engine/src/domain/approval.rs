//! Templates that Meta has to approve before anybody is written to with them: what is submitted, and where it stands.
//!
//! A version of ours holds the values of a template's parameters; what Meta approves holds the words around them. Both have to
//! agree, or every message would be refused.

use std::collections::BTreeSet;

use fanfare_templates::{ButtonType, Header, Whatsapp};

use super::channel::text_enum;

text_enum! {
    /// Where a template stands at Meta.
    ApprovalStatus {
        Pending => "pending",
        Approved => "approved",
        Rejected => "rejected",
        /// For a while, because of what recipients said of it.
        Paused => "paused",
        Disabled => "disabled",
    }
}

impl ApprovalStatus {
    /// Meta's words, of its webhooks and of its lists; `None`: nothing that matters for sending.
    pub fn of_meta(word: &str) -> Option<Self> {
        Some(match word.to_ascii_uppercase().as_str() {
            "PENDING" | "IN_APPEAL" => Self::Pending,
            // A template that is flagged is still sent.
            "APPROVED" | "REINSTATED" | "UNARCHIVED" | "FLAGGED" => Self::Approved,
            "REJECTED" => Self::Rejected,
            "PAUSED" | "LIMIT_EXCEEDED" => Self::Paused,
            "DISABLED" | "LOCKED" | "ARCHIVED" | "DELETED" | "PENDING_DELETION" => Self::Disabled,
            _ => return None,
        })
    }

    pub const fn may_be_sent(self) -> bool {
        matches!(self, Self::Approved)
    }
}

text_enum! {
    /// What Meta charges a template as.
    Category {
        Marketing => "marketing",
        Utility => "utility",
        Authentication => "authentication",
    }
}

/// A template as Meta is to approve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    pub name: String,
    /// As Meta writes it: `en`, `en_US`.
    pub language: String,
    pub category: Category,
    pub header: Option<HeaderText>,
    /// With `{{1}}`, `{{2}}` … or `{{name}}` where the parameters stand.
    pub body: String,
    /// A value for each parameter of the body, in the version's order, for whoever looks at it at Meta.
    pub examples: Vec<String>,
    /// Of the body's parameters, where they have any.
    pub names: Vec<String>,
    pub footer: Option<String>,
    pub buttons: Vec<ButtonText>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderText {
    pub text: String,
    /// Of its one parameter, if it has one.
    pub example: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ButtonText {
    pub text: String,
    pub kind: ButtonKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ButtonKind {
    QuickReply,
    /// With `{{1}}` at its end where the version has a parameter for it.
    Url {
        url: String,
        example: Option<String>,
    },
    PhoneNumber(String),
    CopyCode {
        example: String,
    },
}

const BODY: usize = 1_024;
const LINE: usize = 60;
const LABEL: usize = 25;
const URL: usize = 2_000;
const PHONE: usize = 20;
const MOST_BUTTONS: usize = 10;

/// Where the submitted words don't agree with the version that is sent, or with what Meta takes: field and what is wrong.
pub fn faults(submission: &Submission, version: &Whatsapp<String>) -> Vec<(String, String)> {
    let Whatsapp::Template { header, body, buttons, .. } = version else {
        return vec![(
            "version".to_owned(),
            "is no message from a template of Meta's: only those are approved".to_owned(),
        )];
    };
    let mut faults = Faults::default();
    faults.text("body", &submission.body, BODY);
    let wanted: BTreeSet<String> = body
        .iter()
        .enumerate()
        .map(|(at, param)| param.name.clone().unwrap_or_else(|| (at + 1).to_string()))
        .collect();
    faults.same("body", &submission.body, &wanted);
    if submission.examples.len() != body.len() {
        faults.add("examples", format!("must be as many as the version has parameters: {}", body.len()));
    }
    for (at, example) in submission.examples.iter().enumerate() {
        faults.text(&format!("examples[{at}]"), example, BODY);
    }
    faults.header(submission.header.as_ref(), header.as_ref());
    if let Some(footer) = &submission.footer {
        faults.text("footer", footer, LINE);
        faults.same("footer", footer, &BTreeSet::new());
    }
    if submission.buttons.len() > MOST_BUTTONS {
        faults.add("buttons", format!("must be at most {MOST_BUTTONS}"));
    }
    for (at, button) in submission.buttons.iter().enumerate() {
        let given = buttons.iter().find(|given| usize::from(given.index) == at);
        faults.button(at, button, given.map(|given| given.sub_type));
    }
    for given in buttons.iter().filter(|given| usize::from(given.index) >= submission.buttons.len()) {
        faults.add("buttons", format!("lack number {}, for which the version has a value", given.index));
    }
    faults.0
}

/// In which values a version differs from the one that was approved; Meta refuses each message of such a version. A reply button
/// may have a value or not.
pub fn difference(approved: &Whatsapp<String>, version: &Whatsapp<String>) -> Option<String> {
    let (approved, version) = (Values::of(approved)?, Values::of(version)?);
    let differ = |part: &str, approved: &str, version: &str| {
        (approved != version)
            .then(|| format!("{part} was approved with {approved}, and this version has {version}"))
    };
    differ("its body", &approved.body, &version.body)
        .or_else(|| differ("its header", approved.header, version.header))
        .or_else(|| differ("its buttons", &approved.buttons, &version.buttons))
}

/// Where a message from a template has values of its own, in words.
struct Values {
    body: String,
    header: &'static str,
    buttons: String,
}

impl Values {
    fn of(whatsapp: &Whatsapp<String>) -> Option<Self> {
        let Whatsapp::Template { header, body, buttons, .. } = whatsapp else { return None };
        let mut names: Vec<&str> = body.iter().filter_map(|param| param.name.as_deref()).collect();
        names.sort_unstable();
        let mut valued: Vec<String> = buttons
            .iter()
            .filter(|button| button.sub_type != ButtonType::QuickReply)
            .map(|button| match button.sub_type {
                ButtonType::CopyCode => format!("a code for number {}", button.index),
                _ => format!("a part of the address for number {}", button.index),
            })
            .collect();
        valued.sort_unstable();
        Some(Self {
            body: match (body.len(), names.as_slice()) {
                (1, []) => "1 parameter".to_owned(),
                (count, []) => format!("{count} parameters"),
                (_, names) => format!("the parameters {}", names.join(", ")),
            },
            header: match header {
                None => "no value",
                Some(Header::Text { .. }) => "a text",
                Some(Header::Document { .. }) => "a document",
                Some(Header::Image { .. }) => "an image",
            },
            buttons: if valued.is_empty() { "no value".to_owned() } else { valued.join(", ") },
        })
    }
}

#[derive(Default)]
struct Faults(Vec<(String, String)>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push((field.into(), problem.into()));
    }

    fn text(&mut self, field: &str, text: &str, longest: usize) {
        if text.contains('\0') {
            self.add(field, "holds the character NUL, which no text may");
        } else if !(1..=longest).contains(&text.chars().count()) || text.trim().is_empty() {
            self.add(field, format!("must have 1 to {longest} characters"));
        }
    }

    /// A text has these placeholders and no others.
    fn same(&mut self, field: &str, text: &str, wanted: &BTreeSet<String>) {
        let found = placeholders(text);
        if found != *wanted {
            let shown = |names: &BTreeSet<String>| match names.len() {
                0 => "none".to_owned(),
                _ => names.iter().map(|name| format!("{{{{{name}}}}}")).collect::<Vec<_>>().join(", "),
            };
            let problem = format!(
                "must have the parameters that the version has ({}); it has {}",
                shown(wanted),
                shown(&found.iter().take(20).map(|name| name.chars().take(40).collect()).collect())
            );
            self.add(field, problem);
        }
    }

    fn header(&mut self, submitted: Option<&HeaderText>, version: Option<&Header<String>>) {
        match (submitted, version) {
            (None, None) => {}
            (_, Some(Header::Document { .. } | Header::Image { .. })) => {
                self.add("header", "is a file in this version: submit it in Meta's WhatsApp Manager, which takes a sample of it");
            }
            (None, Some(Header::Text { .. })) => {
                self.add("header", "is missing: the version has a value for it")
            }
            (Some(header), version) => {
                self.text("header.text", &header.text, LINE);
                let wanted =
                    if version.is_some() { BTreeSet::from(["1".to_owned()]) } else { BTreeSet::new() };
                self.same("header.text", &header.text, &wanted);
                self.example("header.example", header.example.as_deref(), version.is_some(), LINE);
            }
        }
    }

    /// There is an example where there is a parameter, and only there.
    fn example(&mut self, field: &str, example: Option<&str>, wanted: bool, longest: usize) {
        match example {
            Some(example) if wanted => self.text(field, example, longest),
            None if !wanted => {}
            Some(_) => self.add(field, "is of no parameter: leave it out"),
            None => self.add(field, "is missing: the version has a value for it"),
        }
    }

    fn button(&mut self, at: usize, button: &ButtonText, given: Option<ButtonType>) {
        let field = |part: &str| format!("buttons[{at}].{part}");
        self.text(&field("text"), &button.text, LABEL);
        let (fits, value) = match &button.kind {
            ButtonKind::QuickReply => (matches!(given, None | Some(ButtonType::QuickReply)), None),
            ButtonKind::Url { url, example } => {
                let open = given == Some(ButtonType::Url);
                let wanted = if open { BTreeSet::from(["1".to_owned()]) } else { BTreeSet::new() };
                self.same(&field("url"), url, &wanted);
                if !url.starts_with("https://") || url.contains(char::is_whitespace) {
                    self.add(field("url"), "must be one address that begins with https://");
                }
                self.example(&field("example"), example.as_deref(), open, URL);
                (matches!(given, None | Some(ButtonType::Url)), Some(("url", url, URL)))
            }
            ButtonKind::PhoneNumber(phone) => (given.is_none(), Some(("phoneNumber", phone, PHONE))),
            ButtonKind::CopyCode { example } => {
                (matches!(given, Some(ButtonType::CopyCode)), Some(("example", example, LABEL)))
            }
        };
        if let Some((part, text, longest)) = value {
            self.text(&field(part), text, longest);
        }
        if !fits {
            self.add(field("type"), "is not what the version has a value for");
        }
    }
}

/// What stands between `{{` and `}}`.
fn placeholders(text: &str) -> BTreeSet<String> {
    text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or(rest).trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version() -> Whatsapp<String> {
        serde_json::from_value(json!({
            "kind": "template", "name": "renewal_reminder", "language": "en", "header": {"type": "text", "text": "{{policy}}"},
            "body": [{"text": "{{name}}"}, {"text": "{{date expiry}}"}],
            "buttons": [{"sub_type": "url", "index": 0, "parameter": "{{policy}}"}],
        }))
        .expect("a template")
    }

    fn submission() -> Submission {
        Submission {
            name: "renewal_reminder".to_owned(),
            language: "en".to_owned(),
            category: Category::Utility,
            header: Some(HeaderText { text: "Policy {{1}}".to_owned(), example: Some("POL1".to_owned()) }),
            body: "Dear {{1}}, your policy ends on {{2}}.".to_owned(),
            examples: vec!["Ann".to_owned(), "1 May".to_owned()],
            names: Vec::new(),
            footer: Some("Acme".to_owned()),
            buttons: vec![ButtonText {
                text: "Renew".to_owned(),
                kind: ButtonKind::Url {
                    url: "https://acme.example/{{1}}".to_owned(),
                    example: Some("POL1".to_owned()),
                },
            }],
        }
    }

    fn check(change: impl FnOnce(&mut Submission), expected: &[&str]) {
        let mut submission = submission();
        change(&mut submission);
        let fields: Vec<String> =
            faults(&submission, &version()).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, expected);
    }

    #[test]
    fn what_is_submitted_agrees_with_what_is_sent() {
        check(|_| {}, &[]);
        check(|it| it.body = "Dear {{1}}.".to_owned(), &["body"]);
        check(|it| it.body = "Dear {{1}}, {{2}}, {{name}}".to_owned(), &["body"]);
        check(|it| it.body = String::new(), &["body", "body"]);
        check(|it| it.body.push_str(&"x".repeat(1_024)), &["body"]);
        check(|it| it.examples.truncate(1), &["examples"]);
        check(|it| it.examples[0] = "\0".to_owned(), &["examples[0]"]);
        check(|it| it.header = None, &["header"]);
        check(
            |it| it.header = Some(HeaderText { text: "Policy".to_owned(), example: None }),
            &["header.text", "header.example"],
        );
        check(|it| it.footer = Some("{{1}}".to_owned()), &["footer"]);
        check(|it| it.buttons.clear(), &["buttons"]);
        check(|it| it.buttons[0].kind = ButtonKind::QuickReply, &["buttons[0].type"]);
        check(
            |it| {
                it.buttons[0].kind = ButtonKind::Url { url: "http://acme.example".to_owned(), example: None };
            },
            &["buttons[0].url", "buttons[0].url", "buttons[0].example"],
        );
        check(
            |it| {
                let reply = ButtonText { text: "Later".to_owned(), kind: ButtonKind::QuickReply };
                it.buttons.extend(vec![reply; 10]);
            },
            &["buttons"],
        );
    }

    #[test]
    fn every_word_of_meta_that_matters_is_known() {
        for (word, expected) in [
            ("APPROVED", Some(ApprovalStatus::Approved)),
            ("approved", Some(ApprovalStatus::Approved)),
            ("IN_APPEAL", Some(ApprovalStatus::Pending)),
            ("PENDING_DELETION", Some(ApprovalStatus::Disabled)),
            ("PAUSED", Some(ApprovalStatus::Paused)),
            ("A_WORD_OF_TOMORROW", None),
        ] {
            assert_eq!(ApprovalStatus::of_meta(word), expected, "{word}");
        }
    }
}
