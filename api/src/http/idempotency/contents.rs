//! What a file says, as its bytes pass by: a repetition is known by it. Of a form the boundary is left out, which clients make
//! anew for each request, and whatever follows the last part.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use fanfare_engine::store::idempotency::RequestHash;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use memchr::memmem;
use sha2::{Digest as _, Sha256};

#[derive(Debug)]
struct Passing {
    hash: Sha256,
    /// Of a form.
    boundary: Option<Vec<u8>>,
    /// What may be the beginning of a boundary.
    held: Vec<u8>,
    whole: bool,
}

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Contents(Arc<Mutex<Passing>>);

impl Contents {
    pub(super) fn of(content_type: &str) -> Self {
        let (hash, boundary) = (Sha256::new(), boundary(content_type));
        Self(Arc::new(Mutex::new(Passing { hash, boundary, held: Vec::new(), whole: false })))
    }

    /// The same body; what is read of it is taken in.
    pub(super) fn tap(&self, body: Body) -> Body {
        let (seen, ended) = (self.clone(), self.clone());
        let bytes = body.into_data_stream().inspect_ok(move |bytes| seen.lock().take(bytes));
        let end = stream::once(async move { ended.lock().end() }).filter_map(async |()| None);
        Body::from_stream(bytes.chain(end))
    }

    /// `None` of what did not come whole: its reader had seen enough.
    pub(super) fn hash(&self) -> Option<RequestHash> {
        let passing = self.lock();
        passing.whole.then(|| passing.hash.clone().finalize().into())
    }

    fn lock(&self) -> MutexGuard<'_, Passing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passing {
    fn take(&mut self, bytes: &[u8]) {
        let Some(boundary) = &self.boundary else { return self.hash.update(bytes) };
        if self.whole {
            return;
        }
        self.held.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = memmem::find(&self.held[from..], boundary).map(|at| from + at) {
            // The last boundary is followed by two dashes.
            let Some(next) = self.held.get(at + boundary.len()..at + boundary.len() + 2) else {
                self.hash.update(&self.held[from..at]);
                self.held.drain(..at);
                return;
            };
            self.hash.update(&self.held[from..at]);
            self.whole = next == b"--";
            if self.whole {
                self.held.clear();
                return;
            }
            from = at + boundary.len();
        }
        let keep = self.held.len().saturating_sub(boundary.len() - 1).max(from);
        self.hash.update(&self.held[from..keep]);
        self.held.drain(..keep);
    }

    /// A form that ends without its last boundary is none, and is refused as that.
    fn end(&mut self) {
        self.whole |= self.boundary.is_none();
    }
}

fn boundary(content_type: &str) -> Option<Vec<u8>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty())
            .then(|| format!("--{value}").into_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of a body that comes in pieces of `piece` bytes.
    fn hashed(content_type: &str, body: &[u8], piece: usize) -> Option<RequestHash> {
        let contents = Contents::of(content_type);
        body.chunks(piece).for_each(|bytes| contents.lock().take(bytes));
        contents.lock().end();
        contents.hash()
    }

    fn form(boundary: &str, file: &str) -> Vec<u8> {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n{file}\r\n--{boundary}--\r\n"
        )
        .into_bytes()
    }

    #[test]
    fn a_form_is_the_same_whatever_its_boundary_and_its_pieces() {
        let kind = |boundary: &str| format!("multipart/form-data; charset=utf-8; boundary=\"{boundary}\"");
        let once = hashed(&kind("abc"), &form("abc", "one-two--three"), usize::MAX);
        assert!(once.is_some());
        for piece in 1..80 {
            assert_eq!(
                hashed(&kind("xyz-0123"), &form("xyz-0123", "one-two--three"), piece),
                once,
                "{piece}"
            );
            assert_ne!(hashed(&kind("abc"), &form("abc", "one-two--thre3"), piece), once);
        }
        let [mut longer, cut] = [form("abc", "one-two--three"), form("abc", "one-two--three")];
        longer.extend_from_slice(b"an epilogue that nobody reads");
        assert_eq!(hashed(&kind("abc"), &longer, 7), once);
        assert_eq!(hashed(&kind("abc"), &cut[..cut.len() - 6], 7), None);
    }

    #[test]
    fn a_file_is_every_byte_of_it() {
        let once = hashed("text/csv", b"a,b\n1,2\n", 3);
        assert_eq!(hashed("text/csv", b"a,b\n1,2\n", 100), once);
        assert_ne!(hashed("text/csv", b"a,b\n1,3\n", 3), once);
        assert!(once.is_some());
        assert_eq!(hashed("multipart/form-data", b"", 1), hashed("text/csv", b"", 1), "no boundary: no form");
    }
}
