//! A WhatsApp message by its kinds, whatever its texts are: source, parsed or rendered.
//!
//! One shape, [`Whatsapp<T>`], carries all three, so that each kind is written once and walked by one function, `try_map`.
//! Names of approved templates, languages, parameter names and button indices are literals; everything else is a text.

pub(crate) mod check;
pub(crate) mod message;

use std::fmt;

use serde::{Deserialize, Serialize};

/// A message of the WhatsApp Cloud API. Free-form kinds reach people only inside the customer-service window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Whatsapp<T> {
    Text {
        body: T,
        #[serde(default)]
        preview_url: bool,
    },
    /// A template approved by Meta, and the values of its parameters.
    Template {
        name: String,
        /// As approved, such as `en` or `en_US`.
        language: String,
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        header: Option<Header<T>>,
        #[serde(default = "Vec::new")]
        body: Vec<Param<T>>,
        #[serde(default = "Vec::new")]
        buttons: Vec<Button<T>>,
    },
    Document {
        link: T,
        filename: T,
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        caption: Option<T>,
    },
    Image {
        link: T,
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        caption: Option<T>,
    },
    Interactive {
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        header: Option<T>,
        body: T,
        #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
        footer: Option<T>,
        action: Action<T>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Header<T> {
    Text { text: T },
    Document { link: T, filename: T },
    Image { link: T },
}

/// One parameter of a template's body. Either all parameters of a body are named or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Param<T> {
    pub text: T,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The value of a template's button.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Button<T> {
    pub sub_type: ButtonType,
    /// The button's position in the approved template, 0 to 9.
    pub index: u8,
    pub parameter: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonType {
    QuickReply,
    Url,
    CopyCode,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action<T> {
    Buttons(Vec<ReplyChoice<T>>),
    List { button: T, sections: Vec<Section<T>> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplyChoice<T> {
    pub id: T,
    pub title: T,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section<T> {
    pub title: T,
    pub rows: Vec<Row<T>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row<T> {
    pub id: T,
    pub title: T,
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub description: Option<T>,
}

/// What WhatsApp allows a text to be: its longest length in characters, and its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) chars: usize,
    pub(crate) form: TextForm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextForm {
    Free,
    /// White space becomes single spaces: WhatsApp refuses line breaks, tabs and runs of spaces here.
    Line,
    Link,
}

const fn free(chars: usize) -> Rule {
    Rule { chars, form: TextForm::Free }
}

const fn line(chars: usize) -> Rule {
    Rule { chars, form: TextForm::Line }
}

const LINK: Rule = Rule { chars: 2048, form: TextForm::Link };
const BODY: usize = 1024;
const SHORT: usize = 60;
const LABEL: usize = 20;

impl<T> Whatsapp<T> {
    /// Changes every text, given its path (`whatsapp.body[0]`) and its rule.
    pub(crate) fn try_map<U, E>(
        &self,
        mut f: impl FnMut(fmt::Arguments<'_>, Rule, &T) -> Result<U, E>,
    ) -> Result<Whatsapp<U>, E> {
        Ok(match self {
            Self::Text { body, preview_url } => Whatsapp::Text {
                body: f(format_args!("whatsapp.body"), free(4096), body)?,
                preview_url: *preview_url,
            },
            Self::Template { name, language, header, body, buttons } => Whatsapp::Template {
                name: name.clone(),
                language: language.clone(),
                header: header.as_ref().map(|header| header.try_map(&mut f)).transpose()?,
                body: collect(body, |i, param| {
                    let text = f(format_args!("whatsapp.body[{i}]"), line(BODY), &param.text)?;
                    Ok(Param { text, name: param.name.clone() })
                })?,
                buttons: collect(buttons, |i, button| {
                    let rule = button.sub_type.rule();
                    let parameter =
                        f(format_args!("whatsapp.buttons[{i}].parameter"), rule, &button.parameter)?;
                    Ok(Button { sub_type: button.sub_type, index: button.index, parameter })
                })?,
            },
            Self::Document { link, filename, caption } => Whatsapp::Document {
                link: f(format_args!("whatsapp.link"), LINK, link)?,
                filename: f(format_args!("whatsapp.filename"), line(240), filename)?,
                caption: optional(caption, |caption| {
                    f(format_args!("whatsapp.caption"), free(BODY), caption)
                })?,
            },
            Self::Image { link, caption } => Whatsapp::Image {
                link: f(format_args!("whatsapp.link"), LINK, link)?,
                caption: optional(caption, |caption| {
                    f(format_args!("whatsapp.caption"), free(BODY), caption)
                })?,
            },
            Self::Interactive { header, body, footer, action } => Whatsapp::Interactive {
                header: optional(header, |header| f(format_args!("whatsapp.header"), line(SHORT), header))?,
                body: f(format_args!("whatsapp.body"), free(BODY), body)?,
                footer: optional(footer, |footer| f(format_args!("whatsapp.footer"), line(SHORT), footer))?,
                action: action.try_map(&mut f)?,
            },
        })
    }

    pub(crate) fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> Whatsapp<U> {
        match self.try_map(|_, _, text| Ok::<U, std::convert::Infallible>(f(text))) {
            Ok(mapped) => mapped,
            Err(never) => match never {},
        }
    }
}

impl ButtonType {
    fn rule(self) -> Rule {
        match self {
            Self::QuickReply => line(256),
            Self::Url => line(2000),
            Self::CopyCode => line(15),
        }
    }
}

impl<T> Header<T> {
    fn try_map<U, E>(
        &self,
        f: &mut impl FnMut(fmt::Arguments<'_>, Rule, &T) -> Result<U, E>,
    ) -> Result<Header<U>, E> {
        Ok(match self {
            Self::Text { text } => {
                Header::Text { text: f(format_args!("whatsapp.header.text"), line(SHORT), text)? }
            }
            Self::Document { link, filename } => Header::Document {
                link: f(format_args!("whatsapp.header.link"), LINK, link)?,
                filename: f(format_args!("whatsapp.header.filename"), line(240), filename)?,
            },
            Self::Image { link } => {
                Header::Image { link: f(format_args!("whatsapp.header.link"), LINK, link)? }
            }
        })
    }
}

impl<T> Action<T> {
    fn try_map<U, E>(
        &self,
        f: &mut impl FnMut(fmt::Arguments<'_>, Rule, &T) -> Result<U, E>,
    ) -> Result<Action<U>, E> {
        Ok(match self {
            Self::Buttons(buttons) => Action::Buttons(collect(buttons, |i, button| {
                Ok(ReplyChoice {
                    id: f(format_args!("whatsapp.action.buttons[{i}].id"), line(256), &button.id)?,
                    title: f(format_args!("whatsapp.action.buttons[{i}].title"), line(LABEL), &button.title)?,
                })
            })?),
            Self::List { button, sections } => Action::List {
                button: f(format_args!("whatsapp.action.button"), line(LABEL), button)?,
                sections: collect(sections, |i, section| section.try_map(i, f))?,
            },
        })
    }
}

impl<T> Section<T> {
    fn try_map<U, E>(
        &self,
        i: usize,
        f: &mut impl FnMut(fmt::Arguments<'_>, Rule, &T) -> Result<U, E>,
    ) -> Result<Section<U>, E> {
        let title = f(format_args!("whatsapp.action.sections[{i}].title"), line(24), &self.title)?;
        let rows = collect(&self.rows, |j, row| {
            Ok(Row {
                id: f(format_args!("whatsapp.action.sections[{i}].rows[{j}].id"), line(200), &row.id)?,
                title: f(
                    format_args!("whatsapp.action.sections[{i}].rows[{j}].title"),
                    line(24),
                    &row.title,
                )?,
                description: optional(&row.description, |text| {
                    f(format_args!("whatsapp.action.sections[{i}].rows[{j}].description"), line(72), text)
                })?,
            })
        })?;
        Ok(Section { title, rows })
    }
}

fn collect<A, B, E>(items: &[A], mut f: impl FnMut(usize, &A) -> Result<B, E>) -> Result<Vec<B>, E> {
    items.iter().enumerate().map(|(i, item)| f(i, item)).collect()
}

fn optional<A, B, E>(item: &Option<A>, f: impl FnOnce(&A) -> Result<B, E>) -> Result<Option<B>, E> {
    item.as_ref().map(f).transpose()
}
