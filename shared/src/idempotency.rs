//! Requests that may be sent again: a client that got no answer asks once more under the same key, and what was made
//! is made once.
//!
//! A request claims its key before it is carried out, and the claim is marked in the transaction of the change itself.
//! So whatever crashes in between, one who asks again learns what became of the first: it is under way, its answer
//! stands here, or it was carried out and its answer was lost. Only what was not carried out is begun anew.
//!
//! What must never happen: a change that is made twice under one key; an answer that another principal gets; a secret
//! that is shown once, shown twice.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    context::Context,
    crypto::{
        mac,
        seal::{open, seal},
    },
    error::Internal,
    id::TenantId,
    principal::{Claim, Principal, Subject},
};

/// For so long an answer is kept.
const LIFETIME: Duration = Duration::from_hours(24);
/// An attempt that has neither committed nor ended by then will not: no statement may take so long.
const LEASE: Duration = Duration::from_mins(2);

/// An answer, as it is given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Headers that belong to the answer.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What is to be done with a request that names a key.
#[derive(Debug)]
pub enum Begun {
    /// Carry it out under this claim.
    New(Claim),
    /// It was carried out: this was the answer.
    Again(Reply),
    /// An earlier one is under way.
    Running,
    /// An earlier one was another request.
    Different,
    /// An earlier one was carried out, and its answer was lost.
    Lost,
}

#[derive(FromQueryResult)]
struct Row {
    claim: Uuid,
    fingerprint: Vec<u8>,
    committed: bool,
    sealed: Option<Vec<u8>>,
    running: bool,
}

/// Claims the key for a request of the principal, or says what became of the one before. `parts` is all that makes it
/// this request.
///
/// # Errors
/// Only failures inside.
pub async fn begin(
    context: &Context,
    principal: &Principal,
    key: &str,
    parts: &[&[u8]],
) -> Result<Begun, Internal> {
    let now = context.clock.now();
    let tenant = principal.tenant;
    let claim = Claim {
        tenant,
        key: name(principal, key),
        id: context.uuid(now),
    };
    // What is repeated may hold a password: without the key, whoever has the database could try all of them against it.
    let secret = context.config.secrets.data_keys.oldest().bytes.expose();
    let fingerprint = mac(
        secret,
        &[&[b"idempotency fingerprint".as_slice()], parts].concat(),
    )
    .to_vec();
    let (key, id, print) = (claim.key.to_vec(), claim.id, fingerprint.clone());
    let (lease_until, expires_at) = (now + LEASE, now + LIFETIME);
    let tx = context.postgres.tenant(tenant).await?;
    let taken = tx
        .execute_raw(raw_sql!(
            Postgres,
            "INSERT INTO idempotency_keys AS k
                 (tenant_id, key, fingerprint, claim, lease_until, created_at, expires_at)
             VALUES ({tenant}, {key}, {print}, {id}, {lease_until}, {now}, {expires_at})
             ON CONFLICT (tenant_id, key) DO UPDATE SET
                 fingerprint = EXCLUDED.fingerprint, claim = EXCLUDED.claim, committed = false, sealed = NULL,
                 lease_until = EXCLUDED.lease_until, created_at = EXCLUDED.created_at,
                 expires_at = EXCLUDED.expires_at
             WHERE k.expires_at <= {now}
                OR (NOT k.committed AND k.lease_until <= {now} AND k.fingerprint = EXCLUDED.fingerprint)"
        ))
        .await?;
    if taken.rows_affected() == 1 {
        tx.commit().await?;
        return Ok(Begun::New(claim));
    }
    let key = claim.key.to_vec();
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT claim, fingerprint, committed, sealed, lease_until > {now} AS running FROM idempotency_keys
         WHERE tenant_id = {tenant} AND key = {key}"
    ))
    .one(&tx)
    .await?;
    match row {
        Some(row) if row.fingerprint != fingerprint => Ok(Begun::Different),
        Some(row) => became(context, row),
        // It was given up between the two statements.
        None => Ok(Begun::Running),
    }
}

fn became(context: &Context, row: Row) -> Result<Begun, Internal> {
    let Some(sealed) = row.sealed else {
        return Ok(if row.committed && !row.running {
            Begun::Lost
        } else {
            Begun::Running
        });
    };
    let keys = &context.config.secrets.data_keys;
    let reply = open(keys, row.claim, &sealed).map_err(Internal::fault)?;
    Ok(Begun::Again(serde_json::from_slice(reply.expose())?))
}

/// Keeps the answer for whoever asks again.
///
/// # Errors
/// Only failures inside; the request was carried out all the same.
pub async fn finish(context: &Context, claim: &Claim, reply: &Reply) -> Result<(), Internal> {
    let keys = &context.config.secrets.data_keys;
    let reply = serde_json::to_vec(reply)?;
    let sealed = seal(keys, claim.id, &reply, &*context.random).map_err(Internal::fault)?;
    let (tenant, key, id) = (claim.tenant, claim.key.to_vec(), claim.id);
    let tx = context.postgres.tenant(tenant).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE idempotency_keys SET sealed = {sealed}, committed = true
         WHERE tenant_id = {tenant} AND key = {key} AND claim = {id}"
    ))
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Gives the key up: the request was refused. `failed` tells of a fault of ours, after which what has committed stays
/// claimed.
///
/// # Errors
/// Only failures inside; the claim ends by itself then.
pub async fn abandon(context: &Context, claim: &Claim, failed: bool) -> Result<(), DbErr> {
    let (tenant, key, id) = (claim.tenant, claim.key.to_vec(), claim.id);
    let tx = context.postgres.tenant(tenant).await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM idempotency_keys
         WHERE tenant_id = {tenant} AND key = {key} AND claim = {id} AND NOT (committed AND {failed})"
    ))
    .await?;
    tx.commit().await
}

/// Each principal has keys of its own, and so has each API key: another of the same owner may do less. What the client
/// calls them is not kept.
fn name(principal: &Principal, key: &str) -> [u8; 32] {
    let (kind, id) = match principal.subject {
        Subject::User(user) => ("user", user.0),
        Subject::ServiceAccount(account) => ("service_account", account.0),
        Subject::Tenant => ("tenant", TenantId(Uuid::nil()).0),
    };
    let by = principal.key.map(|key| key.0.into_bytes());
    let by = by.as_ref().map_or(&[] as &[u8], |by| by);
    mac(
        b"idempotency key",
        &[kind.as_bytes(), id.as_bytes(), by, key.as_bytes()],
    )
}
