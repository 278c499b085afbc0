//! Endpoints that are turned off because of how they answer, and whoever has to hear of it: the tenant's other
//! endpoints by an event, its owners by mail.

pub use crate::entity::Offence;
use crate::{
    context::Context,
    error::Internal,
    mail::{self, Letter, To},
    principal::{Actor, Origin},
    rbac,
    tenant::{self, Tenant},
    webhook::{self, work::Claimed},
};

/// Turns the endpoint off because of a call, begins to cancel what waits for it and tells of it, all in one transaction.
/// Does nothing when it is off already, or was changed since it was called.
///
/// # Errors
/// When the database does not answer; then nothing has happened.
pub async fn switch_off(context: &Context, called: &Claimed, offence: Offence) -> Result<(), Internal> {
    let origin = Origin::default();
    let id = called.tenant_id;
    let mut change = context.change(id, Actor::System, &origin).await?;
    if !webhook::disable_failing(&mut change, called, offence).await? {
        return Ok(());
    }
    if let Some(row) = tenant::store::find(&change.tx, id).await? {
        let tenant = Tenant::try_from(row)?;
        for owner in rbac::owners(&change.tx, tenant.id).await? {
            let letter = Letter::WebhookDisabled {
                endpoint: name_of(&called.url),
                reason: in_words(offence),
            };
            mail::queue(&mut change, tenant.brand(), To::user(&owner), letter).await?;
        }
    }
    change.commit().await?;
    webhook::cancel_rest(context, id, called.endpoint_id);
    Ok(())
}

const fn in_words(offence: Offence) -> &'static str {
    match offence {
        Offence::Gone => "it answered that it is gone (410)",
        Offence::Failing => "every call has failed for days",
    }
}

/// Its host and path: queries often hold tokens, and a mail program would make a link of the rest.
fn name_of(url: &str) -> String {
    let whole = url.split(['?', '#']).next().unwrap_or_default();
    whole.split_once("://").map_or(whole, |(_, rest)| rest).to_owned()
}
