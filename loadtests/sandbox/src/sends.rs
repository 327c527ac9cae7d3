//! The send routes, outside the router: one comparison of the path and no boxed layer, because they are called many
//! thousand times a second.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;

use crate::brevo;
use crate::config::Channel;
use crate::reply::{Ending, Reply};
use crate::whatsapp;
use crate::world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendRoute<'p> {
    Email,
    Sms { detailed: bool },
    Whatsapp { phone_number_id: &'p str },
}

impl<'p> SendRoute<'p> {
    pub(crate) fn of(method: &Method, path: &'p str) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        match path {
            "/v3/smtp/email" => Some(Self::Email),
            "/v3/transactionalSMS/send" => Some(Self::Sms { detailed: false }),
            "/v3/transactionalSMS/sms" => Some(Self::Sms { detailed: true }),
            _ => {
                let (version, phone_number_id) =
                    path.strip_prefix("/v")?.strip_suffix("/messages")?.split_once('/')?;
                let numbered = version.starts_with(|c: char| c.is_ascii_digit());
                (numbered && !phone_number_id.contains('/')).then_some(Self::Whatsapp { phone_number_id })
            }
        }
    }

    fn channel(self) -> Channel {
        match self {
            Self::Email => Channel::Email,
            Self::Sms { .. } => Channel::Sms,
            Self::Whatsapp { .. } => Channel::Whatsapp,
        }
    }
}

/// Answers a send request. A response with the extension [`crate::reply::Cut`] must not be sent.
pub(crate) async fn answer<B>(world: &World, route: SendRoute<'_>, parts: &Parts, body: B) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let hang = Duration::from_secs(world.config.hang_s);
    if world.faults.current().of(route.channel()).down {
        return Reply::silent(Ending::Drop).send(hang).await;
    }
    let headers = &parts.headers;
    let reply = match read(body, world.config.max_body_bytes).await {
        Ok(body) => match route {
            SendRoute::Email => brevo::email_send::send(world, headers, &body),
            SendRoute::Sms { detailed } => brevo::sms::send(world, headers, &body, detailed),
            SendRoute::Whatsapp { phone_number_id } => {
                whatsapp::send::send(world, headers, phone_number_id, &body)
            }
        },
        Err(Unread::TooLarge) => Reply::now(brevo::too_large()),
        Err(Unread::Broken) => Reply::silent(Ending::Drop),
    };
    reply.send(hang).await
}

enum Unread {
    TooLarge,
    Broken,
}

/// The whole body; what came in one piece is not copied.
async fn read<B>(mut body: B, most: usize) -> Result<Bytes, Unread>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if first.len().max(more.len()) + data.len() > most {
            return Err(Unread::TooLarge);
        }
        if first.is_empty() {
            first = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}
