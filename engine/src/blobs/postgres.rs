//! Blobs in Postgres: in one place with the rows, in one backup, and for every process the same. Each statement runs within
//! the blob's tenant.

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Blob, BlobError, Blobs};
use crate::store::{Store, blobs};

#[derive(Debug, Clone)]
pub struct PostgresBlobs {
    store: Store,
}

impl PostgresBlobs {
    pub const fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Blobs for PostgresBlobs {
    fn put(&self, blob: Blob, n: i32, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move {
            let mut tx = self.store.within(blob.tenant).await?;
            blobs::put_part(&mut tx, blob, n, &bytes).await?;
            Ok(tx.commit().await?)
        })
    }

    fn get(&self, blob: Blob, n: i32) -> BoxFuture<'_, Result<Option<Bytes>, BlobError>> {
        Box::pin(async move {
            let mut tx = self.store.reading(blob.tenant).await?;
            let part = blobs::part(&mut tx, blob, n).await?;
            tx.end();
            Ok(part.map(Bytes::from))
        })
    }

    fn remove(&self, blob: Blob) -> BoxFuture<'_, Result<(), BlobError>> {
        Box::pin(async move {
            let mut tx = self.store.within(blob.tenant).await?;
            blobs::remove_parts(&mut tx, blob).await?;
            Ok(tx.commit().await?)
        })
    }
}
