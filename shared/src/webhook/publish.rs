//! Events of the tenants' own, written together.
//!
//! A statement and a commit cost PostgreSQL several times what a row costs it. So what a tenant publishes while its
//! batch before is being written, gathers and is written at once (see [`Batcher`]); who comes alone waits for nobody.
//! Each tenant has a queue to itself, and one connection at most in a process: its bursts hold up nobody else.
//!
//! A failure of the database is that of all in the batch: none of them is written then.
//!
//! What must never happen: an answer before the commit; events of two tenants in one transaction; a request that fails
//! because of what another in its batch is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moka::sync::Cache;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use super::{GivenType, WebhookError};
use crate::{
    batch::Batcher,
    context::{Context, use_claims},
    error::Internal,
    id::{EventId, TenantId},
    outbox::{self, OwnEventType},
    permission::{Authorized, EventsPublish},
    principal::{Actor, Claim, Origin},
    trace::TraceContext,
};

/// The largest payload of an event, in bytes of JSON.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// The most events in one transaction.
const BATCH: usize = 64;
/// The queue of a tenant that publishes nothing for so long is given up.
const IDLE: Duration = Duration::from_mins(1);

/// An event that is to be written.
struct Publication {
    event_type: OwnEventType,
    payload: Box<RawValue>,
    trace: Option<TraceContext>,
    claim: Option<Claim>,
}

/// What an event says, and the trace that it was caused in.
type Caused = (Box<RawValue>, Option<TraceContext>);

/// Why one was not. Many may hear of one failure.
type Written = Result<EventId, Arc<Internal>>;

/// Takes events from tenants. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    context: Context,
    queues: Cache<TenantId, Batcher<Publication, Written>>,
}

impl Publisher {
    /// Writes by these connections.
    #[must_use]
    pub fn new(context: &Context) -> Self {
        Self {
            context: context.clone(),
            queues: Cache::builder().time_to_idle(IDLE).build(),
        }
    }

    /// Publishes an event of the tenant's own; it is there once this returns. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the type is not valid or one of ours, or the payload too large.
    pub async fn publish(
        &self,
        caller: &Authorized<EventsPublish>,
        origin: &Origin,
        event_type: &str,
        payload: &Map<String, Value>,
    ) -> Result<EventId, WebhookError> {
        let event_type = OwnEventType::parse(event_type).map_err(|_| WebhookError::InvalidEventType {
            name: event_type.to_owned(),
            given: GivenType::Own,
        })?;
        let payload = to_raw_value(payload)?;
        if payload.get().len() > MAX_PAYLOAD {
            return Err(WebhookError::PayloadTooLarge(MAX_PAYLOAD));
        }
        let publication = Publication {
            event_type,
            payload,
            trace: origin.trace,
            claim: origin.claim,
        };
        let tenant = caller.principal().tenant;
        let queue = self.queues.get_with(tenant, || self.queue(tenant));
        match queue.submit(publication).await {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Internal::shared(error).into()),
            None => Err(Internal::unavailable("nobody knows whether the event was written").into()),
        }
    }

    fn queue(&self, tenant: TenantId) -> Batcher<Publication, Written> {
        let context = self.context.clone();
        Batcher::new(BATCH, 1, move |batch: Vec<Publication>| {
            let context = context.clone();
            async move {
                let count = batch.len();
                write(&context, tenant, batch).await.unwrap_or_else(|error| {
                    let error = Arc::new(error);
                    (0..count).map(|_| Err(Arc::clone(&error))).collect()
                })
            }
        })
    }
}

/// Writes the events in one transaction, but for those whose claims have passed to other attempts.
async fn write(
    context: &Context,
    tenant: TenantId,
    batch: Vec<Publication>,
) -> Result<Vec<Written>, Internal> {
    let origin = Origin::default();
    let mut change = context.change(tenant, Actor::System, &origin).await?;
    let claims: Vec<_> = batch.iter().filter_map(|one| one.claim.as_ref()).collect();
    let used = use_claims(&change.tx, &claims).await?;
    let mut types: HashMap<OwnEventType, Vec<(usize, Caused)>> = HashMap::new();
    let mut written = vec![None; batch.len()];
    for (place, publication) in batch.into_iter().enumerate() {
        let Publication {
            event_type,
            payload,
            trace,
            claim,
        } = publication;
        if claim.is_none_or(|claim| used.contains(&claim.id)) {
            types
                .entry(event_type)
                .or_default()
                .push((place, (payload, trace)));
        }
    }
    for (event_type, publications) in types {
        let (places, payloads): (Vec<_>, Vec<_>) = publications.into_iter().unzip();
        let events = outbox::emit_own(&mut change, &event_type, payloads).await?;
        for (place, event) in places.into_iter().zip(events) {
            written[place] = Some(event);
        }
    }
    change.commit().await?;
    let taken_over = || Arc::new(Internal::fault("another attempt has taken over"));
    Ok(written
        .into_iter()
        .map(|event| event.ok_or_else(taken_over))
        .collect())
}
