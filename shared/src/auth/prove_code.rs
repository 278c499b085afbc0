//! A code of the second factor, judged: once, and within the account's budget of failures.

use serde_json::json;

use super::evenly::evenly;
use crate::{
    audit::{self, Outcome, Record},
    context::Change,
    entity::user,
    error::Internal,
    lockout::{self, Budget, Credential},
    mfa::{self, Code, Factor},
    session::Method,
    tenant::Tenant,
};

/// Uses the code up and gives the change back, if the code is right and the factor not locked. Otherwise the failure is
/// written down, which ends the change; a right code that meets a lock is refused like a wrong one, and stays unused.
///
/// The factor is held, so that however many guesses come at once, each one sees the failures before it.
pub(super) async fn prove_code<'a>(
    change: Change<'a>,
    tenant: &Tenant,
    user: &user::Model,
    factor: &Factor,
    code: &Code,
) -> Result<Option<(Change<'a>, Method)>, Internal> {
    let budget = Budget::of(&change.context.config, tenant, Credential::SecondFactor(user.id));
    let locked = lockout::is_locked(&change.tx, tenant, &budget, change.now).await?;
    let right = mfa::judge(&change, factor, code).await?;
    let matches = right.is_some();
    if let Some(right) = right.filter(|_| !locked) {
        let method = right.method();
        if lockout::clear(&change, &budget).await? && mfa::spend(&change, factor, right).await? {
            return Ok(Some((change, method)));
        }
    }
    evenly(refuse(change, tenant, user, &budget, !matches)).await?;
    Ok(None)
}

async fn refuse(
    mut change: Change<'_>,
    tenant: &Tenant,
    user: &user::Model,
    budget: &Budget,
    counts: bool,
) -> Result<(), Internal> {
    // Whoever goes on guessing has to prove the first factor again.
    let failed = lockout::fail(&mut change, tenant, budget, Some(user), counts).await?;
    if failed.locked_until.is_some_and(|until| until > change.now) {
        mfa::drop_challenges(&change.tx, tenant.id, user.id).await?;
    }
    let record = Record {
        action: "mfa.prove",
        target: Some(("user", user.id.0)),
        outcome: Outcome::Failure,
        detail: json!({}),
    };
    audit::record(&change, record).await?;
    Ok(change.commit().await?)
}
