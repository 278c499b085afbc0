//! Setting up the platform: its tenant and its first administrator. Safe to run again.

use serde_json::json;

use crate::{
    audit::{self, Record},
    context::Context,
    crypto::pool::{HashPool, PoolError, StartError},
    entity::UserStatus,
    error::{Internal, internal_variant},
    id::TenantId,
    postgres::CrossTenant,
    principal::{Actor, Origin},
    rbac::{self, Builtin},
    secret::Secret,
    signal::SignalKind,
    tenant::{self, PLATFORM_SLUG, Registration, Slug, Tenant, TenantError},
    user::{Email, NewPassword, Rules, WeakPassword, new_row, store},
};

/// What the platform is called.
const NAME: &str = "Platform";
/// Those of a tenant whose administrators have chosen nothing: it may be yet to be made.
const RULES: Rules<'_> = Rules {
    min_length: 0,
    names: [NAME, PLATFORM_SLUG],
};

/// What a run has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrapped {
    /// The administrator was made.
    Created,
    /// The platform has that owner; the password was left alone.
    Unchanged,
}

/// Why the platform was not set up.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The password may not be used.
    #[error(transparent)]
    WeakPassword(#[from] WeakPassword),
    /// The tenant could not be made.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The address belongs to somebody who may not do what an administrator may.
    #[error("the platform has a user with that address who is no active owner; nothing was changed")]
    NoOwner,
    /// Hashing could not start.
    #[error(transparent)]
    Passwords(#[from] StartError),
    /// Hashing failed.
    #[error(transparent)]
    Hash(#[from] PoolError),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(BootstrapError: Internal sea_orm::DbErr serde_json::Error);

/// Makes the platform's tenant, where it is missing, and an owner in it.
///
/// # Errors
/// See [`BootstrapError`]; nothing was changed then.
pub async fn bootstrap(
    context: &Context,
    email: Email,
    password: Secret<String>,
) -> Result<Bootstrapped, BootstrapError> {
    let password = NewPassword::judge(password, &email, &RULES)?;
    let pool = HashPool::start(&context.config.passwords)?;
    let password_hash = pool.hash(password.into_secret(), &*context.random).await?;

    let origin = Origin::default();
    let id = TenantId::new(context.clock.now(), &*context.random);
    let mut change = context
        .cross_tenant_change(CrossTenant::Bootstrap, id, Actor::System, &origin)
        .await?;
    let tenant = if let Some(row) = tenant::store::find_by_slug(&change.tx, PLATFORM_SLUG).await? {
        Tenant::try_from(row)?
    } else {
        let slug = Slug::parse(PLATFORM_SLUG).map_err(Internal::fault)?;
        // Nobody administers the platform by registering.
        let chosen = json!({ "registration": Registration::Closed });
        let tenant = tenant::found(&change, &slug, NAME.to_owned(), chosen).await?;
        rbac::create_builtin(&change).await?;
        change.signal(SignalKind::TenantChanged, tenant.id.0).await?;
        tenant
    };
    change.tenant = tenant.id;
    let user = new_row(&change, &email, None, password_hash, Some(change.now));
    if !store::insert(&change.tx, user.clone()).await? {
        let there = store::find_by_email(&change.tx, tenant.id, email.canonical()).await?;
        let Some(there) = there.filter(|user| user.status == UserStatus::Active) else {
            return Err(BootstrapError::NoOwner);
        };
        let held = rbac::held(&change.tx, tenant.id, true, there.id).await?;
        return held
            .is_owner
            .then_some(Bootstrapped::Unchanged)
            .ok_or(BootstrapError::NoOwner);
    }
    let owner = rbac::builtin_id(&change.tx, tenant.id, Builtin::Owner).await?;
    rbac::assign(&change, user.id, &[owner]).await?;
    audit::record(
        &change,
        Record::success("platform.bootstrap", "user", user.id.0, json!({})),
    )
    .await?;
    change.commit().await?;
    Ok(Bootstrapped::Created)
}
