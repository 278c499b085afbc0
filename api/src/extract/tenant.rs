//! The tenant of a request before sign-in: by header, by host, or the default one.

use std::{ops::Deref, sync::Arc};

use latchkey_shared::{
    auth::Auth,
    crypto::token::{Kind, Token},
    id::TenantId,
    tenant::{ResolveError, Tenant},
};
use poem::{FromRequest, Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaParamIn, MetaSchemaRef},
    types::Type,
};

use super::json;
use crate::problem::{Failure, FieldError, ProblemCode};

/// `X-Tenant-ID`, or else the host, names it; it exists and is active, also when the body has come.
pub struct InTenant(pub Arc<Tenant>);

impl Deref for InTenant {
    type Target = Tenant;

    fn deref(&self) -> &Tenant {
        &self.0
    }
}

impl<'a> ApiExtractor<'a> for InTenant {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = String;
    type ParamRawType = String;

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(String::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let tenant = resolve(request).await?;
        if json::arrives_promptly(request, body).await? {
            return Ok(Self(tenant));
        }
        // By what it asks for now: its settings may have become stricter, or it was suspended.
        Ok(Self(resolve(request).await?))
    }
}

async fn resolve(request: &Request) -> Result<Arc<Tenant>, Failure> {
    let auth = super::bearer::auth(request)?;
    Ok(auth
        .tenants
        .resolve(named_header(request)?, host(request))
        .await?)
}

/// What tenant the request names, if any, where a token in its body names one as well: who asks for one tenant must not be
/// answered for another.
pub struct Named {
    tenant: Result<Option<TenantId>, Failure>,
}

impl<'a> FromRequest<'a> for Named {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let auth = super::bearer::auth(request)?;
        let named = auth.tenants.named(named_header(request)?, host(request)).await;
        Ok(Self {
            tenant: named
                .map(|named| named.map(|named| named.id))
                .map_err(Failure::from),
        })
    }
}

impl Named {
    /// Whether the request may bring this token. What is none is left to the operation.
    ///
    /// # Errors
    /// `invalid`, as of a token that is none; and when the database does not answer.
    pub fn check(&self, kind: Kind, text: &str, invalid: impl FnOnce() -> Failure) -> Result<(), Failure> {
        let Some(token) = Token::parse(kind, text) else {
            return Ok(());
        };
        match &self.tenant {
            Ok(None) => Ok(()),
            Ok(Some(named)) if *named == token.tenant() => Ok(()),
            Err(failure) if failure.code().status().is_server_error() => Err(failure.clone()),
            // Another one, two, or one that is not there.
            Ok(Some(_)) | Err(_) => Err(invalid()),
        }
    }
}

/// The tenant of a token that carries its own must be the one the request names, if it names one.
pub(super) async fn check(request: &Request, auth: &Auth, tenant: TenantId) -> Result<(), Failure> {
    match auth.tenants.named(named_header(request)?, host(request)).await? {
        Some(named) if named.id != tenant => Err(Failure::new(
            ProblemCode::TenantMismatch,
            "The request names another tenant than its credential.",
        )),
        _ => Ok(()),
    }
}

/// The tenant that the request names, if that is known without a look-up.
pub(super) fn remembered(request: &Request, auth: &Auth) -> Option<Arc<Tenant>> {
    auth.tenants
        .remembered(named_header(request).ok().flatten(), host(request))
}

fn named_header(request: &Request) -> Result<Option<&str>, Failure> {
    let mut values = request.headers().get_all("x-tenant-id").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let invalid = |detail| {
        let field = FieldError::new("/header/X-Tenant-ID", "invalid", detail);
        Failure::fields(ProblemCode::InvalidParameter, vec![field])
    };
    // A gateway may have added one to the client's own: which of them is meant is not ours to guess.
    if values.next().is_some() {
        return Err(invalid("X-Tenant-ID is there more than once."));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| invalid("X-Tenant-ID is not plain text."))
}

/// HTTP/2 carries the host in the request's target.
fn host(request: &Request) -> Option<&str> {
    let header = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    header.or_else(|| request.uri().authority().map(poem::http::uri::Authority::as_str))
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Required => Self::new(
                ProblemCode::TenantRequired,
                "Name the tenant by X-Tenant-ID or by the host.",
            ),
            ResolveError::Unknown => {
                Self::new(ProblemCode::TenantNotFound, "There is no tenant of that name.")
            }
            ResolveError::Conflict => Self::new(
                ProblemCode::TenantConflict,
                "X-Tenant-ID and the host name two different tenants.",
            ),
            ResolveError::Suspended => Self::new(ProblemCode::TenantSuspended, "The tenant is suspended."),
            ResolveError::Internal(error) => error.into(),
        }
    }
}
