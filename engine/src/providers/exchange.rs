//! One request and its answer over one connection.
//!
//! Both go on at the same time: who is refused early need not be read to the end. While the answer is waited for nothing is
//! held but the connection and what has come so far: the request is given up once it is written, and bytes are read
//! onto the stack. Whoever awaits this drives the connection; no task, channel or buffer stands between them.

use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::reply::{Reading, Received};
use crate::domain::outcome::Reason;

/// Read at once: what nearly every answer fits into.
const READ_BYTES: usize = 4 << 10;

/// A request, ready to be written.
pub(super) struct Request {
    /// To the end of its empty line.
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// Its head holds the account's key, and its body somebody's letter.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// See the module. It ends with the answer, or with why there is none.
#[derive(Debug)]
pub(super) struct Exchange<'s, S> {
    stream: &'s mut S,
    sending: Sending,
    reading: Reading,
}

#[derive(Debug)]
enum Sending {
    /// So many of its bytes are written.
    Writing(Request, usize),
    Flushing,
    Sent,
    Failed,
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin> Exchange<'s, S> {
    /// The answer's body may have so many bytes.
    pub(super) fn new(stream: &'s mut S, request: Request, most_bytes: usize) -> Self {
        Self { stream, sending: Sending::Writing(request, 0), reading: Reading::new(most_bytes) }
    }

    /// What there is of an answer when no time is left.
    pub(super) fn time_out(self) -> Result<Received, Reason> {
        self.reading.cut_off(Reason::TimedOut).ok_or(Reason::TimedOut)
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut *self.stream);
        while let Sending::Writing(Request { head, body }, written) = &mut self.sending {
            let rest = [&head[(*written).min(head.len())..], &body[written.saturating_sub(head.len())..]];
            *written += match ready!(stream.as_mut().poll_write_vectored(context, &rest.map(IoSlice::new)))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => bytes,
            };
            if *written == head.len() + body.len() {
                self.sending = Sending::Flushing;
            }
        }
        if let Sending::Flushing = self.sending {
            ready!(stream.poll_flush(context))?;
            self.sending = Sending::Sent;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Option<Received>> {
        loop {
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut read = ReadBuf::uninit(&mut space);
            let result = ready!(Pin::new(&mut *self.stream).poll_read(context, &mut read));
            let ended = self.reading.take(read.filled());
            let reading = &mut self.reading;
            let mut reading = || std::mem::replace(reading, Reading::new(0));
            match (result, ended) {
                (_, Err(_)) => return Poll::Ready(None),
                (Err(_), Ok(false)) => return Poll::Ready(reading().cut_off(Reason::UnreadableAnswer)),
                (Ok(()), Ok(false)) if !read.filled().is_empty() => {}
                _ => return Poll::Ready(reading().finish()),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Exchange<'_, S> {
    type Output = Result<Received, Reason>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(Err(_)) = this.poll_send(context) {
            // Why it was refused may be there to be read.
            this.sending = Sending::Failed;
        }
        let answer = ready!(this.poll_answer(context));
        let sent = matches!(this.sending, Sending::Sent);
        Poll::Ready(match answer {
            Some(answer) => Ok(Received { leaves_open: answer.leaves_open && sent, ..answer }),
            None => Err(Reason::ConnectionLost),
        })
    }
}
