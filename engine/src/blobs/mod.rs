//! Blobs: the bytes of files, where every process finds what any other has written.
//!
//! A blob is written in parts of one size, in order, each of them whole before the next, so that neither side ever holds
//! more than a part; a part that is written again holds the same bytes or more of them. Its row (`store::blobs`) says that
//! it exists. Nobody deletes one directly: whoever needs it no longer condemns its row in the transaction of that decision,
//! and upkeep removes the bytes afterwards. So neither a crash nor a store that is no part of the database leaves a row
//! without its bytes.
//!
//! [`postgres`] keeps them beside the rows.

pub mod postgres;

use std::{path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::{
    id::{BlobId, TenantId},
    store::StoreError,
};

/// Of every part but the last of a blob.
pub const PART: usize = 256 << 10;

/// A blob, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    pub tenant: TenantId,
    pub id: BlobId,
}

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("part {n} of {blob} is missing or cut off")]
    Lost { blob: BlobId, n: i32 },
    #[error("a copy of the file cannot be kept on this machine: {0}")]
    Disk(#[from] std::io::Error),
}

/// Where parts lie.
pub trait Blobs: std::fmt::Debug + Send + Sync {
    /// Stores a part; one that is there and as long stays as it is.
    fn put(&self, blob: Blob, n: i32, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;

    fn get(&self, blob: Blob, n: i32) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>>;

    /// Removes all parts; again is harmless.
    fn remove(&self, blob: Blob) -> BoxFuture<'_, Result<(), BlobError>>;
}

/// Writes a blob from its beginning, or on from where it ended.
#[derive(Debug)]
pub struct Writer {
    blobs: Arc<dyn Blobs>,
    blob: Blob,
    /// The part that is being filled.
    n: i32,
    buffer: BytesMut,
}

impl Writer {
    pub fn new(blobs: Arc<dyn Blobs>, blob: Blob) -> Self {
        Self { blobs, blob, n: 0, buffer: BytesMut::with_capacity(PART) }
    }

    /// Goes on behind the first `at` bytes.
    pub async fn resume(blobs: Arc<dyn Blobs>, blob: Blob, at: u64) -> Result<Self, BlobError> {
        let mut writer = Self { n: part_of(at), ..Self::new(blobs, blob) };
        let begun = usize::try_from(at % PART as u64).unwrap_or(0);
        if begun > 0 {
            let part = writer.blobs.get(blob, writer.n).await?.filter(|part| part.len() >= begun);
            let part = part.ok_or(BlobError::Lost { blob: blob.id, n: writer.n })?;
            writer.buffer.extend_from_slice(&part[..begun]);
        }
        Ok(writer)
    }

    /// Takes bytes in, and stores every part that they fill. Returns whether there was one.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<bool, BlobError> {
        let before = self.n;
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(PART - self.buffer.len()));
            self.buffer.extend_from_slice(fits);
            bytes = rest;
            if self.buffer.len() == PART {
                let part = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(PART));
                self.blobs.put(self.blob, self.n, part.freeze()).await?;
                self.n += 1;
            }
        }
        Ok(self.n > before)
    }

    /// Bytes in parts that are stored.
    pub fn stored(&self) -> u64 {
        u64::from(self.n.unsigned_abs()) * PART as u64
    }

    /// Stores what does not fill a part. Returns how many bytes the blob has now.
    pub async fn end(self) -> Result<u64, BlobError> {
        let bytes = self.stored() + self.buffer.len() as u64;
        if !self.buffer.is_empty() {
            self.blobs.put(self.blob, self.n, self.buffer.freeze()).await?;
        }
        Ok(bytes)
    }
}

fn part_of(at: u64) -> i32 {
    i32::try_from(at / PART as u64).unwrap_or(i32::MAX)
}

/// The bytes of a blob that has so many, part by part.
pub fn read(
    blobs: Arc<dyn Blobs>,
    blob: Blob,
    bytes: u64,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send + 'static {
    let parts = part_of(bytes.saturating_sub(1)) + i32::from(bytes > 0);
    stream::iter(0..parts).then(move |n| {
        let blobs = Arc::clone(&blobs);
        async move {
            let wanted = bytes - u64::from(n.unsigned_abs()) * PART as u64;
            let wanted = usize::try_from(wanted).unwrap_or(PART).min(PART);
            let part = blobs.get(blob, n).await?.filter(|part| part.len() >= wanted);
            Ok(part.ok_or(BlobError::Lost { blob: blob.id, n })?.slice(..wanted))
        }
    })
}

/// Copies a blob into a file for whoever has to read here and there in it. Returns the SHA-256 of its bytes.
pub async fn copy(blobs: Arc<dyn Blobs>, blob: Blob, bytes: u64, to: &Path) -> Result<[u8; 32], BlobError> {
    let (mut file, mut hash) = (tokio::fs::File::create(to).await?, Sha256::new());
    let mut parts = std::pin::pin!(read(blobs, blob, bytes));
    while let Some(part) = parts.try_next().await? {
        hash.update(&part);
        file.write_all(&part).await?;
    }
    file.flush().await?;
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Mutex};

    use proptest::prelude::*;

    use super::*;

    /// Parts in memory, by the rule that a longer one stays.
    #[derive(Debug, Default)]
    struct Kept(Mutex<HashMap<i32, Bytes>>);

    impl Blobs for Kept {
        fn put(&self, _: Blob, n: i32, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
            let mut parts = self.0.lock().expect("nobody panics here");
            if parts.get(&n).is_none_or(|part| part.len() < bytes.len()) {
                parts.insert(n, bytes);
            }
            Box::pin(async { Ok(()) })
        }

        fn get(&self, _: Blob, n: i32) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>> {
            let part = self.0.lock().expect("nobody panics here").get(&n).cloned();
            Box::pin(async { Ok(part) })
        }

        fn remove(&self, _: Blob) -> BoxFuture<'_, Result<(), BlobError>> {
            self.0.lock().expect("nobody panics here").clear();
            Box::pin(async { Ok(()) })
        }
    }

    fn blob() -> Blob {
        let nil = uuid::Uuid::nil();
        Blob { tenant: nil.into(), id: nil.into() }
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
    }

    async fn whole(blobs: Arc<dyn Blobs>, bytes: u64) -> Result<Vec<u8>, BlobError> {
        let parts: Vec<Bytes> = read(blobs, blob(), bytes).try_collect().await?;
        Ok(parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// However a file is cut, and wherever it is taken up again.
        #[test]
        fn what_was_written_is_read(pieces in prop::collection::vec(1..3 * PART, 1..6), seed: u8) {
            run(async {
                let blobs: Arc<dyn Blobs> = Arc::new(Kept::default());
                let mut written = Vec::new();
                for (at, &length) in pieces.iter().enumerate() {
                    let piece: Vec<u8> = (0..length).map(|i| (i * 31 + at).to_le_bytes()[0] ^ seed).collect();
                    let mut writer =
                        Writer::resume(Arc::clone(&blobs), blob(), written.len() as u64).await.expect("resumed");
                    writer.write(&piece).await.expect("written");
                    written.extend_from_slice(&piece);
                    prop_assert_eq!(writer.end().await.expect("ended"), written.len() as u64);
                }
                prop_assert_eq!(whole(blobs, written.len() as u64).await.expect("read"), written);
                Ok(())
            })?;
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        run(async {
            let blobs: Arc<dyn Blobs> = Arc::new(Kept::default());
            let mut writer = Writer::new(Arc::clone(&blobs), blob());
            assert!(writer.write(&vec![7; PART + 1]).await.expect("written"));
            let error = whole(Arc::clone(&blobs), PART as u64 + 1).await.expect_err("not ended");
            assert!(matches!(error, BlobError::Lost { n: 1, .. }), "{error}");
            assert!(whole(blobs, 0).await.expect("nothing").is_empty());
        });
    }
}
