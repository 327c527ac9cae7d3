//! A file on its way in over HTTP: each piece goes to its blob, and to a copy on this machine for the look at it, while its
//! hash is made. Memory holds a part of it at most. Whoever drops a landing leaves the row and the blob to upkeep; the copy
//! is gone at once.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::io::AsyncWriteExt as _;

use crate::blobs::{self, Blob, BlobError, Blobs, Writer};

/// A file that is being received.
#[derive(Debug)]
pub struct Landing {
    writer: Writer,
    copy: tokio::fs::File,
    path: TempPath,
    hash: Sha256,
    bytes: u64,
}

/// A file that is here.
#[derive(Debug)]
pub struct Landed {
    /// The copy; removed when this is dropped.
    pub path: TempPath,
    pub sha256: [u8; 32],
    pub bytes: u64,
}

impl Landing {
    pub fn begin(blobs: Arc<dyn Blobs>, blob: Blob) -> Result<Self, BlobError> {
        let (copy, path) = tempfile::NamedTempFile::new()?.into_parts();
        Ok(Self {
            writer: Writer::new(blobs, blob),
            copy: tokio::fs::File::from_std(copy),
            path,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// How much has come.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.bytes += bytes.len() as u64;
        self.hash.update(bytes);
        self.copy.write_all(bytes).await?;
        self.writer.write(bytes).await.map(drop)
    }

    pub async fn end(mut self) -> Result<Landed, BlobError> {
        self.copy.flush().await?;
        self.writer.end().await?;
        Ok(Landed { path: self.path, sha256: self.hash.finalize().into(), bytes: self.bytes })
    }
}

impl Landed {
    /// Of a blob that is complete.
    pub async fn from_blob(blobs: Arc<dyn Blobs>, blob: Blob, bytes: u64) -> Result<Self, BlobError> {
        let path = tempfile::NamedTempFile::new()?.into_temp_path();
        let sha256 = blobs::copy(blobs, blob, bytes, &path).await?;
        Ok(Self { path, sha256, bytes })
    }
}
