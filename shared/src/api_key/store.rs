//! The SQL of keys.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, raw_sql, sea_query::LockType,
};
use uuid::Uuid;

use super::{Filter, KeyHash, KeyStatus, UsageHour, usage::Uses};
use crate::{
    entity::{api_key, api_key::Column, tenant, user},
    id::{ApiKeyId, TenantId, UserId},
    page::PageRequest,
    postgres::Tx,
    principal::Subject,
};

/// Of any tenant: a key names none.
pub(super) async fn find_by_hash(tx: &Tx, hash: &KeyHash) -> Result<Option<api_key::Model>, DbErr> {
    api_key::Entity::find()
        .filter(Column::Hash.eq(hash.to_vec()))
        .one(tx)
        .await
}

fn by_id(tenant: TenantId, id: ApiKeyId) -> sea_orm::Select<api_key::Entity> {
    api_key::Entity::find_by_id(id).filter(Column::TenantId.eq(tenant))
}

pub(super) async fn find(tx: &Tx, tenant: TenantId, id: ApiKeyId) -> Result<Option<api_key::Model>, DbErr> {
    by_id(tenant, id).one(tx).await
}

/// The key, held until the transaction ends.
pub(super) async fn hold(tx: &Tx, tenant: TenantId, id: ApiKeyId) -> Result<Option<api_key::Model>, DbErr> {
    by_id(tenant, id).lock(LockType::NoKeyUpdate).one(tx).await
}

/// Those of one owner, as its index has them.
fn of_owner(owner: Subject) -> Condition {
    match owner {
        Subject::User(user) => Condition::all().add(Column::UserId.eq(user)),
        Subject::ServiceAccount(account) => Condition::all().add(Column::ServiceAccountId.eq(account)),
        Subject::Tenant => Condition::all()
            .add(Column::UserId.is_null())
            .add(Column::ServiceAccountId.is_null()),
    }
}

/// As [`super::model::status`] says of a row.
fn in_status(status: KeyStatus, now: DateTime<Utc>) -> Condition {
    let before = |end: Column| Condition::any().add(end.is_null()).add(end.gt(now));
    let live = Condition::all()
        .add(Column::RevokedAt.is_null())
        .add(before(Column::ExpiresAt))
        .add(before(Column::RetiresAt));
    match status {
        KeyStatus::Active => live.add(Column::RotatedTo.is_null()),
        KeyStatus::Retiring => live.add(Column::RotatedTo.is_not_null()),
        KeyStatus::Expired => Condition::all().add(Column::RevokedAt.is_null()).add(
            Condition::any()
                .add(Column::ExpiresAt.lte(now))
                .add(Column::RetiresAt.lte(now)),
        ),
        KeyStatus::Revoked => Condition::all().add(Column::RevokedAt.is_not_null()),
    }
}

pub(super) async fn list(
    tx: &Tx,
    tenant: TenantId,
    filter: Filter,
    page: PageRequest,
    now: DateTime<Utc>,
) -> Result<Vec<api_key::Model>, DbErr> {
    let Filter {
        owner,
        environment,
        status,
    } = filter;
    api_key::Entity::find()
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::Id.lt(page.before_or_max()))
        .apply_if(owner, |query, owner| query.filter(of_owner(owner)))
        .apply_if(environment, |query, environment| {
            query.filter(Column::Environment.eq(environment))
        })
        .apply_if(status, |query, status| query.filter(in_status(status, now)))
        .order_by_desc(Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// How many live keys the tenant has, and how many of them are the owner's, after everyone else who is about to add one.
pub(super) async fn count_for_insert(
    tx: &Tx,
    tenant: TenantId,
    owner: Subject,
    now: DateTime<Utc>,
) -> Result<(i64, i64), DbErr> {
    #[derive(FromQueryResult)]
    struct Counts {
        of_tenant: i64,
        of_owner: i64,
    }
    // One creation at a time, or two at the limit would both see one place left.
    hold_tenant(tx, tenant).await?;
    let (user, account) = columns(owner);
    let counts = Counts::find_by_statement(raw_sql!(
        Postgres,
        "SELECT count(*) AS of_tenant,
                count(*) FILTER (WHERE user_id IS NOT DISTINCT FROM {user}
                                   AND service_account_id IS NOT DISTINCT FROM {account}) AS of_owner
         FROM api_keys
         WHERE tenant_id = {tenant} AND COALESCE(LEAST(revoked_at, expires_at, retires_at) > {now}, true)"
    ))
    .one(tx)
    .await?;
    Ok(counts.map_or((0, 0), |counts| (counts.of_tenant, counts.of_owner)))
}

async fn hold_tenant(tx: &Tx, tenant: TenantId) -> Result<(), DbErr> {
    tenant::Entity::find_by_id(tenant)
        .lock(LockType::NoKeyUpdate)
        .one(tx)
        .await
        .map(drop)
}

/// The columns that say whose a key is.
pub(super) fn columns(owner: Subject) -> (Option<Uuid>, Option<Uuid>) {
    match owner {
        Subject::User(user) => (Some(user.0), None),
        Subject::ServiceAccount(account) => (None, Some(account.0)),
        Subject::Tenant => (None, None),
    }
}

/// Holds the owner, before any of its keys, for whoever adds one: whoever ends all that the owner has comes before that or
/// after it. Whether there is one.
pub(super) async fn hold_owner(tx: &Tx, tenant: TenantId, owner: Subject) -> Result<bool, DbErr> {
    let statement = match owner {
        Subject::User(id) => raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM users WHERE tenant_id = {tenant} AND id = {id} FOR SHARE"
        ),
        Subject::ServiceAccount(id) => raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM service_accounts WHERE tenant_id = {tenant} AND id = {id} FOR SHARE"
        ),
        Subject::Tenant => return Ok(true),
    };
    Ok(tx.query_one_raw(statement).await?.is_some())
}

/// Holds the owner for whoever ends its keys: those that are being added are there once this returns. Keys of the tenant
/// itself are added by whoever has its row.
pub(super) async fn hold_owner_alone(tx: &Tx, tenant: TenantId, owner: Subject) -> Result<(), DbErr> {
    match owner {
        Subject::User(id) => crate::user::store::hold(tx, tenant, id).await,
        Subject::ServiceAccount(id) => tx
            .execute_raw(raw_sql!(
                Postgres,
                "SELECT 1 FROM service_accounts WHERE tenant_id = {tenant} AND id = {id} FOR NO KEY UPDATE"
            ))
            .await
            .map(drop),
        Subject::Tenant => hold_tenant(tx, tenant).await,
    }
}

/// Whether the key has not ended, and does not before the transaction does.
pub(super) async fn hold_live(
    tx: &Tx,
    tenant: TenantId,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let row = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM api_keys
             WHERE tenant_id = {tenant} AND id = {id} AND revoked_at IS NULL
               AND COALESCE(LEAST(expires_at, retires_at) > {now}, true) FOR SHARE"
        ))
        .await?;
    Ok(row.is_some())
}

/// Which keys a batch means: each condition that is given narrows the choice.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) ids: Option<Vec<Uuid>>,
    pub(super) hashes: Option<Vec<Vec<u8>>>,
    pub(super) owner: Option<Subject>,
    pub(super) created_before: Option<DateTime<Utc>>,
}

/// Revokes those of the tenant's keys that are meant and were not revoked before.
pub(super) async fn revoke(
    tx: &Tx,
    tenant: TenantId,
    choice: Choice,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<(ApiKeyId, Option<UserId>)>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        id: ApiKeyId,
        user_id: Option<UserId>,
    }
    let Choice {
        ids,
        hashes,
        owner,
        created_before,
    } = choice;
    let named = ids.is_some() || hashes.is_some();
    let (ids, hashes) = (ids.unwrap_or_default(), hashes.unwrap_or_default());
    let any_owner = owner.is_none();
    let (user, account) = owner.map_or((None, None), columns);
    // In the order of ids, so that two batches never wait for each other in a circle.
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "WITH meant AS (
             SELECT id FROM api_keys
             WHERE tenant_id = {tenant} AND revoked_at IS NULL
               AND (NOT {named} OR id = ANY({ids}::uuid[]) OR hash = ANY({hashes}::bytea[]))
               AND ({any_owner} OR (user_id IS NOT DISTINCT FROM {user}
                                AND service_account_id IS NOT DISTINCT FROM {account}))
               AND ({created_before}::timestamptz IS NULL OR created_at < {created_before})
             ORDER BY id FOR NO KEY UPDATE)
         UPDATE api_keys k SET revoked_at = {now}, revoke_reason = {reason}, updated_at = {now}
         FROM meant WHERE k.tenant_id = {tenant} AND k.id = meant.id
         RETURNING k.id, k.user_id"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.user_id)).collect())
}

/// Writes down how often keys were used, of many tenants at once. Keys that are gone are left out.
pub(super) async fn used(tx: &Tx, uses: &HashMap<(ApiKeyId, DateTime<Utc>), Uses>) -> Result<(), DbErr> {
    let mut rows: Vec<_> = uses.iter().collect();
    // Two processes write the same rows in the same order.
    rows.sort_unstable_by_key(|(at, _)| **at);
    let tenants: Vec<Uuid> = rows.iter().map(|(_, uses)| uses.tenant.0).collect();
    let keys: Vec<Uuid> = rows.iter().map(|((key, _), _)| key.0).collect();
    let hours: Vec<DateTime<Utc>> = rows.iter().map(|((_, hour), _)| *hour).collect();
    let verified: Vec<i64> = rows.iter().map(|(_, uses)| uses.verified).collect();
    let denied: Vec<i64> = rows.iter().map(|(_, uses)| uses.denied).collect();
    let last: Vec<DateTime<Utc>> = rows.iter().map(|(_, uses)| uses.last_at).collect();
    tx.execute_raw(raw_sql!(
        Postgres,
        "WITH used AS (
             SELECT n.* FROM unnest({tenants}::uuid[], {keys}::uuid[], {hours}::timestamptz[],
                                    {verified}::bigint[], {denied}::bigint[], {last}::timestamptz[])
                 AS n (tenant_id, key_id, hour, verified, denied, last_at)),
         held AS (
             SELECT k.tenant_id, k.id FROM api_keys k
             WHERE (k.tenant_id, k.id) IN (SELECT tenant_id, key_id FROM used)
             ORDER BY k.id FOR NO KEY UPDATE),
         stamped AS (
             UPDATE api_keys k SET last_used_at = GREATEST(k.last_used_at, u.last_at)
             FROM (SELECT tenant_id, key_id, max(last_at) AS last_at FROM used WHERE verified > 0
                   GROUP BY tenant_id, key_id) u
             JOIN held h ON h.tenant_id = u.tenant_id AND h.id = u.key_id
             WHERE k.tenant_id = u.tenant_id AND k.id = u.key_id)
         INSERT INTO api_key_usage AS t (tenant_id, key_id, hour, verified, denied)
         SELECT u.tenant_id, u.key_id, u.hour, u.verified, u.denied
         FROM used u JOIN held h ON h.tenant_id = u.tenant_id AND h.id = u.key_id
         ORDER BY u.key_id, u.hour
         ON CONFLICT (tenant_id, key_id, hour)
         DO UPDATE SET verified = t.verified + excluded.verified, denied = t.denied + excluded.denied"
    ))
    .await
    .map(drop)
}

/// The hours in which the key was used, newest first.
pub(super) async fn usage(
    tx: &Tx,
    tenant: TenantId,
    id: ApiKeyId,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<UsageHour>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        hour: DateTime<Utc>,
        verified: i64,
        denied: i64,
    }
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT hour, verified, denied FROM api_key_usage
         WHERE tenant_id = {tenant} AND key_id = {id} AND hour >= {since} AND hour < {until}
         ORDER BY hour DESC"
    ))
    .all(tx)
    .await?;
    let hour = |row: Row| UsageHour {
        hour: row.hour,
        verified: row.verified,
        denied: row.denied,
    };
    Ok(rows.into_iter().map(hour).collect())
}

/// Keys that expire by then, and of which nobody was told: of any tenant.
pub(super) async fn expiring(
    tx: &Tx,
    now: DateTime<Utc>,
    by: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(TenantId, ApiKeyId)>, DbErr> {
    #[derive(FromQueryResult)]
    struct Row {
        tenant_id: TenantId,
        id: ApiKeyId,
    }
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT tenant_id, id FROM api_keys
         WHERE revoked_at IS NULL AND expiry_told_at IS NULL AND rotated_to IS NULL
           AND expires_at > {now} AND expires_at <= {by}
         ORDER BY expires_at LIMIT {limit}"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.id)).collect())
}

/// Notes that it is told; nothing if somebody else has, or the key has ended meanwhile.
pub(super) async fn mark_told(
    tx: &Tx,
    tenant: TenantId,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<Option<api_key::Model>, DbErr> {
    api_key::Model::find_by_statement(raw_sql!(
        Postgres,
        "UPDATE api_keys SET expiry_told_at = {now}
         WHERE tenant_id = {tenant} AND id = {id} AND expiry_told_at IS NULL AND revoked_at IS NULL
           AND rotated_to IS NULL AND expires_at > {now}
         RETURNING *"
    ))
    .one(tx)
    .await
}

/// A user whose key it is.
pub(super) async fn user(tx: &Tx, tenant: TenantId, id: UserId) -> Result<Option<user::Model>, DbErr> {
    crate::user::store::find(tx, tenant, id).await
}
