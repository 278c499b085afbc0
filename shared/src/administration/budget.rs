//! What administrators may have done in a while. What they cause costs their tenant's share, as what its users cause does:
//! all tenants have one mail server, and the same threads hash for all of them.

use super::UserError;
use crate::{
    auth::Auth,
    id::UserId,
    limit::{Class, Subject},
    tenant::Tenant,
    user::Email,
};

/// Another password is hashed.
pub(super) async fn hash(auth: &Auth, tenant: &Tenant) -> Result<(), UserError> {
    spend(auth, tenant, Class::SignIn, None).await
}

/// Another mail goes to the address, for that purpose.
pub(super) async fn mail(
    auth: &Auth,
    tenant: &Tenant,
    purpose: &'static str,
    to: &Email,
) -> Result<(), UserError> {
    spend(auth, tenant, Class::Mail, Some((purpose, to.canonical()))).await
}

/// Another mail goes to the user, whoever that is.
pub(super) async fn mail_to(
    auth: &Auth,
    tenant: &Tenant,
    purpose: &'static str,
    to: UserId,
) -> Result<(), UserError> {
    spend(auth, tenant, Class::Mail, Some((purpose, &to.to_string()))).await
}

async fn spend(
    auth: &Auth,
    tenant: &Tenant,
    class: Class,
    account: Option<(&'static str, &str)>,
) -> Result<(), UserError> {
    let of_tenant = Subject::Tenant(tenant.id, tenant.rate_limits.of(class));
    let of_account = account.map(|(purpose, name)| Subject::Account(tenant.id, purpose, name));
    let subjects: Vec<_> = [Some(of_tenant), of_account].into_iter().flatten().collect();
    Ok(auth.context.limits.spend(class, &subjects).await?)
}
