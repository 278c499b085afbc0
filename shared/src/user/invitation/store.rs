//! The SQL of invitations.

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, raw_sql,
};
use uuid::Uuid;

use super::{InvitationFilter, InvitationStatus, InvitedRole};
use crate::{
    entity::{invitation, role},
    id::{InvitationId, TenantId},
    page::PageRequest,
    postgres::Tx,
};

/// Waits until nobody else invites into the tenant, and keeps others waiting until the transaction ends: two at the limit
/// would both see one place left, and two of one address both be the newest.
pub(super) async fn take_turns(tx: &Tx, tenant: TenantId) -> Result<(), DbErr> {
    tx.execute_raw(raw_sql!(
        Postgres,
        "SELECT 1 FROM tenants WHERE id = {tenant} FOR NO KEY UPDATE"
    ))
    .await
    .map(drop)
}

pub(super) async fn find(
    tx: &Tx,
    tenant: TenantId,
    id: InvitationId,
) -> Result<Option<invitation::Model>, DbErr> {
    invitation::Entity::find_by_id(id)
        .filter(invitation::Column::TenantId.eq(tenant))
        .one(tx)
        .await
}

/// Newest first.
pub(super) async fn list(
    tx: &Tx,
    tenant: TenantId,
    filter: &InvitationFilter,
    page: PageRequest,
    now: DateTime<Utc>,
) -> Result<Vec<invitation::Model>, DbErr> {
    let InvitationFilter { status, email } = filter;
    invitation::Entity::find()
        .filter(invitation::Column::TenantId.eq(tenant))
        .filter(invitation::Column::Id.lt(page.before_or_max()))
        .apply_if(*status, |query, status| query.filter(stands(status, now)))
        .apply_if(email.as_ref(), |query, email| {
            query.filter(invitation::Column::EmailCanonical.eq(email.canonical()))
        })
        .order_by_desc(invitation::Column::Id)
        .limit(page.fetch().unsigned_abs())
        .all(tx)
        .await
}

/// As [`InvitationStatus::of`].
fn stands(status: InvitationStatus, now: DateTime<Utc>) -> Condition {
    let open = Condition::all()
        .add(invitation::Column::AcceptedAt.is_null())
        .add(invitation::Column::RevokedAt.is_null());
    match status {
        InvitationStatus::Pending => open.add(invitation::Column::ExpiresAt.gt(now)),
        InvitationStatus::Expired => open.add(invitation::Column::ExpiresAt.lte(now)),
        InvitationStatus::Accepted => Condition::all().add(invitation::Column::AcceptedAt.is_not_null()),
        InvitationStatus::Revoked => Condition::all()
            .add(invitation::Column::AcceptedAt.is_null())
            .add(invitation::Column::RevokedAt.is_not_null()),
    }
}

pub(super) async fn count_pending(tx: &Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<u64, DbErr> {
    #[derive(FromQueryResult)]
    struct Count {
        pending: i64,
    }
    let count = Count::find_by_statement(raw_sql!(
        Postgres,
        "SELECT count(*) AS pending FROM invitations
         WHERE tenant_id = {tenant} AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > {now}"
    ));
    let pending = count.one(tx).await?.map_or(0, |count| count.pending);
    Ok(pending.unsigned_abs())
}

/// The invitation to the address that can be accepted, or has expired.
pub(super) async fn find_open(
    tx: &Tx,
    tenant: TenantId,
    canonical: &str,
) -> Result<Option<InvitationId>, DbErr> {
    invitation::Entity::find()
        .select_only()
        .column(invitation::Column::Id)
        .filter(invitation::Column::TenantId.eq(tenant))
        .filter(invitation::Column::EmailCanonical.eq(canonical))
        .filter(invitation::Column::AcceptedAt.is_null())
        .filter(invitation::Column::RevokedAt.is_null())
        .into_tuple()
        .one(tx)
        .await
}

/// Takes an invitation back that was not accepted; whether this call did it.
pub(super) async fn revoke(
    tx: &Tx,
    tenant: TenantId,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "UPDATE invitations SET revoked_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND accepted_at IS NULL AND revoked_at IS NULL"
        ))
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Marks an invitation as accepted, if it can be.
pub(crate) async fn accept(
    tx: &Tx,
    tenant: TenantId,
    id: InvitationId,
    now: DateTime<Utc>,
) -> Result<Option<invitation::Model>, DbErr> {
    invitation::Entity::find()
        .from_raw_sql(raw_sql!(
            Postgres,
            "UPDATE invitations SET accepted_at = {now}
             WHERE tenant_id = {tenant} AND id = {id} AND accepted_at IS NULL AND revoked_at IS NULL
               AND expires_at > {now} RETURNING *"
        ))
        .one(tx)
        .await
}

/// Those of the roles that are there.
pub(super) async fn roles(
    tx: &Tx,
    tenant: TenantId,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<Vec<InvitedRole>, DbErr> {
    let roles = role::Entity::find()
        .select_only()
        .column(role::Column::Id)
        .column(role::Column::Name)
        .filter(role::Column::TenantId.eq(tenant))
        .filter(role::Column::Id.is_in(ids))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(roles
        .into_iter()
        .map(|(id, name)| InvitedRole { id, name })
        .collect())
}
