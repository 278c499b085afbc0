//! The SQL that finds, exports and erases, made from the classification. Names of tables and columns are our own
//! words; whatever comes from a user is bound.

use sea_orm::{ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value, raw_sql};

use super::classification::{Class, Ending, Table};
use crate::{
    entity::user,
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

/// The column as a pair of `json_build_object`.
fn field(column: &str, class: Class) -> String {
    match class {
        // As the contract writes times; ours are the columns that end so.
        _ if column.ends_with("_at") || column.ends_with("_until") => {
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

/// Locks all that a credential of the user is checked against until the transaction ends, if the password is still
/// the one that was read. The user's row comes first, as in a refresh: otherwise each would wait for the other.
pub(super) async fn hold(tx: &Tx, tenant: TenantId, seen: &user::Model) -> Result<bool, DbErr> {
    let (user, hash) = (seen.id, seen.password_hash.clone());
    let held = tx
        .query_one_raw(raw_sql!(
            Postgres,
            "SELECT 1 AS held FROM users
             WHERE tenant_id = {tenant} AND id = {user} AND password_hash = {hash} FOR UPDATE"
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
