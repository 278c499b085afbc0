//! Making users, and changing what is known of them.

use serde_json::json;

use super::{ManagedUser, UserError, budget, details, guard, store};
use crate::{
    audit::{self, Record},
    auth::{self, Auth},
    context::Change,
    entity::user,
    id::{RoleId, UserId},
    outbox::{self, event},
    permission::{Authorized, UsersWrite},
    principal::{Origin, Principal},
    rbac::{self, Builtin},
    secret::Secret,
    signal::SignalKind,
    tenant::{EmailVerification, Tenant},
    user::{Email, new_row, store as users},
};

/// A user to be.
pub struct CreateUser {
    /// The address.
    pub email: Email,
    /// What the user goes by.
    pub name: Option<String>,
    /// The password; without one, its owner chooses it by mail, and nobody enters before that.
    pub password: Option<Secret<String>>,
    /// The roles; `member` where none are named.
    pub role_ids: Option<Vec<RoleId>>,
    /// Whether the address is known to be the user's.
    pub email_verified: bool,
    /// What another system calls the user.
    pub external_id: Option<String>,
}

/// What to change of a user.
#[derive(Default)]
pub struct UserPatch {
    /// Another name, or none.
    pub name: Option<Option<String>>,
    /// Another external id, or none.
    pub external_id: Option<Option<String>>,
    /// Another address, once it is proven.
    pub email: Option<Email>,
}

/// Makes a user in the caller's tenant.
///
/// # Errors
/// See [`UserError`].
pub async fn create(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    request: CreateUser,
) -> Result<ManagedUser, UserError> {
    let CreateUser {
        email,
        name,
        password,
        role_ids,
        email_verified,
        external_id,
    } = request;
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let has_password = password.is_some();
    // Before anything is hashed: as often as one likes, it would keep everybody's sign-ins waiting.
    if is_taken(auth, &tenant, &email).await? {
        return Err(UserError::EmailTaken);
    }
    if has_password {
        budget::hash(auth, &tenant).await?;
    }
    if !has_password || (!email_verified && must_be_verified(&tenant)) {
        budget::mail(auth, &tenant, "created", &email).await?;
    }
    let hash = match password {
        Some(password) => auth::hash_new(auth, &tenant, &email, password).await?,
        None => auth::unusable_hash(auth)?,
    };
    let mut change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    let proven = email_verified.then_some(change.now);
    let mut user = new_row(&change, &email, name, hash, proven);
    user.external_id = external_id;
    // The address is asked by the index; what else is unique is the external id.
    match users::insert(&change.tx, user.clone()).await {
        Ok(true) => {}
        Ok(false) => return Err(UserError::EmailTaken),
        Err(error) => {
            store::unless_taken(Err(error))?;
            return Err(UserError::ExternalIdTaken);
        }
    }
    give_roles(&mut change, by, user.id, role_ids).await?;
    if !has_password {
        auth::send_first_password(&mut change, &tenant, &user).await?;
    } else if user.email_verified_at.is_none() && must_be_verified(&tenant) {
        auth::send_verification(&mut change, &tenant, &user).await?;
    }
    let detail = json!({ "has_password": has_password, "email_verified": email_verified });
    audit::record(&change, Record::success("user.create", "user", user.id.0, detail)).await?;
    let data = event::UserRegistered {
        user: (&user).into(),
        imported: false,
    };
    outbox::emit(&mut change, Some(user.id), &data).await?;
    let made = details::find(&change.tx, tenant.id, user.id).await?;
    change.commit().await?;
    Ok(made)
}

async fn is_taken(auth: &Auth, tenant: &Tenant, email: &Email) -> Result<bool, UserError> {
    let tx = auth.context.postgres.tenant(tenant.id).await?;
    let holder = users::find_by_email(&tx, tenant.id, email.canonical()).await?;
    Ok(holder.is_some())
}

fn must_be_verified(tenant: &Tenant) -> bool {
    tenant.settings.email_verification == EmailVerification::Required
}

async fn give_roles(
    change: &mut Change<'_>,
    by: &Principal,
    user: UserId,
    roles: Option<Vec<RoleId>>,
) -> Result<(), UserError> {
    if let Some(roles) = roles {
        rbac::assign_checked(change, by, user, &roles).await?;
    } else {
        let member = rbac::builtin_id(&change.tx, change.tenant, Builtin::Member).await?;
        rbac::assign(change, user, &[member]).await?;
    }
    Ok(())
}

/// Changes a user. Another address takes the place of the present one once it is proven by a mail to it; the present
/// one is told.
///
/// # Errors
/// See [`UserError`].
pub async fn update(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    id: UserId,
    patch: UserPatch,
) -> Result<ManagedUser, UserError> {
    let by = caller.principal();
    let tenant = auth.active_tenant(by.tenant).await?.ok_or(UserError::NotFound)?;
    let mut change = auth.context.change(tenant.id, caller.actor(), origin).await?;
    users::hold(&change.tx, tenant.id, id).await?;
    let user = users::find(&change.tx, tenant.id, id)
        .await?
        .ok_or(UserError::NotFound)?;
    let UserPatch {
        name,
        external_id,
        email,
    } = patch;
    let email = email.filter(|email| email.canonical() != user.email_canonical);
    if let Some(email) = email {
        readdress(auth, &mut change, &tenant, by, &user, &email).await?;
    }
    let name = name.unwrap_or_else(|| user.name.clone());
    let external_id = external_id.unwrap_or_else(|| user.external_id.clone());
    amend(&mut change, &user, name, external_id).await?;
    let updated = details::find(&change.tx, tenant.id, id).await?;
    change.commit().await?;
    Ok(updated)
}

async fn readdress(
    auth: &Auth,
    change: &mut Change<'_>,
    tenant: &Tenant,
    by: &Principal,
    user: &user::Model,
    email: &Email,
) -> Result<(), UserError> {
    guard::subordinate(change, tenant, by, user.id).await?;
    // Who may list the users may know who has the address.
    let holder = users::find_by_email(&change.tx, tenant.id, email.canonical()).await?;
    if holder.is_some() {
        return Err(UserError::EmailTaken);
    }
    budget::mail(auth, tenant, "change_email", email).await?;
    if !auth::request_change(change, tenant, user, email).await? {
        return Err(UserError::Disabled);
    }
    Ok(())
}

async fn amend(
    change: &mut Change<'_>,
    user: &user::Model,
    name: Option<String>,
    external_id: Option<String>,
) -> Result<(), UserError> {
    let changes = [
        ("name", name != user.name),
        ("external_id", external_id != user.external_id),
    ];
    let fields = changes.into_iter().filter(|(_, changed)| *changed);
    // The words alone: the audit trail outlives the user.
    let fields: Vec<&str> = fields.map(|(field, _)| field).collect();
    if fields.is_empty() {
        return Ok(());
    }
    if !store::set_details(change, user.id, name.as_deref(), external_id.as_deref()).await? {
        return Err(UserError::ExternalIdTaken);
    }
    let record = Record::success("user.update", "user", user.id.0, json!({ "fields": fields }));
    audit::record(change, record).await?;
    let updated = event::UpdatedUser { name, ..user.into() };
    outbox::emit(change, Some(user.id), &event::UserUpdated { user: updated }).await?;
    change.signal(SignalKind::AccountChanged, user.id.0).await?;
    Ok(())
}
