//! The SQL of the audit trail.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, QueryTrait, raw_sql,
};
use uuid::Uuid;

use super::{AuditFilter, Waiting};
use crate::{
    entity::audit_event::{self, Column},
    id::TenantId,
    page::PageRequest,
    postgres::Tx,
};

/// Where a chain has got to.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Head {
    pub(super) tenant_id: TenantId,
    pub(super) length: i64,
    pub(super) hash: Vec<u8>,
    pub(super) key_id: String,
    pub(super) mac: Vec<u8>,
}

/// A row that waits for its seal.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Queued {
    pub(super) tenant_id: TenantId,
    pub(super) audit_id: Uuid,
    pub(super) mac: Option<Vec<u8>>,
    pub(super) mac_key: Option<String>,
    /// Whether there is a seal already.
    pub(super) sealed: bool,
}

/// A link of a chain.
#[derive(Clone, Debug, FromQueryResult)]
pub(super) struct Seal {
    pub(super) seq: i64,
    pub(super) audit_id: Uuid,
    pub(super) link_key: String,
    pub(super) hash: Vec<u8>,
    pub(super) sealed_at: DateTime<Utc>,
}

/// Links to be appended, column by column, and rows that need not wait any longer.
pub(super) struct Append {
    at: DateTime<Utc>,
    key_id: String,
    tenants: Vec<Uuid>,
    seqs: Vec<i64>,
    rows: Vec<Uuid>,
    hashes: Vec<Vec<u8>>,
    done_tenants: Vec<Uuid>,
    done_rows: Vec<Uuid>,
}

impl Append {
    pub(super) fn at(at: DateTime<Utc>, key_id: &str) -> Self {
        Self {
            at,
            key_id: key_id.to_owned(),
            tenants: Vec::new(),
            seqs: Vec::new(),
            rows: Vec::new(),
            hashes: Vec::new(),
            done_tenants: Vec::new(),
            done_rows: Vec::new(),
        }
    }

    pub(super) fn link(&mut self, row: &Queued, seq: i64, hash: Vec<u8>) {
        self.tenants.push(row.tenant_id.0);
        self.seqs.push(seq);
        self.rows.push(row.audit_id);
        self.hashes.push(hash);
    }

    /// How many there are.
    pub(super) fn links(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(super) fn done(&mut self, row: &Queued) {
        self.done_tenants.push(row.tenant_id.0);
        self.done_rows.push(row.audit_id);
    }
}

/// Steps from tenant to tenant along the index, whatever each has waiting.
pub(super) async fn waiting(tx: &Tx, after: TenantId, limit: u32) -> Result<Vec<Waiting>, DbErr> {
    let limit = i64::from(limit);
    let rows = tx.query_all_raw(raw_sql!(
        Postgres,
        "WITH RECURSIVE waiting AS (
             (SELECT tenant_id, created_at, 1 AS place FROM audit_unsealed WHERE tenant_id > {after}
              ORDER BY tenant_id, audit_id LIMIT 1)
             UNION ALL
             SELECT next.tenant_id, next.created_at, place + 1
             FROM waiting CROSS JOIN LATERAL (
                 SELECT tenant_id, created_at FROM audit_unsealed u WHERE u.tenant_id > waiting.tenant_id
                 ORDER BY tenant_id, audit_id LIMIT 1) next
             WHERE place < {limit})
         SELECT tenant_id, created_at FROM waiting ORDER BY tenant_id"
    ));
    let waiting = |row: &QueryResult| {
        Ok(Waiting {
            tenant: row.try_get("", "tenant_id")?,
            since: row.try_get("", "created_at")?,
        })
    };
    rows.await?.iter().map(waiting).collect()
}

/// Makes the chains that are missing. In order, so that two workers never wait for each other.
pub(super) async fn begin_chains(tx: &Tx, heads: &[Head]) -> Result<(), DbErr> {
    let tenants: Vec<Uuid> = heads.iter().map(|head| head.tenant_id.0).collect();
    let macs: Vec<Vec<u8>> = heads.iter().map(|head| head.mac.clone()).collect();
    let Some(Head { hash, key_id, .. }) = heads.first() else {
        return Ok(());
    };
    let (hash, key_id) = (hash.clone(), key_id.clone());
    tx.execute_raw(raw_sql!(
        Postgres,
        "INSERT INTO audit_chains (tenant_id, length, hash, key_id, mac)
         SELECT tenant, 0, {hash}, {key_id}, mac FROM unnest({tenants}::uuid[], {macs}::bytea[]) AS t (tenant, mac)
         WHERE NOT EXISTS (SELECT 1 FROM audit_chains WHERE tenant_id = tenant)
         ORDER BY tenant ON CONFLICT DO NOTHING"
    ))
    .await?;
    Ok(())
}

/// The chains of those tenants that no other worker has.
pub(super) async fn lock_chains(tx: &Tx, tenants: &[TenantId]) -> Result<Vec<Head>, DbErr> {
    let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
    Head::find_by_statement(raw_sql!(
        Postgres,
        "SELECT tenant_id, length, hash, key_id, mac FROM audit_chains WHERE tenant_id = ANY ({tenants}::uuid[])
         FOR NO KEY UPDATE SKIP LOCKED"
    ))
    .all(tx)
    .await
}

/// Chains of tenants after the given one by their id, and which key has signed the end of each.
pub(super) async fn ends(tx: &Tx, after: TenantId, limit: u32) -> Result<Vec<(TenantId, String)>, DbErr> {
    let limit = i64::from(limit);
    let rows = tx.query_all_raw(raw_sql!(
        Postgres,
        "SELECT tenant_id, key_id FROM audit_chains WHERE tenant_id > {after} ORDER BY tenant_id LIMIT {limit}"
    ));
    let end = |row: &QueryResult| Ok((row.try_get("", "tenant_id")?, row.try_get("", "key_id")?));
    rows.await?.iter().map(end).collect()
}

/// Up to `share` rows of each tenant, in their order.
pub(super) async fn queued(tx: &Tx, tenants: &[Uuid], share: usize) -> Result<Vec<Queued>, DbErr> {
    let (tenants, share) = (tenants.to_vec(), i64::try_from(share).unwrap_or(i64::MAX));
    Queued::find_by_statement(raw_sql!(
        Postgres,
        "SELECT u.tenant_id, u.audit_id, e.mac, e.mac_key, s.seq IS NOT NULL AS sealed
         FROM unnest({tenants}::uuid[]) AS t (tenant)
         CROSS JOIN LATERAL (
             SELECT tenant_id, audit_id FROM audit_unsealed WHERE tenant_id = tenant
             ORDER BY audit_id LIMIT {share}) u
         LEFT JOIN audit_events e ON e.id = u.audit_id AND e.tenant_id = u.tenant_id
         LEFT JOIN audit_seals s ON s.tenant_id = u.tenant_id AND s.audit_id = u.audit_id
         ORDER BY u.tenant_id, u.audit_id"
    ))
    .all(tx)
    .await
}

pub(super) async fn append(tx: &Tx, append: Append) -> Result<(), DbErr> {
    let Append {
        at,
        key_id,
        tenants,
        seqs,
        rows,
        hashes,
        done_tenants,
        done_rows,
    } = append;
    tx.execute_raw(raw_sql!(
        Postgres,
        "WITH done AS (
             DELETE FROM audit_unsealed WHERE (tenant_id, audit_id) IN (
                 SELECT * FROM unnest({done_tenants}::uuid[], {done_rows}::uuid[])))
         INSERT INTO audit_seals (tenant_id, seq, audit_id, key_id, hash, sealed_at)
         SELECT tenant, seq, row, {key_id}, hash, {at}
         FROM unnest({tenants}::uuid[], {seqs}::bigint[], {rows}::uuid[], {hashes}::bytea[]) AS l (tenant, seq, row, hash)"
    ))
    .await?;
    Ok(())
}

pub(super) async fn set_heads(tx: &Tx, heads: impl Iterator<Item = &Head>) -> Result<(), DbErr> {
    let (mut tenants, mut lengths, mut hashes, mut keys, mut macs) = (
        Vec::<Uuid>::new(),
        Vec::<i64>::new(),
        Vec::<Vec<u8>>::new(),
        Vec::<String>::new(),
        Vec::<Vec<u8>>::new(),
    );
    for head in heads {
        tenants.push(head.tenant_id.0);
        lengths.push(head.length);
        hashes.push(head.hash.clone());
        keys.push(head.key_id.clone());
        macs.push(head.mac.clone());
    }
    tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE audit_chains c SET length = h.length, hash = h.hash, key_id = h.key_id, mac = h.mac
         FROM unnest({tenants}::uuid[], {lengths}::bigint[], {hashes}::bytea[], {keys}::text[], {macs}::bytea[])
             AS h (tenant, length, hash, key_id, mac)
         WHERE c.tenant_id = h.tenant"
    ))
    .await?;
    Ok(())
}

/// The next tenant by its id of which there is anything in the trail.
pub(super) async fn next_tenant(tx: &Tx, after: TenantId) -> Result<Option<TenantId>, DbErr> {
    let next = tx.query_one_raw(raw_sql!(
        Postgres,
        "SELECT tenant_id FROM (
             (SELECT tenant_id FROM audit_events WHERE tenant_id > {after} ORDER BY tenant_id LIMIT 1)
             UNION ALL (SELECT tenant_id FROM audit_seals WHERE tenant_id > {after} ORDER BY tenant_id LIMIT 1)
             UNION ALL (SELECT tenant_id FROM audit_chains WHERE tenant_id > {after} ORDER BY tenant_id LIMIT 1)
             UNION ALL (SELECT tenant_id FROM audit_unsealed WHERE tenant_id > {after} ORDER BY tenant_id LIMIT 1)
         ) t ORDER BY tenant_id LIMIT 1"
    ));
    next.await?.map(|row| row.try_get("", "tenant_id")).transpose()
}

/// The chain's head, if it has one, and its last link's number at the same moment, 0 without any.
pub(super) async fn head(tx: &Tx, tenant: TenantId) -> Result<(Option<Head>, i64), DbErr> {
    let row = tx.query_one_raw(raw_sql!(
        Postgres,
        "SELECT c.*, coalesce((SELECT max(seq) FROM audit_seals WHERE tenant_id = {tenant}), 0) AS last
         FROM (SELECT 1) one LEFT JOIN audit_chains c ON c.tenant_id = {tenant}"
    ));
    let row = row
        .await?
        .ok_or_else(|| DbErr::RecordNotFound("a head".to_owned()))?;
    let there: Option<Uuid> = row.try_get("", "tenant_id")?;
    let head = there.map(|_| Head::from_query_result(&row, "")).transpose()?;
    Ok((head, row.try_get("", "last")?))
}

/// A link and its row: none where it is gone, an error where nobody can read it.
pub(super) type SealedRow = (Seal, Option<Result<audit_event::Model, DbErr>>);

/// Links after the given one, in order.
pub(super) async fn seals(
    tx: &Tx,
    tenant: TenantId,
    after: i64,
    limit: i64,
) -> Result<Vec<SealedRow>, DbErr> {
    let rows = tx.query_all_raw(raw_sql!(
        Postgres,
        "SELECT s.seq, s.audit_id, s.key_id AS link_key, s.hash, s.sealed_at, e.*
         FROM (SELECT * FROM audit_seals WHERE tenant_id = {tenant} AND seq > {after} ORDER BY seq LIMIT {limit}) s
         LEFT JOIN audit_events e ON e.id = s.audit_id AND e.tenant_id = {tenant}
         ORDER BY s.seq"
    ));
    let read = |row: &QueryResult| Ok((Seal::from_query_result(row, "")?, row_of(row)?));
    rows.await?.iter().map(read).collect()
}

fn row_of(row: &QueryResult) -> Result<Option<Result<audit_event::Model, DbErr>>, DbErr> {
    let id: Option<Uuid> = row.try_get("", "id")?;
    Ok(id.map(|_| audit_event::Model::from_query_result(row, "")))
}

/// A row as the index has it: its id, whether it is sealed, and whether it waits.
#[derive(Clone, Copy, Debug, FromQueryResult)]
pub(super) struct Place {
    pub(super) id: Uuid,
    pub(super) sealed: bool,
    pub(super) waits: bool,
    pub(super) created_at: DateTime<Utc>,
}

/// Rows after the given one by their id.
pub(super) async fn places(tx: &Tx, tenant: TenantId, after: Uuid, limit: i64) -> Result<Vec<Place>, DbErr> {
    Place::find_by_statement(raw_sql!(
        Postgres,
        "SELECT e.id, e.created_at, s.seq IS NOT NULL AS sealed, u.audit_id IS NOT NULL AS waits
         FROM (SELECT id, created_at FROM audit_events WHERE tenant_id = {tenant} AND id > {after}
               ORDER BY id LIMIT {limit}) e
         LEFT JOIN audit_seals s ON s.tenant_id = {tenant} AND s.audit_id = e.id
         LEFT JOIN audit_unsealed u ON u.tenant_id = {tenant} AND u.audit_id = e.id
         ORDER BY e.id"
    ))
    .all(tx)
    .await
}

/// One row, as [`seals`] has it.
pub(super) async fn row(
    tx: &Tx,
    tenant: TenantId,
    id: Uuid,
) -> Result<Option<Result<audit_event::Model, DbErr>>, DbErr> {
    let row = tx.query_one_raw(raw_sql!(
        Postgres,
        "SELECT * FROM audit_events WHERE tenant_id = {tenant} AND id = {id}"
    ));
    row.await?.as_ref().map_or(Ok(None), row_of)
}

/// A row that waits and is not there, if there is any.
pub(super) async fn missing(tx: &Tx, tenant: TenantId) -> Result<Option<Uuid>, DbErr> {
    let row = tx.query_one_raw(raw_sql!(
        Postgres,
        "SELECT u.audit_id FROM audit_unsealed u WHERE u.tenant_id = {tenant}
             AND NOT EXISTS (SELECT 1 FROM audit_events e WHERE e.id = u.audit_id AND e.tenant_id = {tenant})
         ORDER BY u.audit_id LIMIT 1"
    ));
    row.await?.map(|row| row.try_get("", "audit_id")).transpose()
}

/// Rows that pass the filter, newest first: one more than the page holds.
pub(super) async fn page(
    tx: &Tx,
    tenant: TenantId,
    filter: &AuditFilter,
    page: PageRequest,
) -> Result<Vec<audit_event::Model>, DbErr> {
    let AuditFilter {
        actor_id,
        action,
        target_id,
        since,
        until,
    } = filter;
    audit_event::Entity::find()
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::Id.lt(page.before_or_max()))
        .apply_if(*actor_id, |query, id| query.filter(Column::ActorId.eq(id)))
        .apply_if(action.as_deref(), |query, action| {
            query.filter(Column::Action.eq(action))
        })
        .apply_if(*target_id, |query, id| query.filter(Column::TargetId.eq(id)))
        // Ids begin with the time, so that what lies outside is not even looked at.
        .apply_if(*since, |query, at| {
            query
                .filter(Column::CreatedAt.gte(at))
                .filter(Column::Id.gte(first_id(at, 0)))
        })
        .apply_if(*until, |query, at| {
            query
                .filter(Column::CreatedAt.lt(at))
                .filter(Column::Id.lt(first_id(at, 1)))
        })
        .order_by_desc(Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// The smallest id that a row made so many milliseconds after the instant can have.
fn first_id(at: DateTime<Utc>, later: u128) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or_default() + later;
    Uuid::from_u128(millis << 80)
}
