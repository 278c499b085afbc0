//! The pushing half of the backend: jobs are buffered as they come and go out in one pipeline when
//! the sink is flushed.
//!
//! What must never happen: a failed write that keeps its jobs and grows with every further one.
//! They are dropped and reported; the sweep brings them back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use apalis_core::task::Task;
use futures::{FutureExt, Sink, future::BoxFuture};

use super::{Job, QueueError, backend::Link, entry};

/// The most jobs in one pipeline.
pub(super) const PIPELINE: usize = 4096;

/// Appends jobs to a lane's stream.
pub(super) struct StreamSink {
    link: Link,
    buffered: Vec<Job>,
    writing: Option<BoxFuture<'static, Result<(), QueueError>>>,
}

impl StreamSink {
    pub(super) const fn new(link: Link) -> Self {
        Self {
            link,
            buffered: Vec::new(),
            writing: None,
        }
    }

    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        loop {
            if let Some(write) = &mut self.writing {
                let written = ready!(write.poll_unpin(cx));
                self.writing = None;
                written?;
            } else if self.buffered.is_empty() {
                return Poll::Ready(Ok(()));
            } else {
                let jobs = std::mem::take(&mut self.buffered);
                let link = self.link.clone();
                let write = async move {
                    let (length,) = link.exchange(&entry::append(&link.key, jobs)).await?;
                    link.shares.saw(length, Instant::now());
                    Ok(())
                };
                self.writing = Some(write.boxed());
            }
        }
    }
}

impl Sink<Task<Job>> for StreamSink {
    type Error = QueueError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        if self.buffered.len() < PIPELINE {
            Poll::Ready(Ok(()))
        } else {
            self.poll_written(cx)
        }
    }

    fn start_send(mut self: Pin<&mut Self>, task: Task<Job>) -> Result<(), QueueError> {
        self.buffered.push(task.args);
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        self.poll_written(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        self.poll_written(cx)
    }
}
