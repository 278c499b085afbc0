//! The shapes of tenants.

use latchkey_shared::{
    tenant::{CreateTenant, Slug, UpdateTenant},
    user::Email,
};
use poem_openapi::{
    Object,
    types::{Example, MaybeUndefined, ToJSON},
};

use crate::{
    extract::Kept,
    problem::{Failure, FieldError, ProblemCode},
    routes::changed,
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
    owner: Option<NewTenantOwner>,
}

/// An owner to be.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct NewTenantOwner {
    /// The invitation goes there.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for CreateTenantRequest {
    fn example() -> Self {
        Self {
            slug: "acme".to_owned(),
            name: "Acme Ltd".to_owned(),
            owner: Some(NewTenantOwner {
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

/// What to change of a tenant.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct UpdateTenantRequest {
    /// Its name for people.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: Kept<String>,
    /// Its own share of the limits; null goes back to the configured ones.
    rate_limits: MaybeUndefined<RateLimitsPatch>,
    /// Replaces the address ranges (CIDR) that are not public and that its webhooks may be sent to all the same; null
    /// leaves none.
    #[oai(validator(max_items = 32))]
    webhook_allowed_cidrs: MaybeUndefined<Vec<String>>,
}

/// Requests in a minute. What is absent stays, null goes back to the configured limit.
#[derive(Object)]
#[oai(rename = "TenantRateLimitsPatch", deny_unknown_fields)]
struct RateLimitsPatch {
    /// Those that check a password or a second factor.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    sign_in: MaybeUndefined<u32>,
    /// Those that send mail.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    mail: MaybeUndefined<u32>,
    /// Those that bring a token of their own and name the tenant.
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    token: MaybeUndefined<u32>,
}

impl Example for UpdateTenantRequest {
    fn example() -> Self {
        Self {
            name: Kept(Some("Acme Limited".to_owned())),
            rate_limits: MaybeUndefined::Value(RateLimitsPatch {
                sign_in: MaybeUndefined::Value(600),
                mail: MaybeUndefined::Undefined,
                token: MaybeUndefined::Undefined,
            }),
            webhook_allowed_cidrs: MaybeUndefined::Value(vec!["10.20.0.0/16".to_owned()]),
        }
    }
}

impl From<UpdateTenantRequest> for UpdateTenant {
    fn from(request: UpdateTenantRequest) -> Self {
        let UpdateTenantRequest {
            name,
            rate_limits,
            webhook_allowed_cidrs,
        } = request;
        Self {
            name: name.0,
            rate_limits: rate_limits.to_json(),
            webhook_cidrs: changed(webhook_allowed_cidrs).map(Option::unwrap_or_default),
        }
    }
}
