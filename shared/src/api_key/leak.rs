//! Keys that were found where they should not be.
//!
//! Anyone may report a key: who has it can use it, so that to end it takes nothing more. The report is answered alike
//! whether or not there is such a key.

use serde_json::json;

use super::{ApiKey, KeyText, RevokeReason, batch, service, store};
use crate::{
    audit,
    context::{Change, Context},
    entity::user,
    error::Internal,
    mail::{self, Letter, To},
    postgres::CrossTenant,
    principal::{Actor, Origin, Subject},
    rbac,
    secret::Secret,
    tenant::{self, Tenant},
};

/// Ends the keys of whichever tenant, if that is how it is set, and tells their owners by mail. Of what is no live key
/// nothing comes.
///
/// # Errors
/// Only failures inside.
pub async fn report_leaked(
    context: &Context,
    origin: &Origin,
    keys: Vec<Secret<String>>,
    source: Option<String>,
) -> Result<(), Internal> {
    for key in keys.iter().filter_map(|key| KeyText::parse(key.expose())) {
        report(context, origin, &key, source.as_deref()).await?;
    }
    Ok(())
}

async fn report(
    context: &Context,
    origin: &Origin,
    text: &KeyText,
    source: Option<&str>,
) -> Result<(), Internal> {
    let tx = context.postgres.cross_tenant(CrossTenant::ResolveKey).await?;
    let found = store::find_by_hash(&tx, &text.hash()).await?;
    drop(tx);
    let Some(found) = found else {
        return Ok(());
    };
    let mut change = context.change(found.tenant_id, Actor::Anonymous, origin).await?;
    // The owner before the key, as everybody who needs both.
    store::hold_owner(&change.tx, change.tenant, service::owner_of(&found)).await?;
    // Whoever reports it a second time at once finds that it is done.
    let held = store::hold(&change.tx, change.tenant, found.id).await?;
    let Some(row) = held.filter(|row| row.revoked_at.is_none()) else {
        return Ok(());
    };
    let key = ApiKey::of(row, change.now);
    let revoked = context.config.api_keys.revoke_leaked;
    let detail = json!({ "key_id": key.id, "hint": key.hint, "source": source, "revoked": revoked });
    audit::record(&change, service::record("api_key.report_leaked", key.id, detail)).await?;
    if revoked {
        let choice = store::Choice {
            ids: Some(vec![key.id.0]),
            ..store::Choice::default()
        };
        batch::end(&mut change, choice, RevokeReason::Leaked).await?;
    }
    tell(&mut change, &key, revoked).await?;
    change.commit().await?;
    Ok(())
}

/// Tells the user whose key it is, or of any other key the tenant's owners.
async fn tell(change: &mut Change<'_>, key: &ApiKey, revoked: bool) -> Result<(), Internal> {
    let Some(tenant) = tenant::store::find(&change.tx, change.tenant).await? else {
        return Ok(());
    };
    let tenant = Tenant::try_from(tenant)?;
    let people: Vec<user::Model> = match key.owner {
        Subject::User(id) => store::user(&change.tx, change.tenant, id)
            .await?
            .into_iter()
            .collect(),
        Subject::ServiceAccount(_) | Subject::Tenant => rbac::owners(&change.tx, change.tenant).await?,
    };
    for person in &people {
        // Where keys are only told of, one can be reported as often as somebody likes.
        let limits = &change.context.limits;
        if !limits
            .may_mail(change.tenant, "api_key_leaked", &person.email_canonical)
            .await
        {
            continue;
        }
        let letter = Letter::ApiKeyLeaked {
            key: format!("{} ({})", key.name, key.hint),
            revoked,
        };
        mail::queue(change, tenant.brand(), To::user(person), letter).await?;
    }
    Ok(())
}
