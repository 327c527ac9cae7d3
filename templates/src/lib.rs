//! From a template's source to a rendered message: publish, compile, render.
//!
//! 1. **Publish** ([`publish`]): an author's [`Source`] is checked whole, MJML becomes HTML, a text part is derived where none was
//!    written, and the variables are collected. The result, [`Published`], is serialisable and never changes again: it is what a
//!    database keeps and a campaign pins.
//! 2. **Compile** ([`Compiled::new`]): once per published version and process. Every part is parsed.
//! 3. **Render** ([`Compiled::render`]): once per recipient, from many threads, without parsing anything.
//!
//! Guarantees:
//!
//! - The crate is pure: no IO, no clock, no randomness, no global state that changes. Equal arguments give equal messages.
//! - A variable that is missing or null where its value is needed is an error that names it; nobody gets "Dear ,".
//! - Values are data: they are escaped in HTML, never parsed as templates, and never break a subject into header lines.
//! - Whatever an author writes and a recipient's data hold, the work and the output of one rendering are bounded (`limits`).
//!
//! Absent on purpose: partials, includes, raw (unescaped) output, script helpers and any access to files or network. What a sender
//! wrote whole ([`as_written`]) passes through as it is: no author's template can do that.

pub mod limits;

mod error;
mod helpers;
mod in_app;
mod locale;
mod mail;
mod notation;
mod part;
mod pinned;
mod publish;
mod render;
mod scan;
mod segments;
mod source;
mod starters;
mod variables;
mod whatsapp;

pub use error::{PublishError, RenderError};
pub use in_app::{InApp, Priority};
pub use locale::{Locale, LocaleError};
pub use mail::{CLICK_URL, Link, OPEN_URL, SHORT_URL, html_from_text, text_from_html};
pub use notation::Notation;
pub use publish::{Published, as_written, publish};
pub use render::{Compiled, Given, PREFERENCES_URL, Rendered, UNSUBSCRIBE_URL};
pub use segments::{Encoding, Segments, segments};
pub use source::{Channel, EmailBody, Source};
pub use starters::{Class, Starter, starters};
pub use variables::Variables;
pub use whatsapp::message::{
    ActionObject, ButtonParameter, Code, Component, HeaderParameter, InteractiveObject, MediaObject,
    ReplyButton, ReplyObject, TemplateObject, TextObject, TextParameter, TextValue, WhatsappMessage,
};
pub use whatsapp::{Action, Button, ButtonType, Header, Param, ReplyChoice, Row, Section, Whatsapp};
