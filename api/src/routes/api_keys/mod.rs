//! API keys: credentials for machines.

mod error;
mod model;
mod verification;
mod view;

use chrono::{DateTime, Datelike, Utc};
use latchkey_shared::{
    api_key,
    auth::{self, Auth},
    id::ApiKeyId,
    permission::{ApiKeysRead, ApiKeysVerify, ApiKeysWrite},
    secret::Secret,
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::{
    model::{
        CreateApiKeyRequest, EnvironmentView, OwnerType, ReportLeakedApiKeysRequest, ReportedView,
        RevokeApiKeysRequest, RevokedView, RotateApiKeyRequest, StatusView, UpdateApiKeyRequest,
        listed_owner,
    },
    verification::{VerificationView, VerifyApiKeyRequest},
    view::{ApiKeyView, CreatedApiKeyView, UsageView},
};
use super::{Tag, page};
use crate::{
    extract::{ByKey, ClientOrigin, Json, Limit, OptionalJson, Permit, Token},
    problem::{
        ApiResult, Conflict, Failure, FieldError, Input, Limited, NotFound, Parameters, Permitted,
        ProblemCode,
    },
    reply::{Accepted, Created, List, NoContent, Ok as Reply},
};

/// The operations.
pub struct ApiKeysApi;

#[OpenApi(prefix_path = "/v1/api-keys", tag = "Tag::ApiKeys")]
impl ApiKeysApi {
    /// Create an API key
    ///
    /// The answer holds the key; it is shown this once. It acts for the caller, or for the `owner` named: a service account
    /// whose roles the caller could give, or the tenant. Its scopes are permissions that the caller holds. At each use it
    /// may do what its scopes and its owner's permissions then both allow. Takes `api_keys:write`.
    #[oai(path = "/", method = "post", operation_id = "createApiKey")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysWrite>,
        origin: ClientOrigin,
        body: Json<CreateApiKeyRequest>,
    ) -> ApiResult<Created<CreatedApiKeyView>, (Permitted, Input, Conflict)> {
        let created = api_key::create(&auth.context, &caller, &origin, body.0.read()?).await?;
        let location = format!("/v1/api-keys/{}", created.key.id);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// List API keys
    ///
    /// Newest first. Takes `api_keys:read`.
    #[oai(path = "/", method = "get", operation_id = "listApiKeys")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysRead>,
        /// Of an owner of that kind; with `owner_id`, unless it is `tenant`
        owner_type: Query<Option<OwnerType>>,
        /// Of that user or service account
        owner_id: Query<Option<Uuid>>,
        /// Meant for that
        environment: Query<Option<EnvironmentView>>,
        /// Where they stand
        status: Query<Option<StatusView>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<ApiKeyView>>, (Permitted, Parameters)> {
        let filter = api_key::Filter {
            owner: listed_owner(owner_type.0, owner_id.0)?,
            environment: environment.0.map(Into::into),
            status: status.0.map(Into::into),
        };
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(
            api_key::list(&auth.context, &caller, filter, page).await?,
        )))
    }

    /// Get the API key that asks
    ///
    /// Takes an API key, and no permission.
    #[oai(path = "/self", method = "get", operation_id = "getOwnApiKey")]
    async fn get_self(
        &self,
        Data(auth): Data<&Auth>,
        ByKey(caller): ByKey,
    ) -> ApiResult<Reply<ApiKeyView>, (Permitted,)> {
        Ok(Reply(api_key::get_self(&auth.context, &caller).await?.into()))
    }

    /// Verify an API key
    ///
    /// For the tenant's own services: whether the key counts, may do all that is asked, and from there. Another tenant's key
    /// is answered as one that never was. A key with a rate limit has `cost` uses counted, if it is valid. Takes
    /// `api_keys:verify`.
    #[oai(path = "/verify", method = "post", operation_id = "verifyApiKey")]
    async fn verify(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysVerify>,
        body: Json<VerifyApiKeyRequest>,
    ) -> ApiResult<Reply<VerificationView>, (Permitted, Input)> {
        let verified = auth::verify_key(auth, &caller, &body.0.read()?).await?;
        Ok(Reply(verified.into()))
    }

    /// Revoke several API keys
    ///
    /// Each condition narrows the choice; `ids` and `keys` together are one. Keys that are unknown, another tenant's or
    /// revoked already are left out. Takes `api_keys:write`.
    #[oai(path = "/revoke-batch", method = "post", operation_id = "revokeApiKeys")]
    async fn revoke_batch(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysWrite>,
        origin: ClientOrigin,
        body: Json<RevokeApiKeysRequest>,
    ) -> ApiResult<Reply<RevokedView>, (Permitted, Input)> {
        let revoked = api_key::revoke_batch(&auth.context, &caller, &origin, body.0.read()?).await?;
        Ok(Reply(RevokedView::of(revoked)))
    }

    /// Report leaked API keys
    ///
    /// For whoever finds keys where they should not be, secret scanners among them: the keys end, and their owners are told
    /// by mail. The answer is the same whether or not there are such keys.
    #[oai(path = "/leaks", method = "post", operation_id = "reportLeakedApiKeys")]
    async fn report_leaks(
        &self,
        _limit: Limit<Token>,
        Data(auth): Data<&Auth>,
        origin: ClientOrigin,
        body: Json<ReportLeakedApiKeysRequest>,
    ) -> ApiResult<Accepted<ReportedView>, (Input, Limited)> {
        let ReportLeakedApiKeysRequest { keys, source_url } = body.0;
        let keys = keys.into_iter().map(Secret::new).collect();
        api_key::report_leaked(&auth.context, &origin, keys, source_url).await?;
        Ok(Accepted(ReportedView::taken()))
    }

    /// Get an API key
    ///
    /// Takes `api_keys:read`.
    #[oai(path = "/:id", method = "get", operation_id = "getApiKey")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysRead>,
        /// The key
        id: Path<Uuid>,
    ) -> ApiResult<Reply<ApiKeyView>, (Permitted, NotFound)> {
        let key = api_key::get(&auth.context, &caller, ApiKeyId(id.0)).await?;
        Ok(Reply(key.into()))
    }

    /// Change an API key
    ///
    /// What is absent stays, null clears. It holds from the next use on. Scopes that the key gains must be the caller's.
    /// Takes `api_keys:write`.
    #[oai(path = "/:id", method = "patch", operation_id = "updateApiKey")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysWrite>,
        origin: ClientOrigin,
        /// The key
        id: Path<Uuid>,
        body: Json<UpdateApiKeyRequest>,
    ) -> ApiResult<Reply<ApiKeyView>, (Permitted, Input, NotFound, Conflict)> {
        let (id, patch) = (ApiKeyId(id.0), body.0.into());
        let key = api_key::update(&auth.context, &caller, &origin, id, patch).await?;
        Ok(Reply(key.into()))
    }

    /// Revoke an API key
    ///
    /// It opens nothing any more, on any process. Takes `api_keys:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "revokeApiKey")]
    async fn revoke(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysWrite>,
        origin: ClientOrigin,
        /// The key
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound)> {
        api_key::revoke(&auth.context, &caller, &origin, ApiKeyId(id.0)).await?;
        Ok(NoContent)
    }

    /// Rotate an API key
    ///
    /// Makes a key with the same owner, scopes, limits and expiry, and shows it this once. The old one works for
    /// `overlap_seconds` more: a day if absent, a week at most. Whoever rotates a key must be able to make it. Takes
    /// `api_keys:write`.
    #[oai(path = "/:id/rotate", method = "post", operation_id = "rotateApiKey")]
    async fn rotate(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysWrite>,
        origin: ClientOrigin,
        /// The key
        id: Path<Uuid>,
        body: OptionalJson<RotateApiKeyRequest>,
    ) -> ApiResult<Created<CreatedApiKeyView>, (Permitted, Input, NotFound, Conflict)> {
        let (id, overlap) = (ApiKeyId(id.0), body.0.overlap());
        let created = api_key::rotate(&auth.context, &caller, &origin, id, overlap).await?;
        let location = format!("/v1/api-keys/{}", created.key.id);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// How often an API key was used
    ///
    /// By hours, newest first: a week of them if nothing else is asked, and 31 days at most. What was counted in the last
    /// half minute may be missing. Takes `api_keys:read`.
    #[oai(path = "/:id/usage", method = "get", operation_id = "getApiKeyUsage")]
    async fn usage(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<ApiKeysRead>,
        /// The key
        id: Path<Uuid>,
        /// From then on
        since: Query<Option<DateTime<Utc>>>,
        /// Earlier than that
        until: Query<Option<DateTime<Utc>>>,
    ) -> ApiResult<Reply<UsageView>, (Permitted, Parameters, NotFound)> {
        let now = auth.context.clock.now();
        let until = in_range("until", until.0)?.unwrap_or(now + chrono::TimeDelta::hours(1));
        let since = in_range("since", since.0)?.unwrap_or(until - chrono::TimeDelta::days(7));
        if until - since > chrono::TimeDelta::days(31) {
            let field = FieldError::new("/query/since", "invalid", "Ask for 31 days at most.");
            return Err(Failure::fields(ProblemCode::InvalidParameter, vec![field]).into());
        }
        let hours = api_key::usage(&auth.context, &caller, ApiKeyId(id.0), since, until).await?;
        Ok(Reply(hours.into()))
    }
}

/// PostgreSQL's calendar is shorter than the parser's.
fn in_range(name: &str, at: Option<DateTime<Utc>>) -> Result<Option<DateTime<Utc>>, Failure> {
    if at.is_none_or(|at| (2000..=9999).contains(&at.year())) {
        return Ok(at);
    }
    let field = FieldError::new(format!("/query/{name}"), "invalid", "The year is out of range.");
    Err(Failure::fields(ProblemCode::InvalidParameter, vec![field]))
}
