//! The shapes of introspection and of published keys.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_shared::{
    auth::{ActiveToken, TokenKind},
    crypto::signing::PublicKey,
};
use poem::{
    IntoResponse, Response,
    http::{HeaderValue, header},
};
use poem_openapi::{
    ApiResponse, Enum, Object, Union,
    registry::{MetaResponses, Registry},
    types::Example,
};
use uuid::Uuid;

use crate::{extract::Json, reply::Ok as Reply};

/// A question about a token (RFC 7662 section 2.1). A form may have parameters of other names, which are ignored.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct IntrospectRequest {
    /// The token.
    #[oai(validator(max_length = 16384))]
    pub(super) token: String,
    /// `access_token` or `refresh_token`. Not needed: the token says what it is.
    #[oai(validator(max_length = 64))]
    token_type_hint: Option<String>,
}

impl Example for IntrospectRequest {
    fn example() -> Self {
        Self {
            token: "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6ImsxIn0.e30.c2lnbmF0dXJl".to_owned(),
            token_type_hint: None,
        }
    }
}

/// What is said of a token (RFC 7662 section 2.2).
#[derive(Union)]
#[oai(rename = "Introspection")]
#[expect(
    clippy::large_enum_variant,
    reason = "one is made for each request, and written at once"
)]
pub(super) enum Introspection {
    Active(ActiveView),
    Inactive(InactiveView),
}

impl From<Option<ActiveToken>> for Introspection {
    fn from(token: Option<ActiveToken>) -> Self {
        match token {
            Some(token) => Self::Active(token.into()),
            None => Self::Inactive(InactiveView { active: false }),
        }
    }
}

/// A token of no use, and nothing of why.
#[derive(Object)]
#[oai(rename = "InactiveToken")]
pub(super) struct InactiveView {
    active: bool,
}

#[derive(Enum)]
#[oai(rename = "IntrospectedTokenType")]
enum TokenTypeView {
    /// For `Authorization: Bearer`.
    Bearer,
    /// Continues a session.
    #[oai(rename = "refresh_token")]
    RefreshToken,
}

/// A token that counts now. Times are seconds since 1970.
#[derive(Object)]
#[oai(rename = "ActiveToken")]
pub(super) struct ActiveView {
    active: bool,
    token_type: TokenTypeView,
    /// The user.
    sub: Uuid,
    /// The session.
    sid: Uuid,
    /// The tenant.
    tid: Uuid,
    /// The user's address.
    username: String,
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
    /// When the user last proved a credential.
    auth_time: i64,
    /// How (RFC 8176); empty for a refresh token.
    amr: Vec<String>,
    /// How strongly: `aal1` or `aal2`; null for a refresh token.
    acr: Option<String>,
    /// The token's own id; null for a refresh token.
    jti: Option<Uuid>,
}

impl From<ActiveToken> for ActiveView {
    fn from(token: ActiveToken) -> Self {
        let ActiveToken {
            kind,
            tenant,
            session,
            user,
            email,
            token,
            issuer,
            audience,
            issued_at,
            expires_at,
            authenticated_at,
            methods,
            level,
        } = token;
        Self {
            active: true,
            token_type: match kind {
                TokenKind::Access => TokenTypeView::Bearer,
                TokenKind::Refresh => TokenTypeView::RefreshToken,
            },
            sub: user.0,
            sid: session.0,
            tid: tenant.0,
            username: email,
            iss: issuer,
            aud: audience,
            iat: issued_at.timestamp(),
            exp: expires_at.timestamp(),
            auth_time: authenticated_at.timestamp(),
            amr: methods,
            acr: level,
            jti: token,
        }
    }
}

/// A JWK set (RFC 7517 section 5).
#[derive(Object)]
#[oai(rename = "JwkSet")]
pub(super) struct KeySet {
    keys: Vec<PublishedKey>,
}

/// A public key (RFC 7517 section 4).
#[derive(Union)]
#[oai(rename = "Jwk")]
enum PublishedKey {
    Ec(EcKey),
    Okp(OkpKey),
}

#[derive(Enum)]
#[oai(rename_all = "lowercase")]
enum KeyUse {
    Sig,
}

#[derive(Enum)]
enum EcType {
    #[oai(rename = "EC")]
    Ec,
}

#[derive(Enum)]
enum EcCurve {
    #[oai(rename = "P-256")]
    P256,
}

#[derive(Enum)]
enum EcAlgorithm {
    #[oai(rename = "ES256")]
    Es256,
}

/// A point on an elliptic curve (RFC 7518 section 6.2).
#[derive(Object)]
#[oai(rename = "EcJwk")]
struct EcKey {
    kty: EcType,
    #[oai(rename = "use")]
    key_use: KeyUse,
    alg: EcAlgorithm,
    kid: String,
    crv: EcCurve,
    x: String,
    y: String,
}

#[derive(Enum)]
enum OkpType {
    #[oai(rename = "OKP")]
    Okp,
}

#[derive(Enum)]
enum OkpCurve {
    Ed25519,
}

#[derive(Enum)]
enum OkpAlgorithm {
    #[oai(rename = "EdDSA")]
    EdDsa,
}

/// A point on an Edwards curve (RFC 8037 section 2).
#[derive(Object)]
#[oai(rename = "OkpJwk")]
struct OkpKey {
    kty: OkpType,
    #[oai(rename = "use")]
    key_use: KeyUse,
    alg: OkpAlgorithm,
    kid: String,
    crv: OkpCurve,
    x: String,
}

impl KeySet {
    pub(super) fn of(keys: Vec<(String, PublicKey)>) -> Self {
        Self {
            keys: keys.into_iter().map(|(kid, key)| published(kid, &key)).collect(),
        }
    }
}

fn published(kid: String, key: &PublicKey) -> PublishedKey {
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    match key {
        PublicKey::Ed25519(point) => PublishedKey::Okp(OkpKey {
            kty: OkpType::Okp,
            key_use: KeyUse::Sig,
            alg: OkpAlgorithm::EdDsa,
            kid,
            crv: OkpCurve::Ed25519,
            x: text(point),
        }),
        PublicKey::P256(point) => {
            // One byte that says "uncompressed", then 32 of each coordinate.
            let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
            PublishedKey::Ec(EcKey {
                kty: EcType::Ec,
                key_use: KeyUse::Sig,
                alg: EcAlgorithm::Es256,
                kid,
                crv: EcCurve::P256,
                x: text(x),
                y: text(y),
            })
        }
    }
}

/// 200 with the keys. Who caches them for five minutes learns of a new key in time: keys are added before they
/// are dropped.
pub(super) struct KeySetReply(pub(super) KeySet);

impl IntoResponse for KeySetReply {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=300"),
        );
        response
    }
}

impl ApiResponse for KeySetReply {
    fn meta() -> MetaResponses {
        Reply::<KeySet>::meta()
    }

    fn register(registry: &mut Registry) {
        Reply::<KeySet>::register(registry);
    }
}
