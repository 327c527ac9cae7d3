//! What Brevo allows in an e-mail request, and the mails that an allowed one means: one for a single request, one for
//! each version of a batch.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::email::{Attachment, EmailRequest, Headers, Person, Version};
use super::substitute::substitute;
use super::{Refusal, Text, given, is_email};

/// One mail, possibly to several people, with its values put in.
#[derive(Debug)]
pub(crate) struct Mail<'r> {
    pub(crate) people: Vec<&'r str>,
    pub(crate) subject: Cow<'r, str>,
    pub(crate) html: Cow<'r, str>,
    /// `X-Mailin-custom`.
    pub(crate) custom: &'r str,
}

const MAX_NAME: usize = 70;
const MAX_VERSIONS: usize = 1_000;
const MAX_PEOPLE: usize = 2_000;
const MAX_PEOPLE_OF_VERSION: usize = 99;
const MAX_PARAMS: usize = 100 * 1_024;
const MAX_PARAMS_OF_ALL: usize = 1_000 * 1_024;

/// File types that Brevo takes.
const EXTENSIONS: &str = "xlsx xls ods docx docm doc csv pdf txt gif jpg jpeg png tif tiff rtf bmp cgm css shtml html \
    htm zip xml ppt pptx tar ez ics mobi msg pub eps odt mp3 m4a m4v wma ogg flac wav aif aifc aiff mp4 mov avi mkv \
    mpeg mpg wmv pkpass xlsm";

pub(crate) fn mails<'r>(
    request: &'r EmailRequest<'_>,
    wall_us: u64,
    uuid_keys: bool,
) -> Result<Vec<Mail<'r>>, Refusal> {
    check_sender(request)?;
    check_template(request.template_id)?;
    check_content(request)?;
    check_extras(request, wall_us, uuid_keys)?;
    match &request.message_versions {
        Some(versions) => versions_of(request, versions),
        None => single(request).map(|mail| vec![mail]),
    }
}

fn single<'r>(request: &'r EmailRequest<'_>) -> Result<Mail<'r>, Refusal> {
    let people = people(request.to.as_ref(), request.cc.as_ref(), request.bcc.as_ref())?;
    if people.len() > MAX_PEOPLE {
        return Err(Refusal::invalid(format!("to, cc and bcc may hold {MAX_PEOPLE} recipients at most")));
    }
    check_params(request.params)?;
    Ok(Mail {
        people,
        subject: substitute(given(&request.subject).unwrap_or_default(), request.params),
        html: html(given(&request.html_content), request.template_id, request.params),
        custom: custom(request.headers.as_ref()),
    })
}

fn versions_of<'r>(
    request: &'r EmailRequest<'_>,
    versions: &'r [Version<'_>],
) -> Result<Vec<Mail<'r>>, Refusal> {
    if versions.is_empty() {
        return Err(Refusal::missing("messageVersions is empty"));
    }
    if versions.len() > MAX_VERSIONS {
        return Err(Refusal::invalid(format!("messageVersions may hold {MAX_VERSIONS} versions at most")));
    }
    check_params(request.params)?;
    let mails: Vec<_> =
        versions.iter().map(|version| version_of(request, version)).collect::<Result<_, _>>()?;
    if mails.iter().map(|mail| mail.people.len()).sum::<usize>() > MAX_PEOPLE {
        return Err(Refusal::invalid(format!("messageVersions may hold {MAX_PEOPLE} recipients at most")));
    }
    let params =
        versions.iter().filter_map(|version| version.params).map(|params| params.get().len()).sum::<usize>();
    if params > MAX_PARAMS_OF_ALL {
        return Err(Refusal::invalid("params of all messageVersions may have 1000 KB at most"));
    }
    Ok(mails)
}

fn version_of<'r>(request: &'r EmailRequest<'_>, version: &'r Version<'_>) -> Result<Mail<'r>, Refusal> {
    let people = people(version.to.as_ref(), version.cc.as_ref(), version.bcc.as_ref())?;
    if people.len() > MAX_PEOPLE_OF_VERSION {
        return Err(Refusal::invalid(format!(
            "a version may have {MAX_PEOPLE_OF_VERSION} recipients at most"
        )));
    }
    check_params(version.params)?;
    check_template(version.template_id)?;
    if let Some(reply_to) = &version.reply_to {
        check_person(reply_to, "replyTo")?;
    }
    if version.template_id.is_some() && request.template_id.is_none() {
        return Err(Refusal::invalid("templateId of a version needs a templateId outside messageVersions"));
    }
    let global_text = given(&request.html_content).or(given(&request.text_content)).is_some();
    if !global_text && given(&version.html_content).or(given(&version.text_content)).is_some() {
        return Err(Refusal::invalid(
            "content of a version needs htmlContent or textContent outside messageVersions",
        ));
    }
    let params = version.params.or(request.params);
    let subject = given(&version.subject).or(given(&request.subject)).unwrap_or_default();
    let own_html = given(&version.html_content).or(given(&request.html_content));
    let own_custom = version.headers.as_ref().and_then(|headers| headers.custom.as_ref()).map(Text::as_str);
    Ok(Mail {
        people,
        subject: substitute(subject, params),
        html: html(own_html, version.template_id.or(request.template_id), params),
        custom: own_custom.unwrap_or_else(|| custom(request.headers.as_ref())),
    })
}

/// The HTML with its values; of a stored template the sandbox knows only the number and the values.
fn html<'r>(html: Option<&'r str>, template_id: Option<i64>, params: Option<&RawValue>) -> Cow<'r, str> {
    match template_id {
        Some(id) => Cow::Owned(format!("template:{id}:{}", params.map_or("", RawValue::get))),
        None => substitute(html.unwrap_or_default(), params),
    }
}

fn custom<'r>(headers: Option<&'r Headers<'_>>) -> &'r str {
    headers.and_then(|headers| headers.custom.as_ref()).map(Text::as_str).unwrap_or_default()
}

fn check_sender(request: &EmailRequest<'_>) -> Result<(), Refusal> {
    let Some(sender) = &request.sender else {
        return match request.template_id {
            Some(_) => Ok(()),
            None => Err(Refusal::missing("sender is missing")),
        };
    };
    if let Some(id) = sender.id {
        return if id > 0 { Ok(()) } else { Err(Refusal::invalid("sender.id is not valid")) };
    }
    match given(&sender.email) {
        None => Err(Refusal::missing("email is missing in sender")),
        Some(email) if !is_email(email) => Err(Refusal::invalid("email is not valid in sender")),
        Some(_) => check_name(&sender.name, "sender"),
    }
}

fn check_template(template_id: Option<i64>) -> Result<(), Refusal> {
    match template_id {
        Some(id) if id < 1 => Err(Refusal::invalid("templateId is not valid")),
        _ => Ok(()),
    }
}

fn check_content(request: &EmailRequest<'_>) -> Result<(), Refusal> {
    if request.template_id.is_some() {
        return Ok(());
    }
    if given(&request.subject).is_none() {
        let everywhere = request.message_versions.as_ref().is_some_and(|versions| {
            !versions.is_empty() && versions.iter().all(|version| given(&version.subject).is_some())
        });
        if !everywhere {
            return Err(Refusal::missing("subject is missing"));
        }
    }
    // Text alone is turned away as well: Brevo wants HTML.
    if given(&request.html_content).is_none() {
        Err(Refusal::missing("htmlContent is missing"))
    } else {
        Ok(())
    }
}

fn check_extras(request: &EmailRequest<'_>, wall_us: u64, uuid_keys: bool) -> Result<(), Refusal> {
    if let Some(reply_to) = &request.reply_to {
        check_person(reply_to, "replyTo")?;
    }
    if request.tags.as_ref().is_some_and(|tags| tags.iter().any(|tag| tag.as_str().is_empty())) {
        return Err(Refusal::invalid("tags may not be empty"));
    }
    for attachment in request.attachment.iter().flatten() {
        check_attachment(attachment)?;
    }
    if let Some(at) = given(&request.scheduled_at) {
        check_schedule(at, wall_us)?;
    }
    if let Some(id) = given(&request.batch_id)
        && !uuid::Uuid::try_parse(id).is_ok_and(|id| id.get_version_num() == 4)
    {
        return Err(Refusal::invalid("batchId is not a UUIDv4"));
    }
    let key = request.headers.as_ref().and_then(|headers| headers.idempotency_key.as_ref());
    match key {
        Some(key) if uuid_keys && uuid::Uuid::try_parse(key.as_str()).is_err() => {
            Err(Refusal::invalid("Idempotency-Key is not a UUID"))
        }
        _ => Ok(()),
    }
}

fn people<'r>(
    to: Option<&'r Vec<Person<'_>>>,
    cc: Option<&'r Vec<Person<'_>>>,
    bcc: Option<&'r Vec<Person<'_>>>,
) -> Result<Vec<&'r str>, Refusal> {
    let to = to.filter(|to| !to.is_empty()).ok_or_else(|| Refusal::missing("to is missing"))?;
    let mut addresses = Vec::with_capacity(to.len());
    for (list, field) in [(Some(to), "to"), (cc, "cc"), (bcc, "bcc")] {
        for person in list.into_iter().flatten() {
            addresses.push(check_person(person, field)?);
        }
    }
    Ok(addresses)
}

fn check_person<'r>(person: &'r Person<'_>, field: &str) -> Result<&'r str, Refusal> {
    let email =
        given(&person.email).ok_or_else(|| Refusal::missing(format!("email is missing in {field}")))?;
    if !is_email(email) {
        return Err(Refusal::invalid(format!("email is not valid in {field}")));
    }
    check_name(&person.name, field)?;
    Ok(email)
}

fn check_name(name: &Option<Text<'_>>, field: &str) -> Result<(), Refusal> {
    match given(name) {
        Some(name) if name.len() > MAX_NAME && name.chars().count() > MAX_NAME => {
            Err(Refusal::invalid(format!("name is too long in {field}")))
        }
        _ => Ok(()),
    }
}

fn check_params(params: Option<&RawValue>) -> Result<(), Refusal> {
    let Some(params) = params.map(RawValue::get) else { return Ok(()) };
    if !params.starts_with('{') {
        return Err(Refusal::invalid("params should be an object"));
    }
    if params.len() > MAX_PARAMS {
        return Err(Refusal::invalid("params may have 100 KB at most"));
    }
    Ok(())
}

fn check_attachment(attachment: &Attachment<'_>) -> Result<(), Refusal> {
    let name = given(&attachment.name);
    match (given(&attachment.url), given(&attachment.content)) {
        (None, None) => return Err(Refusal::missing("url or content is missing in attachment")),
        (Some(url), _) if !url.starts_with("https://") && !url.starts_with("http://") => {
            return Err(Refusal::invalid("url is not valid in attachment"));
        }
        (None, Some(_)) if name.is_none() => return Err(Refusal::missing("name is missing in attachment")),
        (None, Some(content)) if STANDARD.decode(content).is_err() => {
            return Err(Refusal::invalid("content is not valid base64 in attachment"));
        }
        _ => {}
    }
    let Some(name) = name else { return Ok(()) };
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    if extension.is_some_and(|extension| EXTENSIONS.split_ascii_whitespace().any(|known| known == extension))
    {
        Ok(())
    } else {
        Err(Refusal::invalid("Unsupported file format in attachment"))
    }
}

fn check_schedule(at: &str, wall_us: u64) -> Result<(), Refusal> {
    let at: jiff::Timestamp =
        at.parse().map_err(|_| Refusal::invalid("scheduledAt is not a valid date-time"))?;
    if at.as_microsecond() < i64::try_from(wall_us).unwrap_or(i64::MAX) {
        return Err(Refusal::invalid("scheduledAt is in the past"));
    }
    Ok(())
}
