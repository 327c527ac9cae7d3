//! What has begun is seen through, although whoever waits for it is let go: a client that hangs up, a wait that ends.
//!
//! It runs in the task that waits for it, which costs nothing; only what is let go of half-way becomes a task of its own, and
//! ends by itself. What has not begun is dropped, and so is everything where the runtime ends.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// A future that is seen through once it has been polled.
#[derive(Debug)]
pub struct SeenThrough<F: Future<Output: Send + 'static> + Send + 'static> {
    /// Absent once it has ended.
    future: Option<Pin<Box<F>>>,
    begun: bool,
    /// Who waits for what was let go; nobody if absent.
    tasks: Option<TaskTracker>,
}

pub fn seen_through<F: Future<Output: Send + 'static> + Send + 'static>(
    future: F,
    tasks: Option<TaskTracker>,
) -> SeenThrough<F> {
    SeenThrough { future: Some(Box::pin(future)), begun: false, tasks }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for SeenThrough<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.begun = true;
        // Taken out meanwhile: what panics is not begun again.
        let Some(mut future) = self.future.take() else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Drop for SeenThrough<F> {
    fn drop(&mut self) {
        let Some(future) = self.future.take().filter(|_| self.begun) else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        match &self.tasks {
            Some(tasks) => drop(tasks.spawn_on(future, &runtime)),
            None => drop(runtime.spawn(future)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_has_begun_ends_and_what_has_not_is_dropped() {
        let (tasks, ended) = (TaskTracker::new(), Arc::new(AtomicU32::new(0)));
        let work = |gate: oneshot::Receiver<()>| {
            let ended = Arc::clone(&ended);
            let work = async move {
                let _ = gate.await;
                ended.fetch_add(1, Ordering::Relaxed)
            };
            seen_through(work, Some(tasks.clone()))
        };
        let (open, gate) = oneshot::channel();
        let mut begun = work(gate);
        assert!(futures::poll!(&mut begun).is_pending());
        drop(begun);
        open.send(()).expect("somebody waits");
        let (_open, gate) = oneshot::channel();
        drop(work(gate));
        let (open, gate) = oneshot::channel();
        open.send(()).expect("somebody waits");
        assert!(work(gate).await < 2, "it is awaited as any other");
        tasks.close();
        tasks.wait().await;
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }
}
