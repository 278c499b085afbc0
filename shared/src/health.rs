//! Whether what a process depends on answers, for whoever sends it requests or starts it anew.
//!
//! It is asked every few seconds, and each time it costs PostgreSQL one small statement and Redis a ping. An answer comes
//! within a few seconds, whatever hangs.

use std::{error::Error, time::Duration};

use serde::Serialize;
use tokio::time::timeout;

use crate::context::Context;

/// Shorter than the probes wait that come with us (5 s in `compose.yaml`).
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a part can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It answers.
    Ok,
    /// It does not.
    Unavailable,
    /// The database's schema is older than the one that this version was built for.
    WrongVersion,
}

/// What every process depends on.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// The database and its schema.
    pub postgres: Part,
    /// Redis.
    pub redis: Part,
}

/// Looks at them. `schema` is the version of the database that this program was built for.
pub async fn look(context: &Context, schema: &str) -> Parts {
    let (postgres, redis) = tokio::join!(postgres(context, schema), redis(context));
    Parts { postgres, redis }
}

async fn postgres(context: &Context, schema: &str) -> Part {
    match timeout(PATIENCE, context.postgres.schema_version()).await {
        Ok(Ok(Some(version))) if version.as_str() >= schema => Part::Ok,
        Ok(Ok(_)) => Part::WrongVersion,
        Ok(Err(error)) => unavailable("PostgreSQL", &error),
        Err(late) => unavailable("PostgreSQL", &late),
    }
}

async fn redis(context: &Context) -> Part {
    match timeout(PATIENCE, context.redis.ping()).await {
        Ok(Ok(())) => Part::Ok,
        Ok(Err(error)) => unavailable("Redis", &error),
        Err(late) => unavailable("Redis", &late),
    }
}

fn unavailable(what: &str, error: &dyn Error) -> Part {
    tracing::warn!(%error, "{what} does not answer");
    Part::Unavailable
}
