//! Telling that a key will expire, once and in time.

use super::{ApiKey, service, store};
use crate::{
    context::Context,
    error::Internal,
    outbox::{self, event},
    postgres::CrossTenant,
    principal::{Actor, Origin},
};

/// Tells of up to `limit` keys that expire soon; how many that were. Two workers at once tell of each key once.
///
/// # Errors
/// When the database does not answer; what was told until then is told.
pub async fn tell_expiring(context: &Context, limit: u32) -> Result<u64, Internal> {
    let now = context.clock.now();
    let by = now + context.config.api_keys.expiry_notice;
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    let due = store::expiring(&tx, now, by, i64::from(limit)).await?;
    drop(tx);
    let (origin, mut told) = (Origin::default(), 0);
    for (tenant, id) in due {
        let mut change = context.change(tenant, Actor::System, &origin).await?;
        let Some(row) = store::mark_told(&change.tx, tenant, id, change.now).await? else {
            continue;
        };
        let key = ApiKey::of(row, change.now);
        let about = service::about(key.owner);
        outbox::emit(&mut change, about, &event::ApiKeyExpiring(key.told())).await?;
        change.commit().await?;
        told += 1;
    }
    Ok(told)
}
