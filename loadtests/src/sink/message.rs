//! A message where it stands in a request, read without reading the JSON.

use fanfare_sandbox::Channel;
use memchr::memmem;
use twox_hash::XxHash3_64;

/// Every part as JSON writes it.
#[derive(Debug, Clone)]
pub(super) struct Message<'a> {
    pub(super) address: &'a [u8],
    pub(super) message_id: &'a [u8],
    /// Under which the provider would take it once: of a single e-mail.
    pub(super) key: Option<&'a [u8]>,
    /// Subject and HTML, the text of an SMS, or the values of a WhatsApp template.
    pub(super) parts: Vec<&'a [u8]>,
}

/// By the path to which it was posted.
pub(super) fn channel(path: &str) -> Option<Channel> {
    match path {
        "/v3/smtp/email" => Some(Channel::Email),
        "/v3/transactionalSMS/send" => Some(Channel::Sms),
        _ => path.ends_with("/messages").then_some(Channel::Whatsapp),
    }
}

impl<'a> Message<'a> {
    /// The first message, and what follows it. A quotation mark within a text is escaped, so that none of the marks
    /// between the parts can stand in one.
    pub(super) fn next(channel: Channel, body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        match channel {
            Channel::Email => Self::email(body),
            Channel::Sms => Self::sms(body),
            Channel::Whatsapp => Self::whatsapp(body),
        }
    }

    fn email(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (_, rest) = cut(body, b"\"to\":[{\"email\":\"")?;
        let (address, rest) = cut(rest, b"\"")?;
        let (_, rest) = cut(rest, b"\"subject\":\"")?;
        let (subject, rest) = cut(rest, b"\",\"htmlContent\":\"")?;
        let (html, rest) = cut(rest, b"\",\"textContent\":\"")?;
        let (text_and_key, rest) = cut(rest, b"\"X-Mailin-custom\":\"")?;
        let (message_id, rest) = cut(rest, b"\"")?;
        let key = cut(text_and_key, b"\"Idempotency-Key\":\"").and_then(|(_, key)| cut(key, b"\""));
        let key = key.map(|(key, _)| key);
        Some((Self { address, message_id, key, parts: vec![subject, html] }, rest))
    }

    fn sms(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (_, rest) = cut(body, b"\"recipient\":\"")?;
        let (address, rest) = cut(rest, b"\",\"content\":\"")?;
        let (text, rest) = cut(rest, b"\",\"type\":\"")?;
        let (_, rest) = cut(rest, b"\"tag\":\"")?;
        let (message_id, rest) = cut(rest, b"\"")?;
        Some((Self { address, message_id, key: None, parts: vec![text] }, rest))
    }

    fn whatsapp(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (_, rest) = cut(body, b"\"to\":\"")?;
        let (address, rest) = cut(rest, b"\"")?;
        let (_, rest) = cut(rest, b"\"biz_opaque_callback_data\":\"")?;
        let (message_id, mut rest) = cut(rest, b"\"")?;
        let mut parts = Vec::new();
        while let Some((_, value)) = cut(rest, b"\"text\":\"") {
            let (value, after) = cut(value, b"\"}")?;
            parts.push(value);
            rest = after;
        }
        Some((Self { address, message_id, key: None, parts }, rest))
    }

    pub(super) fn digest(&self) -> u64 {
        hash([self.address, self.message_id].into_iter().chain(self.parts.iter().copied()))
    }
}

/// What is before a mark, and what is after it.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = memmem::find(text, mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}

fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    parts.fold(0, XxHash3_64::oneshot_with_seed)
}

/// The digest of a message whose parts are known, in hexadecimal. `address` as the receiver was told it.
pub(crate) fn digest(address: &str, message_id: &str, parts: &[String]) -> String {
    let as_written = |text: &String| {
        let quoted = serde_json::to_string(text).expect("a text is always JSON");
        quoted[1..quoted.len() - 1].to_owned()
    };
    let parts: Vec<String> = parts.iter().map(as_written).collect();
    let all = [address, message_id].into_iter().chain(parts.iter().map(String::as_str));
    hex::encode(hash(all.map(str::as_bytes)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(channel: Channel, body: &str, expected: (&str, &str, &[&str])) {
        let (message, rest) = Message::next(channel, body.as_bytes()).expect("it is there");
        let (address, message_id, parts) = expected;
        assert_eq!(
            (message.address, message.message_id),
            (address.as_bytes(), message_id.as_bytes()),
            "{body}"
        );
        let parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
        assert_eq!(
            hex::encode(message.digest().to_be_bytes()),
            digest(address, message_id, &parts),
            "{body}"
        );
        assert!(Message::next(channel, rest).is_none(), "{body}");
    }

    #[test]
    fn messages_are_found_as_they_are_written() {
        check(
            Channel::Email,
            r#"{"sender":{"email":"a@b.example"},"to":[{"email":"x@y.example"}],"subject":"Hi \"you\"","htmlContent":"<p>1</p>","textContent":"1","headers":{"Idempotency-Key":"k","X-Mailin-custom":"msg_1"},"tags":["msg_1"]}"#,
            ("x@y.example", "msg_1", &["Hi \"you\"", "<p>1</p>"]),
        );
        check(
            Channel::Sms,
            r#"{"sender":"Harmony","recipient":"23052345678","content":"health \"plus\"","type":"transactional","tag":"msg_2","unicodeEnabled":false}"#,
            ("23052345678", "msg_2", &["health \"plus\""]),
        );
        check(
            Channel::Whatsapp,
            r#"{"messaging_product":"whatsapp","recipient_type":"individual","to":"+23052345678","biz_opaque_callback_data":"msg_3","type":"template","template":{"name":"renewal","language":{"code":"en"},"components":[{"type":"body","parameters":[{"type":"text","text":"Ann"},{"type":"text","text":"\"plus\""}]}]}}"#,
            ("+23052345678", "msg_3", &["Ann", "\"plus\""]),
        );
    }

    #[test]
    fn a_key_is_what_the_headers_hold() {
        let body = r#"{"to":[{"email":"x@y.example"}],"subject":"S","htmlContent":"H","textContent":"\"Idempotency-Key\":\"text\"","headers":{"Idempotency-Key":"k","X-Mailin-custom":"msg_1"}}"#;
        let (message, _) = Message::next(Channel::Email, body.as_bytes()).expect("it is there");
        assert_eq!(message.key, Some(&b"k"[..]));
    }

    #[test]
    fn a_batch_is_read_version_by_version() {
        let version = |n: u32| {
            format!(
                r#"{{"to":[{{"email":"{n}@y.example"}}],"subject":"S","htmlContent":"{n}","textContent":"t","headers":{{"X-Mailin-custom":"msg_{n}"}}}}"#
            )
        };
        let body = format!(
            r#"{{"subject":"-","htmlContent":"<p></p>","textContent":"-","messageVersions":[{},{}]}}"#,
            version(1),
            version(2)
        );
        let (first, rest) = Message::next(Channel::Email, body.as_bytes()).expect("the first");
        let (second, _) = Message::next(Channel::Email, rest).expect("the second");
        assert_eq!((first.address, second.parts[1]), (&b"1@y.example"[..], &b"2"[..]));
        assert_eq!(first.key, None, "the key is the whole request's");
        assert_eq!(second.message_id, b"msg_2");
    }
}
