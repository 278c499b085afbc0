//! The answer to who may do what, for the tenant's own services.
//!
//! It is what this process would decide for itself, from the same memory: on the warm path it costs a hash look-up for
//! each question and no network.

use std::collections::{HashMap, hash_map::Entry};

use super::Auth;
use crate::{
    error::Internal,
    id::UserId,
    permission::{Authorized, AuthzCheck},
};

/// Whether somebody may do something.
#[derive(Clone, Debug)]
pub struct Question {
    /// The `resource:action`.
    pub permission: String,
    /// Who; the caller if absent.
    pub user: Option<UserId>,
}

/// Whether they may, in the order of the questions. A permission that does not exist is nobody's. A user who is
/// disabled, who owes the tenant a second factor or whom the tenant does not have may do nothing: no answer tells which.
///
/// # Errors
/// Only failures inside.
pub async fn are_allowed(
    auth: &Auth,
    caller: &Authorized<AuthzCheck>,
    questions: &[Question],
) -> Result<Vec<bool>, Internal> {
    let caller = caller.principal();
    let mut accounts = HashMap::new();
    for user in questions.iter().filter_map(|question| question.user) {
        if let Entry::Vacant(unknown) = accounts.entry(user) {
            let account = auth.accounts.get(&auth.context, caller.tenant, user).await?;
            unknown.insert(account.filter(|account| account.is_active() && !account.must_enrol()));
        }
    }
    let is_allowed = |question: &Question| match question.user {
        None => caller.permissions.contains(&question.permission),
        Some(user) => accounts
            .get(&user)
            .and_then(Option::as_ref)
            .is_some_and(|account| account.permissions.contains(&question.permission)),
    };
    Ok(questions.iter().map(is_allowed).collect())
}
