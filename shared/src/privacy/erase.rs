//! Forgetting a user.

use sea_orm::DbErr;

use super::{
    classification::TABLES,
    store::{self, Subject},
};
use crate::{
    context::{Change, Context},
    entity::user,
    error::Internal,
    lockout::{Budget, Credential},
    outbox,
    postgres::Tx,
    tenant::Tenant,
    user::Email,
};

/// So many events are erased with the account itself; the worker goes on with the rest.
const EVENTS_AT_ONCE: i64 = 10_000;

/// Deletes or overwrites whatever is stored about the user, to be committed with the change or not at all.
pub(super) async fn erase(change: &Change<'_>, tenant: &Tenant, user: &user::Model) -> Result<(), Internal> {
    let subject = subject(change.context, &change.tx, tenant, user).await?;
    for table in TABLES {
        store::end(&change.tx, &subject, table).await?;
    }
    outbox::erase_marked(&change.tx, Some(tenant.id), EVENTS_AT_ONCE).await?;
    Ok(())
}

/// Whose rows those are.
pub(super) async fn subject(
    context: &Context,
    tx: &Tx,
    tenant: &Tenant,
    user: &user::Model,
) -> Result<Subject, Internal> {
    let email = Email::parse(&user.email).map_err(Internal::fault)?;
    Ok(Subject {
        tenant: tenant.id,
        user: user.id,
        address: user.email_canonical.clone(),
        credentials: credentials(context, tx, tenant, user, &email).await?,
    })
}

/// What the user's failures are counted under.
async fn credentials(
    context: &Context,
    tx: &Tx,
    tenant: &Tenant,
    user: &user::Model,
    email: &Email,
) -> Result<Vec<Vec<u8>>, DbErr> {
    let devices = store::devices(tx, tenant.id, user.id).await?;
    let mut credentials = vec![Credential::Password(email), Credential::SecondFactor(user.id)];
    credentials.extend(devices.into_iter().map(Credential::Device));
    Ok(credentials
        .into_iter()
        .map(|credential| {
            Budget::of(&context.config, tenant, credential)
                .credential()
                .to_vec()
        })
        .collect())
}
