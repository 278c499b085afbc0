//! What a user says of itself.

use std::sync::Arc;

use serde_json::json;

use super::{Account, Auth};
use crate::{
    audit::{self, Record},
    error::Internal,
    outbox::{self, event},
    principal::{Actor, Origin, UserSession},
    signal::SignalKind,
    user::store,
};

/// What is to change.
#[derive(Clone, Debug, Default)]
pub struct ProfilePatch {
    /// The name: absent leaves it, `Some(None)` removes it.
    pub name: Option<Option<String>>,
}

/// Changes the caller's own account and returns it as it is now; nothing if it is gone meanwhile. A patch that changes
/// nothing tells nobody.
///
/// # Errors
/// Only failures inside.
pub async fn update_profile(
    auth: &Auth,
    caller: &UserSession,
    origin: &Origin,
    patch: ProfilePatch,
) -> Result<Option<Arc<Account>>, Internal> {
    let ProfilePatch { name } = patch;
    if let Some(name) = name {
        let context = &auth.context;
        let mut change = context.change(caller.tenant, Actor::from(caller), origin).await?;
        let renamed = store::rename(&change.tx, caller.tenant, caller.user, name, change.now).await?;
        if let Some(user) = renamed {
            // Fields only: the audit trail outlives the account, and holds nothing personal.
            let record = Record::success("user.update", "user", user.id.0, json!({ "fields": ["name"] }));
            audit::record(&change, record).await?;
            let data = event::UserUpdated { user: (&user).into() };
            outbox::emit(&mut change, Some(user.id), &data).await?;
            change.signal(SignalKind::AccountChanged, user.id.0).await?;
            change.commit().await?;
        }
    }
    auth.accounts.get(&auth.context, caller.tenant, caller.user).await
}
