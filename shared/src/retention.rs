//! What is deleted once nothing can ask for it any more, or may.
//!
//! Every statement deletes a bounded number of rows, so that none holds locks for long; the caller comes again
//! until there is nothing left. The history of webhooks ends by the day, and whole ([`end_history`]).

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, raw_sql};
use uuid::Uuid;

use crate::{context::Context, outbox, partition, postgres::CrossTenant, webhook};

/// Ended sessions stay for a month more, for whoever asks where an account was used.
const SESSION_HISTORY: Duration = Duration::from_hours(30 * 24);

/// Ended keys and what is known of their use stay for a quarter, for whoever asks what a key was used for.
const KEY_HISTORY: Duration = Duration::from_hours(90 * 24);

/// That a mail was sent, or was not, is known for a month.
const MAIL_HISTORY: Duration = Duration::from_hours(30 * 24);

/// Invitations that have ended stay for a quarter: whoever declined one has no account that could be deleted.
const INVITATION_HISTORY: Duration = Duration::from_hours(90 * 24);

/// A second factor that was not confirmed by then will not be: it counts for minutes.
const FACTOR_SETUP: Duration = Duration::from_hours(1);

/// A year and a month: the longest span that can be asked for, whole.
const USAGE_HISTORY: Duration = Duration::from_hours(400 * 24);

/// Deletes up to `limit` rows of each kind that have expired; how many there were at most of any one kind.
///
/// # Errors
/// When the database does not answer.
pub async fn delete_expired(context: &Context, limit: u32) -> Result<u64, DbErr> {
    let (now, limit) = (context.clock.now(), i64::from(limit));
    let usage = (now - USAGE_HISTORY).date_naive();
    let (history, setup, keys) = (now - SESSION_HISTORY, now - FACTOR_SETUP, now - KEY_HISTORY);
    // Within its grace a used token still gives its successor.
    let refresh = now - context.config.tokens.refresh_grace;
    let (mails, invitations) = (now - MAIL_HISTORY, now - INVITATION_HISTORY);
    let statements = [
        raw_sql!(
            Postgres,
            "DELETE FROM signals WHERE id IN (
                 SELECT id FROM signals WHERE created_at < {now} AND expires_at < {now}
                 ORDER BY created_at LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM one_time_tokens WHERE hash IN (
                 SELECT hash FROM one_time_tokens WHERE expires_at < {now} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM refresh_tokens WHERE hash IN (
                 SELECT hash FROM refresh_tokens WHERE expires_at < {refresh} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM lockouts WHERE (tenant_id, credential) IN (
                 SELECT tenant_id, credential FROM lockouts WHERE expires_at < {now} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM mfa_challenges WHERE hash IN (
                 SELECT hash FROM mfa_challenges WHERE expires_at < {now} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM totp_factors WHERE id IN (
                 SELECT id FROM totp_factors WHERE confirmed_at IS NULL AND created_at < {setup} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (
                 SELECT tenant_id, key FROM idempotency_keys WHERE expires_at < {now} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM webhook_former_secrets WHERE id IN (
                 SELECT id FROM webhook_former_secrets WHERE ends_at <= {now} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM devices WHERE id IN (
                 SELECT id FROM devices WHERE expires_at < {now} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM api_key_usage WHERE (tenant_id, key_id, hour) IN (
                 SELECT tenant_id, key_id, hour FROM api_key_usage WHERE hour < {keys} ORDER BY hour LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM api_keys WHERE id IN (
                 SELECT id FROM api_keys WHERE LEAST(revoked_at, expires_at, retires_at) < {keys} LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM mails WHERE id IN (
                 SELECT id FROM mails WHERE finished_at < {mails} ORDER BY finished_at LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM invitations WHERE id IN (
                 SELECT id FROM invitations
                 WHERE LEAST(accepted_at, revoked_at, expires_at) < {invitations} LIMIT {limit})"
        ),
        // Their refresh tokens go with them.
        raw_sql!(
            Postgres,
            "DELETE FROM sessions WHERE id IN (
                 SELECT id FROM sessions WHERE expires_at < {history} ORDER BY id LIMIT {limit})"
        ),
        raw_sql!(
            Postgres,
            "DELETE FROM tenant_usage WHERE (tenant_id, day) IN (
                 SELECT tenant_id, day FROM tenant_usage WHERE day < {usage} LIMIT {limit})"
        ),
    ];
    let mut most = 0;
    for statement in statements {
        let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
        most = most.max(tx.execute_raw(statement).await?.rows_affected());
        tx.commit().await?;
    }
    let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
    most = most.max(outbox::mark_old(&tx, now, limit).await?);
    tx.commit().await?;
    erase_marked(context, limit).await?;
    Ok(most)
}

/// Walks past the events that still wait, however many they are, a page a transaction.
async fn erase_marked(context: &Context, limit: i64) -> Result<(), DbErr> {
    let mut after = Some(Uuid::nil());
    while let Some(last) = after {
        let tx = context.postgres.cross_tenant(CrossTenant::Sweep).await?;
        after = outbox::erase_marked(&tx, None, last, limit).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Ends the history of webhooks that is older than the settings say: events, deliveries and attempts by the day, and up
/// to `limit` rows of each that lie in no day's partition, and of endpoints that were deleted before; how many of the latter
/// there were at most.
///
/// A day of which a delivery still waits stays until that has come to its end. One that has waited since the day before
/// those, for longer than all its attempts take, comes to it here.
///
/// # Errors
/// When a day cannot be dropped now; it is found again by the next run.
pub async fn end_history(context: &Context, limit: u32) -> Result<u64, DbErr> {
    let webhooks = &context.config.webhooks;
    let before = context.clock.now() - webhooks.history;
    let attempts = webhooks
        .schedule
        .iter()
        .sum::<Duration>()
        .mul_f64(1.0 + webhooks.jitter);
    while webhook::end_outlived(context, before - attempts, limit).await? >= u64::from(limit) {}
    let dropped = partition::drop_before(context, before).await?;
    if dropped > 0 {
        tracing::info!(partitions = dropped, %before, "the history of webhooks that is older has ended");
    }
    let outside = partition::delete_outside(context, before, limit).await?;
    Ok(outside.max(webhook::remove_deleted(context, before, limit).await?))
}
