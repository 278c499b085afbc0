//! The SQL that finds, exports and erases, made from the classification. Names of tables and columns are our own
//! words; whatever comes from a user is bound.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value, raw_sql};

use super::classification::{Class, Ending, Table};
use crate::{
    id::{TenantId, UserId},
    postgres::Tx,
};

/// Whose rows are meant: the values of `$1` to `$4`.
pub(super) struct Subject {
    pub(super) tenant: TenantId,
    pub(super) user: UserId,
    pub(super) address: String,
    pub(super) credentials: Vec<Vec<u8>>,
}

impl Subject {
    fn statement(&self, sql: String) -> Statement {
        let values: [Value; 4] = [
            self.tenant.0.into(),
            self.user.0.into(),
            self.address.clone().into(),
            self.credentials.clone().into(),
        ];
        Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
    }
}

/// The user's rows of one table.
#[derive(FromQueryResult)]
pub(super) struct Section {
    /// How many there are.
    pub(super) total: i64,
    /// The newest of them, as a JSON array.
    pub(super) rows: String,
}

/// The user's rows of the table, newest first; nothing where the table has no user's rows.
pub(super) async fn section(
    tx: &Tx,
    subject: &Subject,
    table: &Table,
    limit: u32,
) -> Result<Option<Section>, DbErr> {
    let Some(from) = from(table) else {
        return Ok(None);
    };
    let fields: Vec<String> = table
        .columns()
        .map(|(column, class)| field(column, class))
        .collect();
    let (fields, newest) = (fields.join(", "), table.newest);
    // The newest rows are found first, so that no more than those become JSON.
    let sql = format!(
        "SELECT (SELECT count(*) FROM {from}) AS total, coalesce((
             SELECT json_agg(json_build_object({fields}))
             FROM (SELECT t.* FROM {from} ORDER BY t.{newest} DESC LIMIT {limit}) t), '[]')::text AS rows
         WHERE {TYPES}"
    );
    Section::find_by_statement(subject.statement(sql)).one(tx).await
}

/// Does what the classification says becomes of the user's rows.
pub(super) async fn end(tx: &Tx, subject: &Subject, table: &Table) -> Result<(), DbErr> {
    let Some(from) = from(table) else {
        return Ok(());
    };
    let (name, rows) = from.split_once(" WHERE ").unwrap_or((&from, "false"));
    let sql = match table.ending {
        Ending::Delete => format!("DELETE FROM {name} WHERE {TYPES} AND {rows}"),
        Ending::Update(assignments) => format!("UPDATE {name} SET {assignments} WHERE {TYPES} AND {rows}"),
        Ending::Stay(_) => return Ok(()),
    };
    tx.execute_raw(subject.statement(sql)).await.map(drop)
}

/// Names every parameter with its type, also where a table has no use for it; always true.
const TYPES: &str =
    "($1::uuid IS NOT NULL AND $2::uuid IS NOT NULL AND $3::text IS NOT NULL AND $4::bytea[] IS NOT NULL)";

fn from(table: &Table) -> Option<String> {
    let rows = table.rows?;
    Some(format!("{} t WHERE t.tenant_id = $1 AND ({rows})", table.name))
}

/// Whether the column is an instant, by its name.
fn is_time(column: &str) -> bool {
    column.ends_with("_at") || column.ends_with("_until") || column == "hour"
}

/// The column as a pair of `json_build_object`.
fn field(column: &str, class: Class) -> String {
    match class {
        // As the contract writes times.
        _ if is_time(column) => {
            format!(r#"'{column}', to_char(t.{column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"#)
        }
        Class::Personal | Class::Reference | Class::Operational | Class::Retained => {
            format!("'{column}', t.{column}")
        }
        Class::RetainedOfActor => format!("'{column}', CASE WHEN t.actor_id = $2 THEN t.{column} END"),
        Class::Secret => {
            let there = format!("t.{column} IS NOT NULL AND t.{column}::text NOT IN ('', '\\x')");
            format!("'{column}', json_build_object('present', {there})")
        }
    }
}

/// Locks all that a credential of the user is checked against until the transaction ends, if there is the user and,
/// where a hash is given, the password is still the one that was read. The user's row comes first, as in a refresh: otherwise each would wait for the other.
pub(super) async fn hold(tx: &Tx, tenant: TenantId, user: UserId, hash: Option<&str>) -> Result<bool, DbErr> {
    let held = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM users
             WHERE tenant_id = {tenant} AND id = {user} AND password_hash = coalesce({hash}, password_hash)
             FOR UPDATE"
        ))
        .await?;
    tx.execute_raw(raw_sql!(
        Postgres,
        "SELECT id FROM sessions WHERE tenant_id = {tenant} AND user_id = {user} AND revoked_at IS NULL
         ORDER BY id FOR UPDATE"
    ))
    .await?;
    Ok(held.is_some())
}

/// Tenants whose grace period is over, those that wait longest first.
pub(super) async fn due_tenants(tx: &Tx, now: DateTime<Utc>, limit: u32) -> Result<Vec<TenantId>, DbErr> {
    let limit = i64::from(limit);
    let due = tx.query_all_raw(raw_sql!(
        Postgres,
        "SELECT id FROM tenants WHERE delete_at <= {now} ORDER BY delete_at LIMIT {limit}"
    ));
    due.await?.iter().map(|row| row.try_get("", "id")).collect()
}

/// Whether the tenant was due, and is now one whose rows are being removed.
pub(super) async fn begin_purge(tx: &Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<bool, DbErr> {
    let begun = tx.execute_raw(raw_sql!(
        Postgres,
        "UPDATE tenants SET status = 'purging', version = version + 1, updated_at = {now}
         WHERE id = {tenant} AND status = 'deleting' AND delete_at <= {now}"
    ));
    Ok(begun.await?.rows_affected() == 1)
}

/// Whether the tenant's rows are being removed, by nobody else until the transaction ends.
pub(super) async fn hold_purging(tx: &Tx, tenant: TenantId) -> Result<bool, DbErr> {
    let held = tx.query_one_raw(raw_sql!(
        Postgres,
        "SELECT 1 AS held FROM tenants WHERE id = {tenant} AND status = 'purging'
         FOR NO KEY UPDATE SKIP LOCKED"
    ));
    Ok(held.await?.is_some())
}

/// Removes up to `limit` of the tenant's rows of a table; how many there were.
pub(super) async fn remove_some(tx: &Tx, tenant: TenantId, table: &Table, limit: u32) -> Result<u64, DbErr> {
    let name = table.name;
    let sql = match partition_key(name) {
        // A place is one within its partition only. All of the oldest keys go: of attempts, whole deliveries'.
        Some(key) => format!(
            "WITH oldest AS MATERIALIZED (SELECT {key} FROM {name} WHERE tenant_id = $1 ORDER BY {key} LIMIT {limit})
             DELETE FROM {name} WHERE tenant_id = $1 AND {key} = ANY (ARRAY(SELECT {key} FROM oldest))
               AND {key} >= (SELECT {key} FROM oldest ORDER BY {key} LIMIT 1)
               AND {key} <= (SELECT {key} FROM oldest ORDER BY {key} DESC LIMIT 1)"
        ),
        // By the rows' places: they have no key of the same form in all tables.
        None => format!(
            "DELETE FROM {name} WHERE tenant_id = $1 AND ctid = ANY (ARRAY(
                 SELECT ctid FROM {name} WHERE tenant_id = $1 LIMIT {limit}))"
        ),
    };
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, [tenant.0.into()]);
    Ok(tx.execute_raw(statement).await?.rows_affected())
}

/// The column whose span decides in which partition a row lies, of tables that have partitions.
fn partition_key(table: &str) -> Option<&'static str> {
    match table {
        "attempts" => Some("delivery_id"),
        "deliveries" | "events" => Some("id"),
        _ => None,
    }
}

/// Whether the tenant itself was removed.
pub(super) async fn remove_tenant(tx: &Tx, tenant: TenantId) -> Result<bool, DbErr> {
    let removed = tx.execute_raw(raw_sql!(
        Postgres,
        "DELETE FROM tenants WHERE id = {tenant} AND status = 'purging'"
    ));
    let removed = removed.await?.rows_affected() == 1;
    if removed {
        // A call that was under way meanwhile. Its delivery has gone with the tenant, and without it nobody writes another.
        let late = raw_sql!(Postgres, "DELETE FROM attempts WHERE tenant_id = {tenant}");
        tx.execute_raw(late).await?;
    }
    Ok(removed)
}
