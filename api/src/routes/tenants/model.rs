//! The shapes of tenants.

use latchkey_shared::{
    tenant::{CreateTenant, EmailVerification, Registration, Slug, Tenant, TenantStatus},
    user::Email,
};
use poem_openapi::{Enum, Object, types::Example};
use uuid::Uuid;

use crate::{
    problem::{Failure, FieldError, ProblemCode},
    time::Timestamp,
};

/// A tenant to be.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateTenantRequest {
    /// Its name in hosts and headers: 3 to 63 lower-case letters, digits and hyphens, beginning with a letter.
    #[oai(validator(min_length = 3, max_length = 63))]
    slug: String,
    /// Its name for people.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: String,
    /// Who is invited to own it.
    owner: Option<OwnerRequest>,
}

/// An owner to be.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct OwnerRequest {
    /// The invitation goes there.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for CreateTenantRequest {
    fn example() -> Self {
        Self {
            slug: "acme".to_owned(),
            name: "Acme Ltd".to_owned(),
            owner: Some(OwnerRequest {
                email: "ada@example.com".to_owned(),
            }),
        }
    }
}

impl CreateTenantRequest {
    pub(super) fn read(self) -> Result<CreateTenant, Failure> {
        let mut errors = Vec::new();
        let mut fault =
            |pointer: &str, detail: String| errors.push(FieldError::new(pointer, "invalid_format", detail));
        let slug = Slug::parse(&self.slug).map_err(|error| fault("/slug", error.to_string()));
        let owner = self.owner.map(|owner| Email::parse(&owner.email));
        let owner = owner
            .transpose()
            .map_err(|error| fault("/owner/email", error.to_string()));
        match (slug, owner) {
            (Ok(slug), Ok(owner)) => Ok(CreateTenant {
                slug,
                name: self.name,
                owner,
            }),
            _ => Err(Failure::fields(ProblemCode::ValidationFailed, errors)),
        }
    }
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum TenantStatusView {
    Active,
    Suspended,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum RegistrationView {
    Open,
    Closed,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum EmailVerificationView {
    Required,
    Optional,
}

/// What a tenant's administrators have chosen.
#[derive(Object)]
#[oai(rename = "TenantSettings")]
struct SettingsView {
    /// Who may register.
    registration: RegistrationView,
    /// Whether an address must be proven before it can sign in.
    email_verification: EmailVerificationView,
}

/// A tenant.
#[derive(Object)]
#[oai(rename = "Tenant")]
pub(super) struct TenantView {
    id: Uuid,
    slug: String,
    name: String,
    status: TenantStatusView,
    settings: SettingsView,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let Tenant {
            id,
            slug,
            name,
            status,
            settings,
            created_at,
            updated_at,
        } = tenant;
        Self {
            id: id.0,
            slug,
            name,
            status: match status {
                TenantStatus::Active => TenantStatusView::Active,
                TenantStatus::Suspended => TenantStatusView::Suspended,
            },
            settings: SettingsView {
                registration: match settings.registration {
                    Registration::Open => RegistrationView::Open,
                    Registration::Closed => RegistrationView::Closed,
                },
                email_verification: match settings.email_verification {
                    EmailVerification::Required => EmailVerificationView::Required,
                    EmailVerification::Optional => EmailVerificationView::Optional,
                },
            },
            created_at: created_at.into(),
            updated_at: updated_at.into(),
        }
    }
}
