//! Users as administrators see them: one, and lists of them.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::{UserError, store};
use crate::{
    context::Context,
    entity::user,
    error::Internal,
    id::{RoleId, TenantId, UserId},
    page::{Page, PageRequest},
    permission::{Authorized, UsersRead},
    postgres::Tx,
    user::{Email, User, UserStatus},
};

/// A user, and what only administrators are told.
#[derive(Clone, Debug)]
pub struct ManagedUser {
    /// What everybody is told who may know the user.
    pub user: User,
    /// What another system calls the user.
    pub external_id: Option<String>,
    /// The roles held, by name.
    pub roles: Vec<RoleRef>,
    /// Whether there is a second factor.
    pub mfa_enabled: bool,
    /// When the password was set last; nothing if the account was made with it.
    pub password_changed_at: Option<DateTime<Utc>>,
}

/// A role that somebody holds.
#[derive(Clone, Debug)]
pub struct RoleRef {
    /// Which.
    pub id: RoleId,
    /// Its name.
    pub name: String,
}

/// Which users are asked for.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// The one with this address.
    pub email: Option<Email>,
    /// Those in this state.
    pub status: Option<UserStatus>,
    /// Those who hold this role.
    pub role: Option<RoleFilter>,
}

/// A role by one of its two names.
#[derive(Clone, Debug)]
pub enum RoleFilter {
    /// By its id.
    Id(RoleId),
    /// By its name.
    Name(String),
}

/// Users of the caller's tenant, those made last first. A role that the tenant does not have is held by nobody.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &Authorized<UsersRead>,
    filter: UserFilter,
    page: PageRequest,
) -> Result<Page<ManagedUser>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    let UserFilter { email, status, role } = filter;
    let role = match role {
        None => None,
        Some(RoleFilter::Id(id)) => Some(id),
        Some(RoleFilter::Name(name)) => match store::role_ids(&tx, tenant, vec![name]).await?.pop() {
            Some((id, _)) => Some(id),
            None => return Ok(empty()),
        },
    };
    let asked = store::Asked {
        email: email.as_ref().map(Email::canonical),
        status,
        role,
    };
    let rows = store::page(&tx, tenant, &asked, page).await?;
    let page = Page::cut(rows, page, |row| row.id.0);
    let next_cursor = page.next_cursor;
    let data = describe(&tx, tenant, page.data).await?;
    Ok(Page { data, next_cursor })
}

const fn empty() -> Page<ManagedUser> {
    Page {
        data: Vec::new(),
        next_cursor: None,
    }
}

/// A user of the caller's tenant.
///
/// # Errors
/// [`UserError::NotFound`].
pub async fn get(
    context: &Context,
    caller: &Authorized<UsersRead>,
    id: UserId,
) -> Result<ManagedUser, UserError> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    find(&tx, tenant, id).await
}

/// The user as it stands in the transaction.
pub(super) async fn find(tx: &Tx, tenant: TenantId, id: UserId) -> Result<ManagedUser, UserError> {
    let row = crate::user::store::find(tx, tenant, id).await?;
    let described = describe(tx, tenant, row.into_iter().collect()).await?;
    described.into_iter().next().ok_or(UserError::NotFound)
}

/// The users with their roles and factors: two statements, however many they are.
pub(super) async fn describe(
    tx: &Tx,
    tenant: TenantId,
    rows: Vec<user::Model>,
) -> Result<Vec<ManagedUser>, Internal> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = rows.iter().map(|row| row.id.0).collect();
    let enrolled: HashSet<UserId> = store::enrolled(tx, tenant, ids.clone()).await?;
    let mut roles: HashMap<UserId, Vec<RoleRef>> = HashMap::new();
    for held in store::roles_of(tx, tenant, ids).await? {
        let store::HeldRole { user_id, id, name } = held;
        roles.entry(user_id).or_default().push(RoleRef { id, name });
    }
    let described = rows.into_iter().map(|mut row| ManagedUser {
        external_id: row.external_id.take(),
        roles: roles.remove(&row.id).unwrap_or_default(),
        mfa_enabled: enrolled.contains(&row.id),
        password_changed_at: row.password_changed_at,
        user: row.into(),
    });
    Ok(described.collect())
}
