//! The apalis backend of one lane: a [`Link`] to its stream, a sink to push and a stream to fetch.
//!
//! What must never happen: a connection that no longer answers is kept. A server that hangs, or was
//! demoted to a replica, leaves connections behind that fail for a long time without breaking; so
//! after any error the next exchange opens a new one.

use std::{sync::Arc, time::Duration};

use apalis_core::backend::custom::{BackendBuilder, CustomBackend};
use futures::{StreamExt, stream};
use redis::aio::MultiplexedConnection;
use tokio::{sync::Mutex, time::timeout};

use super::{
    EXCHANGE_TIMEOUT, Job, Lane, QueueError, Settings,
    fetch::{Deliveries, Fetching, deliveries},
    share::Shares,
    sink::StreamSink,
    stream_key,
};

/// What apalis knows the queue as. Both ends build it: a producer to use the sink, a consumer to
/// have a worker poll the fetch stream.
pub(super) type Backend = CustomBackend<Job, Link, Deliveries, StreamSink, Option<Fetching>>;

/// Puts the backend of a lane together; without `fetching` it delivers nothing. Nothing is
/// connected or started until it is used.
pub(super) fn backend(link: Link, fetching: Option<Fetching>) -> Result<Backend, QueueError> {
    let backend = BackendBuilder::new_with_cfg(fetching)
        .database(link)
        .fetcher(|link, fetching, _| match fetching {
            Some(fetching) => deliveries(link, fetching),
            None => stream::pending().boxed(),
        })
        .sink(|link, _| StreamSink::new(link.clone()))
        .build()?;
    Ok(backend)
}

/// One lane's stream and the ways to reach it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) lane: Lane,
    pub(super) key: String,
    /// Told how long the stream is whenever something was pushed to it.
    pub(super) shares: Arc<Shares>,
    client: redis::Client,
    /// Shared by all exchanges that do not wait for entries.
    shared: Arc<Mutex<Option<MultiplexedConnection>>>,
}

impl Link {
    pub(super) fn new(settings: &Settings, lane: Lane, shares: Arc<Shares>) -> Self {
        Self {
            lane,
            key: stream_key(&settings.prefix, lane),
            shares,
            client: settings.client.clone(),
            shared: Arc::default(),
        }
    }

    /// Sends one pipeline and reads its replies, within [`EXCHANGE_TIMEOUT`] altogether.
    pub(super) async fn exchange<T: redis::FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, QueueError> {
        let outcome = timeout(EXCHANGE_TIMEOUT, async {
            let mut connection = self.shared().await?;
            Ok(pipeline.query_async(&mut connection).await?)
        })
        .await
        .unwrap_or_else(|elapsed| Err(elapsed.into()));
        if outcome.is_err() {
            *self.shared.lock().await = None;
        }
        outcome
    }

    /// Sends one pipeline whose replies do not matter; an empty one, which redis refuses, is sent
    /// in no time.
    pub(super) async fn send(&self, pipeline: &redis::Pipeline) -> Result<(), QueueError> {
        if pipeline.is_empty() {
            return Ok(());
        }
        self.exchange(pipeline).await
    }

    async fn shared(&self) -> Result<MultiplexedConnection, QueueError> {
        let mut shared = self.shared.lock().await;
        if let Some(connection) = &*shared {
            return Ok(connection.clone());
        }
        Ok(shared.insert(self.connect(Duration::ZERO).await?).clone())
    }

    /// Opens a connection on which a reply may take `wait` longer than an exchange. A read that
    /// waits holds up everything behind it, so it needs a connection of its own.
    pub(super) async fn connect(&self, wait: Duration) -> Result<MultiplexedConnection, QueueError> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(EXCHANGE_TIMEOUT))
            .set_response_timeout(Some(wait + EXCHANGE_TIMEOUT));
        Ok(self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }
}
