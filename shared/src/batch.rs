//! Group commit: many callers, few statements.
//!
//! While one batch is being worked on, the next one gathers in a channel; as soon as the first is done, whatever has gathered
//! goes out together. There is no timer: an idle system answers a single item at once, a busy one grows its batches by itself.
//!
//! What must never happen: a caller left waiting for an answer that will not come. If the work panics, or returns fewer answers
//! than it was given items, the callers concerned get `None`.

use std::{fmt, sync::Arc};

use tokio::sync::{Semaphore, mpsc, oneshot};

type Item<In, Out> = (In, oneshot::Sender<Out>);

/// Collects single items into batches and hands each caller its own answer. Cheap to clone.
pub struct Batcher<In, Out> {
    items: mpsc::Sender<Item<In, Out>>,
}

impl<In, Out> Batcher<In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
{
    /// Starts the collecting task; needs a Tokio runtime. The task ends when the last clone of the batcher is gone.
    ///
    /// `work` gets at most `max_batch` items and returns one answer for each, in the same order. At most `parallelism` batches
    /// are worked on at a time. Both are at least one.
    pub fn new<Work, Done>(max_batch: usize, parallelism: usize, work: Work) -> Self
    where
        Work: Fn(Vec<In>) -> Done + Send + Sync + 'static,
        Done: Future<Output = Vec<Out>> + Send + 'static,
    {
        let (max_batch, parallelism) = (max_batch.max(1), parallelism.max(1));
        let (items, gathered) = mpsc::channel(max_batch);
        tokio::spawn(collect(gathered, max_batch, parallelism, Arc::new(work)));
        Self { items }
    }

    /// Adds an item to the next batch and waits for its answer; waits for room as well while the batches are behind.
    ///
    /// `None` means that nobody knows what became of the item: the work panicked, gave too few answers, or its runtime is
    /// shutting down. Dropping the future does not take the item back.
    pub async fn submit(&self, item: In) -> Option<Out> {
        let (reply, answer) = oneshot::channel();
        self.items.send((item, reply)).await.ok()?;
        answer.await.ok()
    }
}

async fn collect<In, Out, Work, Done>(
    mut gathered: mpsc::Receiver<Item<In, Out>>,
    max_batch: usize,
    parallelism: usize,
    work: Arc<Work>,
) where
    In: Send + 'static,
    Out: Send + 'static,
    Work: Fn(Vec<In>) -> Done + Send + Sync + 'static,
    Done: Future<Output = Vec<Out>> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(parallelism));
    // The turn comes first, the items after it: that is what lets a batch grow while the one before it is under way.
    while let Ok(turn) = Arc::clone(&turns).acquire_owned().await {
        let mut batch = Vec::new();
        if gathered.recv_many(&mut batch, max_batch).await == 0 {
            return;
        }
        let work = Arc::clone(&work);
        // A task of its own, so that a panic takes down this batch and no other; its callers see their reply dropped.
        tokio::spawn(async move {
            let (items, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            for (reply, out) in replies.into_iter().zip(work(items).await) {
                // A caller that has stopped waiting is no error.
                let _ = reply.send(out);
            }
            drop(turn);
        });
    }
}

impl<In, Out> Clone for Batcher<In, Out> {
    fn clone(&self) -> Self {
        Self {
            items: self.items.clone(),
        }
    }
}

impl<In, Out> fmt::Debug for Batcher<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn every_caller_gets_its_own_answer() {
        let batcher = Batcher::new(7, 3, |items: Vec<u32>| async move {
            items.into_iter().map(|n| n * 2).collect()
        });
        let answers = join_all((0..100).map(|n| batcher.submit(n))).await;
        assert_eq!(answers, (0..100).map(|n| Some(n * 2)).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn items_gather_while_a_batch_is_under_way() {
        let gate = Arc::new(Semaphore::new(0));
        let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let batcher = Batcher::new(50, 1, {
            let (gate, sizes) = (Arc::clone(&gate), Arc::clone(&sizes));
            move |items: Vec<u32>| {
                let (gate, sizes) = (Arc::clone(&gate), Arc::clone(&sizes));
                async move {
                    sizes.lock().unwrap().push(items.len());
                    gate.acquire().await.unwrap().forget();
                    items
                }
            }
        });
        let first = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.submit(0).await }
        });
        while sizes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let rest = tokio::spawn({
            let batcher = batcher.clone();
            async move { join_all((1..=20).map(|n| batcher.submit(n))).await }
        });
        while batcher.items.capacity() > 30 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Some(0));
        assert!(rest.await.unwrap().iter().all(Option::is_some));
        assert_eq!(*sizes.lock().unwrap(), [1, 20]);
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_batch_only() {
        let calls = Arc::new(AtomicUsize::new(0));
        let batcher = Batcher::new(10, 1, move |items: Vec<u32>| {
            assert!(calls.fetch_add(1, Ordering::Relaxed) > 0, "the first batch fails");
            async move { items }
        });
        assert_eq!(batcher.submit(1).await, None);
        assert_eq!(batcher.submit(2).await, Some(2));
    }

    #[tokio::test]
    async fn a_missing_answer_is_none() {
        let batcher = Batcher::new(10, 1, |_: Vec<u32>| async { Vec::<u32>::new() });
        assert_eq!(batcher.submit(1).await, None);
    }
}
