//! Credentials: who the caller is, and the proof of what the caller may do.

use latchkey_shared::{
    auth::{self, Auth, AuthenticateError, Caller},
    permission::{Authorized, Permission},
};
use poem::{Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};

use super::tenant;
use crate::problem::{Failure, ProblemCode};

const SCHEME: &str = "bearer";

/// A signed-in caller.
pub struct Bearer(pub Caller);

/// A caller who holds the permission `P`.
pub struct Permit<P: Permission>(pub Authorized<P>);

pub(super) fn auth(request: &Request) -> Result<&Auth, Failure> {
    let missing = || Failure::new(ProblemCode::InternalError, "The server is not set up.");
    request.data::<Auth>().ok_or_else(missing)
}

async fn authenticate(request: &Request) -> Result<Caller, Failure> {
    let auth = auth(request)?;
    let token = token(request).ok_or_else(unauthenticated)?;
    let caller = auth::authenticate(auth, token)
        .await
        .map_err(|error| match error {
            AuthenticateError::InvalidToken => unauthenticated(),
            AuthenticateError::Internal(error) => error.into(),
        })?;
    tenant::check(request, auth, &caller.account.tenant).await?;
    Ok(caller)
}

fn unauthenticated() -> Failure {
    Failure::new(
        ProblemCode::Unauthenticated,
        "Send a valid access token as Authorization: Bearer.",
    )
}

/// RFC 6750 section 2.1; the scheme's case does not matter.
fn token(request: &Request) -> Option<&str> {
    let (scheme, token) = request
        .headers()
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| token.trim())
}

fn register_scheme(registry: &mut Registry) {
    registry.create_security_scheme(
        SCHEME,
        MetaSecurityScheme {
            ty: "http",
            description: Some("An access token from `login` or `refresh`."),
            name: None,
            key_in: None,
            scheme: Some(SCHEME),
            bearer_format: Some("JWT"),
            flows: None,
            openid_connect_url: None,
        },
    );
}

impl<'a> ApiExtractor<'a> for Bearer {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_scheme(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        Ok(Self(authenticate(request).await?))
    }
}

impl<'a, P: Permission> ApiExtractor<'a> for Permit<P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        register_scheme(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![SCHEME]
    }

    async fn from_request(
        request: &'a Request,
        _: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let caller = authenticate(request).await?;
        let proof = Authorized::prove(caller.principal);
        let lacking = || {
            Failure::new(
                ProblemCode::Forbidden,
                format!("This takes the permission {}.", P::NAME),
            )
        };
        Ok(Self(proof.ok_or_else(lacking)?))
    }
}
