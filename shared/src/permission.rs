//! The catalogue of permissions, and the proof that a caller holds one.
//!
//! A service asks for `&Authorized<WebhooksWrite>` where another would ask for a boolean: a handler that forgot
//! the check does not compile.

use std::marker::PhantomData;

use crate::principal::{Actor, Principal};

/// A permission as a type.
pub trait Permission: Send + Sync + 'static {
    /// Its `resource:action`.
    const NAME: &'static str;
}

/// Where a permission has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In each tenant.
    Tenant,
    /// In the platform's own tenant only: it reaches over all the others.
    Platform,
}

macro_rules! catalogue {
    ($($type:ident $name:literal $reach:ident $doc:literal)*) => {
        $(
            #[doc = $doc]
            pub struct $type;

            impl Permission for $type {
                const NAME: &'static str = $name;
            }
        )*

        /// Every permission there is: name, reach, meaning.
        pub const CATALOGUE: &[(&str, Reach, &str)] = &[$(($name, Reach::$reach, $doc)),*];
    };
}

catalogue! {
    TenantsRead "tenants:read" Platform "Read all tenants."
    TenantsWrite "tenants:write" Platform "Create and change tenants."
    UsersRead "users:read" Tenant "Read users, their roles and their sessions."
    UsersWrite "users:write" Tenant "Create, change, unlock and delete users, and end their sessions."
    InvitationsRead "invitations:read" Tenant "Read invitations."
    InvitationsWrite "invitations:write" Tenant "Invite people, and take invitations back."
    RolesRead "roles:read" Tenant "Read roles and permissions."
    RolesWrite "roles:write" Tenant "Create, change and delete roles and permissions, and assign roles."
    AuthzCheck "authz:check" Tenant "Ask what a user of the tenant may do."
    ServiceAccountsRead "service_accounts:read" Tenant "Read service accounts."
    ServiceAccountsWrite "service_accounts:write" Tenant "Create, change and delete service accounts."
    ApiKeysRead "api_keys:read" Tenant "Read API keys and how much they are used."
    ApiKeysWrite "api_keys:write" Tenant "Create, change, rotate and revoke API keys."
    ApiKeysVerify "api_keys:verify" Tenant "Ask whether an API key of the tenant is valid."
    SettingsRead "settings:read" Tenant "Read the tenant's settings, domains, usage and mail templates."
    SettingsWrite "settings:write" Tenant "Change the tenant's settings, domains and mail templates."
    TokensIntrospect "tokens:introspect" Tenant "Ask whether a token of the tenant is active."
    WebhooksRead "webhooks:read" Tenant "Read webhook endpoints, events, deliveries and their attempts."
    WebhooksWrite "webhooks:write" Tenant "Create, change and delete webhook endpoints."
    AuditRead "audit:read" Tenant "Read the audit trail."
    EventsPublish "events:publish" Tenant "Publish the tenant's own events."
}

/// A caller who holds the permission `P`, checked on this very request.
pub struct Authorized<P: Permission> {
    principal: Principal,
    permission: PhantomData<P>,
}

impl<P: Permission> Authorized<P> {
    /// The proof, if the principal holds the permission.
    #[must_use]
    pub fn prove(principal: Principal) -> Option<Self> {
        principal.permissions.contains(P::NAME).then_some(Self {
            principal,
            permission: PhantomData,
        })
    }

    /// The caller.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Who a change by this caller is put down to.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::from(&self.principal)
    }
}
