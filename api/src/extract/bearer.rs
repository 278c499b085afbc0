//! Credentials: who the caller is, and the proof of what the caller may do.

use latchkey_shared::{
    auth::{self, Auth, AuthenticateError, Caller},
    permission::{Authorized, Permission},
    principal::Principal,
};
use poem::{Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};

use super::tenant;
use crate::problem::{Failure, ProblemCode};

const SCHEME: &str = "bearer";

/// A signed-in caller, who may have yet to set up the second factor that the tenant wants: for the few operations
/// that lead there.
pub struct Enrolling(pub Caller);

/// A signed-in caller.
pub struct Bearer(pub Caller);

/// A signed-in caller who has proven a credential lately: for what is sensitive.
pub struct Recent(pub Caller);

/// A caller who holds the permission `P`.
pub struct Permit<P: Permission>(pub Authorized<P>);

/// What an operation asks of a caller whose token is good.
trait Admit: Sized {
    fn admit(auth: &Auth, caller: Caller) -> Result<Self, Failure>;
}

impl Admit for Enrolling {
    fn admit(_: &Auth, caller: Caller) -> Result<Self, Failure> {
        Ok(Self(caller))
    }
}

impl Admit for Bearer {
    fn admit(_: &Auth, caller: Caller) -> Result<Self, Failure> {
        if caller.account.must_enrol() {
            return Err(Failure::new(
                ProblemCode::MfaEnrollmentRequired,
                "The tenant wants a second factor: set one up at /v1/mfa/totp/setup.",
            ));
        }
        Ok(Self(caller))
    }
}

impl Admit for Recent {
    fn admit(auth: &Auth, caller: Caller) -> Result<Self, Failure> {
        let Bearer(caller) = Bearer::admit(auth, caller)?;
        let max_age = auth.context.config.tokens.reauthentication_ttl;
        let recent_until = caller.session.authenticated_at + max_age;
        // Who has a second factor proves it too: a device that is trusted with it is not a proof.
        let in_full = caller.session.both_factors || !caller.account.enrolled;
        if !in_full || recent_until < auth.context.clock.now() {
            return Err(Failure::stale_authentication(max_age));
        }
        Ok(Self(caller))
    }
}

impl<P: Permission> Admit for Permit<P> {
    fn admit(auth: &Auth, caller: Caller) -> Result<Self, Failure> {
        let Bearer(caller) = Bearer::admit(auth, caller)?;
        let lacking = || {
            Failure::new(
                ProblemCode::Forbidden,
                format!("This takes the permission {}.", P::NAME),
            )
        };
        Authorized::prove(caller.session.into())
            .map(Self)
            .ok_or_else(lacking)
    }
}

pub(super) fn auth(request: &Request) -> Result<&Auth, Failure> {
    let missing = || Failure::new(ProblemCode::InternalError, "The server is not set up.");
    request.data::<Auth>().ok_or_else(missing)
}

async fn admit<A: Admit>(request: &Request) -> Result<A, Failure> {
    let auth = auth(request)?;
    A::admit(auth, caller(request, auth).await?)
}

/// Whoever sends the request, if that is somebody.
pub(crate) async fn principal(request: &Request) -> Option<Principal> {
    let caller = caller(request, auth(request).ok()?).await.ok()?;
    Some(caller.session.into())
}

async fn caller(request: &Request, auth: &Auth) -> Result<Caller, Failure> {
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

/// The framework's side, which is the same for all of them; its orphan rule leaves no other way to say it once.
macro_rules! extractors {
    ($([$($generics:tt)*] $type:ty,)*) => {$(
        impl<'a, $($generics)*> ApiExtractor<'a> for $type {
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
                Ok(admit(request).await?)
            }
        }
    )*};
}

extractors! {
    [] Enrolling,
    [] Bearer,
    [] Recent,
    [P: Permission] Permit<P>,
}
