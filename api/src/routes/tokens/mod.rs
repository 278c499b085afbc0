//! What other services ask about tokens: whether one is active, and which keys verify them.

mod model;

use latchkey_shared::{
    auth::{self, Auth},
    permission::TokensIntrospect,
};
use poem::web::Data;
use poem_openapi::OpenApi;

use self::model::{IntrospectRequest, Introspection, KeySet, KeySetReply};
use super::Tag;
use crate::{
    extract::{FormOrJson, Permit},
    problem::{ApiResult, Input, Parameters, Permitted},
    reply::Ok as Reply,
};

/// The operations.
pub struct TokensApi;

#[OpenApi(tag = "Tag::Tokens")]
impl TokensApi {
    /// Is a token active
    ///
    /// RFC 7662. Takes access and refresh tokens of the caller's tenant, and uses none of them up; all others are
    /// not active. Takes `tokens:introspect`.
    #[oai(
        path = "/v1/auth/introspect",
        method = "post",
        operation_id = "introspectToken"
    )]
    async fn introspect(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<TokensIntrospect>,
        body: FormOrJson<IntrospectRequest>,
    ) -> ApiResult<Reply<Introspection>, (Permitted, Input)> {
        let active = auth::introspect(auth, &caller, &body.0.token).await?;
        Ok(Reply(active.into()))
    }

    /// Keys that verify access tokens
    ///
    /// A JWK set (RFC 7517) of the public keys in use. It is empty where tokens are signed by HMAC, whose keys
    /// verify and sign alike.
    #[expect(clippy::unused_async, reason = "the framework awaits every handler")]
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "getKeys")]
    async fn keys(&self, Data(auth): Data<&Auth>) -> ApiResult<KeySetReply, Parameters> {
        Ok(KeySetReply(KeySet::of(auth.public_keys())))
    }
}
