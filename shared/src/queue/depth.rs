//! How much is in a lane: for metrics, for scaling, and for the sweep, which pushes no more while
//! workers are behind.

use redis::{RedisResult, Value, aio::ConnectionLike, streams::StreamInfoGroupsReply};

use super::{GROUP, Lane, stream_key};

/// The number of jobs in a lane, by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Pushed and not yet fetched by any worker.
    pub lag: usize,
    /// Fetched, and not yet acknowledged.
    pub pending: usize,
    /// All entries of the stream. A little more than `lag + pending` for a moment at most.
    pub length: usize,
}

/// Reads the depth of `lane`. All zero if nothing was ever pushed.
///
/// # Errors
///
/// If Redis cannot be reached, or the key holds something else.
pub async fn depth(
    connection: &mut (impl ConnectionLike + Send),
    prefix: &str,
    lane: Lane,
) -> RedisResult<Depth> {
    let key = stream_key(prefix, lane);
    let length = redis::cmd("XLEN").arg(&key).query_async(connection).await?;
    let info: RedisResult<Value> = redis::cmd("XINFO")
        .arg("GROUPS")
        .arg(&key)
        .query_async(connection)
        .await;
    let groups: StreamInfoGroupsReply = match info {
        Ok(reply) => redis::from_redis_value(reply)?,
        // Redis answers with a general error when there is no such key.
        Err(error) if length == 0 && error.code() == Some("ERR") => return Ok(Depth::default()),
        Err(error) => return Err(error),
    };
    let group = groups
        .groups
        .into_iter()
        .find(|group| group.name == GROUP)
        .unwrap_or_default();
    Ok(Depth {
        // Redis does not always know the lag, but as finished entries are deleted it follows.
        lag: group
            .lag
            .unwrap_or_else(|| usize::saturating_sub(length, group.pending)),
        pending: group.pending,
        length,
    })
}
