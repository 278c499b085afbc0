//! The apalis backend of one lane: a [`Link`] to its stream, a sink to push and a stream to fetch.
//!
//! Producer and consumer build the same backend. The producer only ever uses its sink, the consumer
//! its fetch stream, which starts when the worker first asks for a task.

use apalis_core::backend::custom::{BackendBuilder, CustomBackend};
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use tokio::time::timeout;

use super::{
    EXCHANGE_TIMEOUT, Job, Lane, QueueError, Settings,
    fetch::{Deliveries, Fetching, deliveries},
    sink::StreamSink,
    stream_key,
};

/// What apalis knows the queue as.
pub(super) type Backend = CustomBackend<Job, Link, Deliveries, StreamSink, Fetching>;

/// Puts the backend of a lane together. Nothing is connected or started yet.
pub(super) fn backend(link: Link, fetching: Fetching) -> Result<Backend, QueueError> {
    let backend = BackendBuilder::new_with_cfg(fetching)
        .database(link)
        .fetcher(|link, fetching, _| deliveries(link, fetching))
        .sink(|link, _| StreamSink::new(link.clone()))
        .build()?;
    Ok(backend)
}

/// One lane's stream and the ways to reach it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) lane: Lane,
    pub(super) key: String,
    client: redis::Client,
    /// Shared by all short exchanges. Reconnects by itself.
    short: ConnectionManager,
}

impl Link {
    /// Must be called within a Tokio runtime.
    pub(super) fn new(settings: &Settings, lane: Lane) -> Result<Self, QueueError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(EXCHANGE_TIMEOUT))
            .set_response_timeout(Some(EXCHANGE_TIMEOUT))
            // Who uses it decides whether to try again, so that no exchange outlives its timeout.
            .set_number_of_retries(0);
        Ok(Self {
            lane,
            key: stream_key(&settings.prefix, lane),
            short: ConnectionManager::new_lazy_with_config(settings.client.clone(), config)?,
            client: settings.client.clone(),
        })
    }

    /// Sends one pipeline and reads its replies, within [`EXCHANGE_TIMEOUT`] altogether.
    pub(super) async fn exchange<T: redis::FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, QueueError> {
        let mut connection = self.short.clone();
        Ok(timeout(EXCHANGE_TIMEOUT, pipeline.query_async(&mut connection)).await??)
    }

    /// Opens a connection whose replies may take `wait` longer than those of a short exchange. A
    /// blocking read holds up everything else on its connection, so it needs one of its own.
    pub(super) async fn waiting_connection(
        &self,
        wait: std::time::Duration,
    ) -> Result<MultiplexedConnection, QueueError> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(EXCHANGE_TIMEOUT))
            .set_response_timeout(Some(wait + EXCHANGE_TIMEOUT));
        Ok(self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?)
    }
}
