//! Forms with files, in bounded memory.
//!
//! The reader of forms takes in whatever the line brings before it hands any of it on, and a part's header may be as long as
//! it likes. So the body comes to it a piece at a time, and what nobody has taken from it yet is bounded.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use axum::{
    body::{Body, Bytes},
    extract::{
        FromRequest as _, Multipart, Request,
        multipart::{Field, MultipartError},
    },
};
use futures::{StreamExt as _, stream};

use crate::http::{
    incoming::stalled,
    problem::{Code, Problem},
};

/// Bytes that the reader may hold: more than a piece of any line, far more than a header.
const MOST_HELD: usize = 4 << 20;

/// A form that is read part by part.
pub(super) struct Form {
    parts: Multipart,
    held: Held,
}

/// How much the reader holds.
#[derive(Debug, Clone, Default)]
struct Held(Arc<AtomicUsize>);

/// A part of a form, piece by piece.
pub(super) struct Part<'a> {
    field: Field<'a>,
    held: Held,
}

impl Form {
    pub(super) async fn read(request: Request) -> Result<Self, Problem> {
        let held = Held::default();
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, in_pieces(body, held.clone()));
        let parts = Multipart::from_request(request, &()).await;
        let parts =
            parts.map_err(|_| Problem::say(Code::WrongContentType, "Send it as multipart/form-data."))?;
        Ok(Self { parts, held })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Part<'_>>, Problem> {
        let held = self.held.clone();
        let field = self.parts.next_field().await.map_err(broken)?;
        held.0.store(0, Ordering::Relaxed);
        Ok(field.map(|field| Part { field, held }))
    }
}

impl Part<'_> {
    pub(super) fn name(&self) -> &str {
        self.field.name().unwrap_or_default()
    }

    pub(super) fn file_name(&self) -> &str {
        self.field.file_name().unwrap_or_default()
    }

    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        let piece = self.field.chunk().await.map_err(broken)?;
        self.held.0.store(0, Ordering::Relaxed);
        Ok(piece)
    }
}

fn in_pieces(body: Body, held: Held) -> Body {
    let (mut data, mut pause) = (body.into_data_stream(), false);
    Body::from_stream(stream::poll_fn(move |context| {
        if std::mem::take(&mut pause) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let polled = data.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            pause = true;
            if held.0.fetch_add(piece.len(), Ordering::Relaxed) > MOST_HELD {
                return Poll::Ready(Some(Err(io::Error::other("the header of a part has no end"))));
            }
        }
        polled.map(|next| next.map(|piece| piece.map_err(io::Error::other)))
    }))
}

fn broken(error: MultipartError) -> Problem {
    if stalled(&error) {
        return Code::Stalled.into();
    }
    Problem::say(Code::Malformed, format!("The form can't be read: {}.", error.body_text()))
}

#[cfg(test)]
mod tests {
    use axum::extract::DefaultBodyLimit;

    use super::*;

    fn request(body: Body) -> Request {
        let form = Request::post("/").header("content-type", "multipart/form-data; boundary=b");
        let mut request = form.body(body).expect("a request");
        // As the route has it: the bound is that of the files.
        DefaultBodyLimit::disable().apply(&mut request);
        request
    }

    /// A line that always has the next piece ready, and counts how many were asked for.
    fn endless(head: &'static str) -> (Body, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, piece) = (Arc::clone(&asked), Bytes::from(vec![b'x'; 64 << 10]));
        let pieces = stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(piece.clone())
        });
        (Body::from_stream(stream::once(async move { Ok(Bytes::from(head)) }).chain(pieces)), asked)
    }

    #[tokio::test]
    async fn a_fast_line_is_not_taken_in_whole() {
        let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n";
        let (body, asked) = endless(head);
        let mut form = Form::read(request(body)).await.expect("a form");
        let mut part = form.next().await.expect("readable").expect("a part");
        assert_eq!((part.name(), part.file_name()), ("file", "a.csv"));
        for _ in 0..100 {
            part.piece().await.expect("readable").expect("a piece");
        }
        assert!(asked.load(Ordering::Relaxed) < 110, "{asked:?}");
    }

    #[tokio::test]
    async fn a_header_without_an_end_is_refused() {
        let (body, asked) = endless("--b\r\nContent-Disposition: form-data; name=\"");
        let mut form = Form::read(request(body)).await.expect("a form");
        let problem = form.next().await.map(drop).expect_err("no header is so long");
        assert_eq!(problem.code(), Code::Malformed);
        assert!(asked.load(Ordering::Relaxed) < 80, "{asked:?}");
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        let problem = Form::read(Request::new(Body::empty())).await.map(drop).expect_err("no form");
        assert_eq!(problem.code(), Code::WrongContentType);
    }
}
