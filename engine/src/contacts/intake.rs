//! The intake: takes the files that were uploaded, from any process, one after the other.
//!
//! Actors: *upkeep*, which calls [`Intake::drain`], in one process at a time or, while a long file is being taken, in several;
//! an *import* for each claimed file; beside it a *keeper*, which says that the file is still being taken and how far it is.
//!
//! A claim ends when its process is not heard of any more. Whoever claims the file then begins at its beginning: an import
//! is one transaction, and that of the former process does not commit, since its claim's number is no longer the row's.
//! A file that ends every process which reads it is given up after a few times.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    error::ImportError,
    import::{Claimed, ImportRequest, Limits, Progress, import_claimed},
    landing::Landed,
};
use crate::{
    blobs::{BlobError, Blobs},
    clock::Clock,
    id::{Ids, ProcessId},
    store::{Store, StoreError, StoreResult, intake::Claim},
};

/// How long a file stays with a process that says nothing, and how often it says something.
const LEASE: Duration = Duration::from_secs(30);
const KEEP: Duration = Duration::from_secs(2);
/// Files that one process takes at once: of different tenants.
const AT_ONCE: usize = 2;
/// How soon one that has nothing to do looks again while another has.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Claims of a file before it is given up.
const MOST_CLAIMS: i32 = 5;

/// What takes files.
#[derive(Debug, Clone)]
pub struct Intake {
    pub process: ProcessId,
    /// Not that of a duty: a claim outlasts it.
    pub store: Store,
    pub blobs: Arc<dyn Blobs>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<Ids>,
    pub limits: Limits,
}

enum TakeError {
    Import(ImportError),
    Blob(BlobError),
}

impl Intake {
    /// Takes what waits, and returns when nothing does and nothing is being taken here.
    pub async fn drain(&self) -> StoreResult<()> {
        let busy = AtomicUsize::new(0);
        let hands = (0..AT_ONCE).map(|_| self.one_after_the_other(&busy));
        futures::future::try_join_all(hands).await.map(drop)
    }

    async fn one_after_the_other(&self, busy: &AtomicUsize) -> StoreResult<()> {
        loop {
            if let Some(claim) = self.store.claim_file(self.process, LEASE).await? {
                busy.fetch_add(1, Ordering::Relaxed);
                let taken = self.take(&claim).await;
                busy.fetch_sub(1, Ordering::Relaxed);
                taken?;
            } else if busy.load(Ordering::Relaxed) == 0 {
                return Ok(());
            } else {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    async fn take(&self, claim: &Claim) -> StoreResult<()> {
        if claim.number > MOST_CLAIMS {
            let reason = format!(
                "reading it broke off {MOST_CLAIMS} times: export it again, or split it; if it stays so, report the file"
            );
            return self.store.fail_upload(claim, &reason).await;
        }
        let rows = AtomicU64::new(0);
        let outcome = tokio::select! {
            outcome = Box::pin(self.import(claim, &rows)) => outcome,
            lost = self.keep(claim, &rows) => {
                tracing::warn!(upload = %claim.upload, "another process has claimed the file");
                return lost;
            }
        };
        match outcome {
            Ok(()) => {
                tracing::info!(upload = %claim.upload, rows = rows.into_inner(), "a file was taken");
                Ok(())
            }
            Err(error) => match reason(error) {
                Ok(reason) => {
                    tracing::info!(upload = %claim.upload, "a file cannot be taken");
                    self.store.fail_upload(claim, &reason).await
                }
                // The claim ends by itself, and the next one begins anew. What else is being taken here goes on.
                Err(error) => {
                    tracing::warn!(%error, upload = %claim.upload, "a file is left to the next claim");
                    Ok(())
                }
            },
        }
    }

    async fn import(&self, claim: &Claim, rows: &AtomicU64) -> Result<(), TakeError> {
        let landed = Landed::from_blob(Arc::clone(&self.blobs), claim.blob, claim.bytes).await;
        let landed = landed.map_err(TakeError::Blob)?;
        if landed.sha256[..] != claim.sha256 {
            return Err(TakeError::Import(ImportError::Changed));
        }
        let request = ImportRequest {
            tenant: claim.blob.tenant,
            path: landed.path.to_path_buf(),
            file_name: claim.file_name.clone(),
            options: claim.options.import(self.limits),
            // Whoever sent the file was noted when it came.
            author: None,
        };
        let claimed = Claimed { upload: claim.upload, number: claim.number, options: claim.options.clone() };
        let note = |progress: Progress| {
            let (Progress::Reading { rows: read, .. } | Progress::Merging { rows: read }) = progress;
            rows.store(read, Ordering::Relaxed);
        };
        import_claimed(&self.store, &self.ids, &*self.clock, request, Some(&claimed), &note)
            .await
            .map(drop)
            .map_err(TakeError::Import)
    }

    /// Ends only when the claim is lost. Polled beside the import: its update waits for the row while that commits.
    async fn keep(&self, claim: &Claim, rows: &AtomicU64) -> StoreResult<()> {
        loop {
            tokio::time::sleep(KEEP).await;
            match self.store.keep_claim(claim, LEASE, rows.load(Ordering::Relaxed)).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // The import will notice it, too.
                Err(error) => tracing::debug!(%error, upload = %claim.upload, "a claim could not be kept"),
            }
        }
    }
}

/// What a person can do about it; an error where nothing is wrong with the file.
fn reason(error: TakeError) -> StoreResult<String> {
    const OURS: &str =
        "something went wrong here, and not with the file: send it again, or report it with the upload's id";
    match error {
        TakeError::Import(ImportError::Store(error)) | TakeError::Blob(BlobError::Store(error)) => {
            match error {
                StoreError::Unavailable(_) | StoreError::Superseded(_) | StoreError::Raced => Err(error),
                // The rows say what happened, such as which of them lost their contact.
                StoreError::Conflict(what) => Ok(what),
                error => {
                    tracing::error!(%error, "a file could not be taken");
                    Ok(OURS.to_owned())
                }
            }
        }
        TakeError::Import(ImportError::Read(error)) | TakeError::Blob(BlobError::Disk(error)) => {
            tracing::error!(%error, "a file could not be taken: its copy could not be written or read");
            Ok(OURS.to_owned())
        }
        TakeError::Import(ImportError::Changed) | TakeError::Blob(BlobError::Lost { .. }) => {
            Ok("what is kept of the file is not what was sent: send it again".to_owned())
        }
        TakeError::Import(error) => Ok(error.to_string()),
    }
}
