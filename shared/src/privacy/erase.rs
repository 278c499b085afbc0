//! Forgetting a user.

use uuid::Uuid;

use super::{
    classification::TABLES,
    store::{self, Subject},
};
use crate::{
    context::{Change, Context},
    device,
    entity::user,
    error::Internal,
    lockout, outbox,
    postgres::Tx,
    tenant::Tenant,
};

/// So many events are erased with the account itself; the worker goes on with the rest.
const EVENTS_AT_ONCE: i64 = 10_000;

/// Deletes or overwrites whatever is stored about the user, to be committed with the change or not at all.
pub(super) async fn erase(change: &Change<'_>, tenant: &Tenant, user: &user::Model) -> Result<(), Internal> {
    let subject = subject(change.context, &change.tx, tenant, user).await?;
    for table in TABLES {
        store::end(&change.tx, &subject, table).await?;
    }
    outbox::erase_marked(
        &change.tx,
        Some((tenant.id, user.id)),
        Uuid::nil(),
        EVENTS_AT_ONCE,
    )
    .await?;
    Ok(())
}

/// Whose rows those are.
pub(super) async fn subject(
    context: &Context,
    tx: &Tx,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<Subject, Internal> {
    let devices = device::of_user(tx, tenant.id, user.id).await?;
    let budgets = lockout::budgets(&context.config, tenant, user, &devices)?;
    Ok(Subject {
        tenant: tenant.id,
        user: user.id,
        // What is sent to an address concerns its owner; who has not proven to be that reads and ends none of it.
        address: user
            .email_verified_at
            .map(|_| user.email_canonical.clone())
            .unwrap_or_default(),
        credentials: budgets
            .iter()
            .map(|budget| budget.credential().to_vec())
            .collect(),
    })
}
