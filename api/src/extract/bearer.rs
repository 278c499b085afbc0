//! Credentials: who the caller is, and the proof of what the caller may do.

use std::net::IpAddr;

use latchkey_shared::{
    api_key::KeyText,
    auth::{self, Auth, AuthenticateError, Caller, KeyCaller, KeyRefused},
    permission::{Authorized, Permission},
    principal::Principal,
    secret::Secret,
};
use poem::{
    FromRequest, Request, RequestBody, Result,
    http::{StatusCode, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};

use super::{ClientOrigin, json, limit, tenant};
use crate::problem::{Failure, ProblemCode};

const SCHEME: &str = "bearer";
const KEY_SCHEME: &str = "api_key";
const KEY_HEADER: &str = "x-api-key";

/// A signed-in caller, who may have yet to set up the second factor that the tenant wants: for the few operations
/// that lead there.
pub struct Enrolling(pub Caller);

/// A signed-in caller.
pub struct Bearer(pub Caller);

/// A signed-in caller who has proven a credential lately: for what is sensitive.
pub struct Recent(pub Caller);

/// A caller who holds the permission `P`: a signed-in user, or whoever has a key.
pub struct Permit<P: Permission>(pub Authorized<P>);

/// A signed-in user who holds the permission `P` and has proven a credential lately: for what would undo somebody's protection.
pub struct RecentPermit<P: Permission>(pub Authorized<P>);

/// A caller who came by a key, whatever the key may do.
pub struct ByKey(pub Principal);

/// The credential of a request, to be looked at again while the request goes on: what takes long must not outlive it.
pub struct Credential {
    text: Secret<String>,
    address: Option<IpAddr>,
}

impl<'a> FromRequest<'a> for Credential {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        Ok(Self::of(request)?)
    }
}

impl Credential {
    fn of(request: &Request) -> Result<Self, Failure> {
        let text = key(request).unwrap_or_else(|| token(request));
        Ok(Self {
            text: Secret::new(text.ok_or_else(unauthenticated)?.to_owned()),
            address: address(request),
        })
    }

    /// The proof that whoever began the request may still do this.
    ///
    /// # Errors
    /// When the credential counts no longer, or lacks the permission by now.
    pub async fn permit<P: Permission>(&self, auth: &Auth) -> Result<Authorized<P>, Failure> {
        let Permit(caller) = self.admit(auth).await?;
        Ok(caller)
    }

    async fn admit<A: Admit>(&self, auth: &Auth) -> Result<A, Failure> {
        A::admit(auth, self.someone(auth).await?)
    }

    async fn someone(&self, auth: &Auth) -> Result<Someone, Failure> {
        let text = self.text.expose();
        if !KeyText::is_meant_by(text) {
            return signed_in(auth, text).await;
        }
        let principal = auth::authenticate_key_again(auth, text, self.address).await;
        let verdict = None;
        Ok(Someone::WithKey(KeyCaller {
            principal: principal.map_err(refused)?,
            verdict,
        }))
    }
}

/// Somebody whose credential is good.
#[derive(Clone)]
enum Someone {
    SignedIn(Caller),
    WithKey(KeyCaller),
}

impl Someone {
    fn principal(&self) -> Principal {
        match self {
            Self::SignedIn(caller) => caller.session.clone().into(),
            Self::WithKey(caller) => caller.principal.clone(),
        }
    }
}

/// The request was carried out before: whoever is admitted to it now is told what came of it then, and nothing is done.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the request was carried out before")]
pub(crate) struct CarriedOut;

/// What an operation asks of them.
trait Admit: Sized {
    const SCHEMES: &'static [&'static str] = &[SCHEME];

    fn admit(auth: &Auth, someone: Someone) -> Result<Self, Failure>;
}

impl Admit for Enrolling {
    fn admit(_: &Auth, someone: Someone) -> Result<Self, Failure> {
        match someone {
            Someone::SignedIn(caller) => Ok(Self(caller)),
            // What is somebody's own is not for machines, not even that somebody's.
            Someone::WithKey(_) => Err(Failure::new(
                ProblemCode::SessionRequired,
                "An API key does not do here: sign in.",
            )),
        }
    }
}

impl Admit for Bearer {
    fn admit(auth: &Auth, someone: Someone) -> Result<Self, Failure> {
        let Enrolling(caller) = Enrolling::admit(auth, someone)?;
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
    fn admit(auth: &Auth, someone: Someone) -> Result<Self, Failure> {
        let Bearer(caller) = Bearer::admit(auth, someone)?;
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
    const SCHEMES: &'static [&'static str] = &[SCHEME, KEY_SCHEME];

    fn admit(auth: &Auth, someone: Someone) -> Result<Self, Failure> {
        let principal = match someone {
            Someone::WithKey(caller) => caller.principal,
            signed_in @ Someone::SignedIn(_) => Bearer::admit(auth, signed_in)?.0.session.into(),
        };
        prove(principal).map(Self)
    }
}

impl<P: Permission> Admit for RecentPermit<P> {
    fn admit(auth: &Auth, someone: Someone) -> Result<Self, Failure> {
        let Bearer(caller) = Bearer::admit(auth, someone.clone())?;
        let permitted = prove(caller.session.into())?;
        // Whoever lacks the permission need not prove anything.
        Recent::admit(auth, someone)?;
        Ok(Self(permitted))
    }
}

fn prove<P: Permission>(principal: Principal) -> Result<Authorized<P>, Failure> {
    let lacking = || {
        Failure::new(
            ProblemCode::Forbidden,
            format!("This takes the permission {}.", P::NAME),
        )
    };
    Authorized::prove(principal).ok_or_else(lacking)
}

impl Admit for ByKey {
    const SCHEMES: &'static [&'static str] = &[SCHEME, KEY_SCHEME];

    fn admit(_: &Auth, someone: Someone) -> Result<Self, Failure> {
        match someone {
            Someone::WithKey(caller) => Ok(Self(caller.principal)),
            Someone::SignedIn(_) => Err(Failure::new(ProblemCode::Forbidden, "Ask with an API key.")),
        }
    }
}

pub(super) fn auth(request: &Request) -> Result<&Auth, Failure> {
    let missing = || Failure::new(ProblemCode::InternalError, "The server is not set up.");
    request.data::<Auth>().ok_or_else(missing)
}

/// Whoever may not is refused before the body is waited for, and who may no longer when it has come.
async fn admit<A: Admit>(request: &Request, body: &mut RequestBody) -> Result<A> {
    let auth = auth(request)?;
    let admitted = A::admit(auth, someone(request, auth).await?)?;
    if let Some(done) = request.data::<CarriedOut>() {
        return Err(poem::Error::new(*done, StatusCode::CONFLICT));
    }
    if json::arrives_promptly(request, body).await? {
        return Ok(admitted);
    }
    Ok(Credential::of(request)?.admit(auth).await?)
}

/// Whoever sends the request, if that is somebody. The operation need not ask again: a key is used once by a request.
pub(crate) async fn identify(request: &mut Request) -> Option<Principal> {
    let someone = someone(request, auth(request).ok()?).await.ok()?;
    let principal = someone.principal();
    request.set_data(someone);
    Some(principal)
}

/// As [`identify`], once more, of a request that has taken its time since then.
pub(crate) async fn identify_again(request: &mut Request) -> Result<Principal, Failure> {
    let someone = Credential::of(request)?.someone(auth(request)?).await?;
    let principal = someone.principal();
    request.set_data(someone);
    Ok(principal)
}

async fn someone(request: &Request, auth: &Auth) -> Result<Someone, Failure> {
    if let Some(identified) = request.data::<Someone>() {
        return Ok(identified.clone());
    }
    let (token, key) = (token(request), key(request));
    // Generated clients know no "or" between headers, and send the same in both.
    let both = request.headers().contains_key(header::AUTHORIZATION) && key.is_some();
    if both && key.flatten() != token {
        return Err(Failure::new(
            ProblemCode::BadRequest,
            "Send one credential: Authorization or X-API-Key.",
        ));
    }
    let someone = match (token, key) {
        (Some(token), _) if !KeyText::is_meant_by(token) => signed_in(auth, token).await?,
        (Some(key), _) | (None, Some(Some(key))) => with_key(request, auth, key).await?,
        (None, _) => return Err(unauthenticated()),
    };
    let tenant = match &someone {
        Someone::SignedIn(caller) => caller.session.tenant,
        Someone::WithKey(caller) => caller.principal.tenant,
    };
    tenant::check(request, auth, tenant).await?;
    Ok(someone)
}

async fn signed_in(auth: &Auth, token: &str) -> Result<Someone, Failure> {
    let caller = auth::authenticate(auth, token).await;
    caller.map(Someone::SignedIn).map_err(|error| match error {
        AuthenticateError::InvalidToken => unauthenticated(),
        AuthenticateError::Internal(error) => error.into(),
    })
}

async fn with_key(request: &Request, auth: &Auth, key: &str) -> Result<Someone, Failure> {
    match auth::authenticate_key(auth, key, address(request)).await {
        Ok(caller) => {
            if let Some(verdict) = &caller.verdict {
                limit::note_key(request, verdict.clone());
            }
            Ok(Someone::WithKey(caller))
        }
        Err(error) => {
            if let KeyRefused::TooOften(verdict) = &error {
                limit::note_key(request, verdict.clone());
            }
            Err(refused(error))
        }
    }
}

fn refused(error: KeyRefused) -> Failure {
    match error {
        KeyRefused::TooOften(verdict) => Failure::too_often(verdict.refused_for().unwrap_or_default()),
        KeyRefused::Invalid => unauthenticated(),
        KeyRefused::Internal(error) => error.into(),
    }
}

fn address(request: &Request) -> Option<IpAddr> {
    request.data::<ClientOrigin>().and_then(|origin| origin.address)
}

fn unauthenticated() -> Failure {
    Failure::new(
        ProblemCode::Unauthenticated,
        "Send a valid access token or API key as Authorization: Bearer, or an API key as X-API-Key.",
    )
}

/// The header of a key: nothing if it is not there, nothing in it if it cannot be read.
#[expect(
    clippy::option_option,
    reason = "a header that cannot be read is a credential all the same"
)]
fn key(request: &Request) -> Option<Option<&str>> {
    let mut values = request.headers().get_all(KEY_HEADER).iter();
    let first = values.next()?;
    // Of two, one is not meant.
    Some(
        first
            .to_str()
            .ok()
            .filter(|_| values.next().is_none())
            .map(str::trim),
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
            description: Some(
                "An access token from `login` or `refresh`; or, where an operation takes one, an API key.",
            ),
            name: None,
            key_in: None,
            scheme: Some(SCHEME),
            bearer_format: Some("JWT"),
            flows: None,
            openid_connect_url: None,
        },
    );
    registry.create_security_scheme(
        KEY_SCHEME,
        MetaSecurityScheme {
            ty: "apiKey",
            description: Some("An API key. Another credential beside it is refused."),
            name: Some("X-API-Key"),
            key_in: Some("header"),
            scheme: None,
            bearer_format: None,
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
                <Self as Admit>::SCHEMES.to_vec()
            }

            async fn from_request(
                request: &'a Request,
                body: &mut RequestBody,
                _: ExtractParamOptions<Self::ParamType>,
            ) -> Result<Self> {
                admit(request, body).await
            }
        }
    )*};
}

extractors! {
    [] Enrolling,
    [] Bearer,
    [] Recent,
    [] ByKey,
    [P: Permission] Permit<P>,
    [P: Permission] RecentPermit<P>,
}
