//! The SQL of templates.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, raw_sql};

use super::{Kept, Template};
use crate::{id::TenantId, mail::Kind, postgres::Tx};

#[derive(FromQueryResult)]
struct Row {
    kind: String,
    subject: String,
    text: String,
    html: String,
    updated_at: DateTime<Utc>,
}

impl Row {
    /// Nothing for a kind that only a newer version knows.
    fn read(self) -> Option<Kept> {
        let Self {
            kind,
            subject,
            text,
            html,
            updated_at,
        } = self;
        Some(Kept {
            kind: Kind::parse(&kind)?,
            template: Template { subject, text, html },
            updated_at,
        })
    }
}

pub(super) async fn list(tx: &Tx, tenant: TenantId) -> Result<Vec<Kept>, DbErr> {
    let rows = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT kind, subject, text, html, updated_at FROM mail_templates WHERE tenant_id = {tenant}"
    ))
    .all(tx)
    .await?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

pub(in crate::mail) async fn find(tx: &Tx, tenant: TenantId, kind: Kind) -> Result<Option<Kept>, DbErr> {
    let kind = kind.as_str();
    let row = Row::find_by_statement(raw_sql!(
        Postgres,
        "SELECT kind, subject, text, html, updated_at FROM mail_templates
         WHERE tenant_id = {tenant} AND kind = {kind}"
    ))
    .one(tx)
    .await?;
    Ok(row.and_then(Row::read))
}

pub(super) async fn upsert(
    tx: &Tx,
    tenant: TenantId,
    kind: Kind,
    template: &Template,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let Template { subject, text, html } = template.clone();
    let kind = kind.as_str();
    tx.execute_raw(raw_sql!(
        Postgres,
        "INSERT INTO mail_templates (tenant_id, kind, subject, text, html, updated_at)
         VALUES ({tenant}, {kind}, {subject}, {text}, {html}, {now})
         ON CONFLICT (tenant_id, kind) DO UPDATE SET subject = excluded.subject, text = excluded.text,
             html = excluded.html, updated_at = excluded.updated_at"
    ))
    .await
    .map(drop)
}

/// Says whether there was one.
pub(super) async fn delete(tx: &Tx, tenant: TenantId, kind: Kind) -> Result<bool, DbErr> {
    let kind = kind.as_str();
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "DELETE FROM mail_templates WHERE tenant_id = {tenant} AND kind = {kind}"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}
