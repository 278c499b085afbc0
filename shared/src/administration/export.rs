//! A list of all users, to be taken away page by page.

use serde_json::json;

use super::{ManagedUser, details, store};
use crate::{
    audit::{self, Outcome, Record},
    context::Context,
    error::Internal,
    id::UserId,
    page::PageRequest,
    permission::{Authorized, UsersRead},
    principal::Origin,
};

/// So many users are in memory at a time.
const PAGE: u32 = 500;

/// Writes down that the list is taken. Whoever calls goes on with [`export_page`].
///
/// # Errors
/// Only failures inside.
pub async fn begin_export(
    context: &Context,
    caller: &Authorized<UsersRead>,
    origin: &Origin,
) -> Result<(), Internal> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    let record = Record {
        action: "user.export_all",
        target: None,
        outcome: Outcome::Success,
        detail: json!({}),
    };
    audit::record(&change, record).await?;
    change.commit().await?;
    Ok(())
}

/// The users made before that one, newest first; none are left when it is empty. Each page is a transaction of its own:
/// users who come or go meanwhile are in it or not, and nobody is in it twice.
///
/// # Errors
/// Only failures inside.
pub async fn export_page(
    context: &Context,
    caller: &Authorized<UsersRead>,
    before: Option<UserId>,
) -> Result<Vec<ManagedUser>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let page = PageRequest {
        limit: PAGE,
        before: before.map(|id| id.0),
    };
    let everybody = store::Asked {
        email: None,
        status: None,
        role: None,
    };
    let rows = store::page(&tx, tenant, &everybody, page).await?;
    details::describe(&tx, tenant, rows).await
}
