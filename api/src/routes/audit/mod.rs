//! The audit trail of the caller's tenant.

mod model;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use latchkey_shared::{
    audit::{self, AuditFilter},
    auth::Auth,
    id::AuditId,
    permission::{AuditRead, Authorized},
};
use poem::web::Data;
use poem_openapi::{OpenApi, param::Query};
use uuid::Uuid;

use self::model::AuditEventView;
use super::{Tag, export, in_range, page};
use crate::{
    extract::{ClientOrigin, Credential, Permit},
    problem::{ApiResult, Failure, Parameters, Permitted},
    reply::{List, Ok as Reply, Stream},
};

/// The operations.
pub struct AuditApi;

#[OpenApi(prefix_path = "/v1/audit-events", tag = "Tag::Audit")]
impl AuditApi {
    /// List audit events
    ///
    /// Newest first. Takes `audit:read`.
    #[oai(path = "/", method = "get", operation_id = "listAuditEvents")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<AuditRead>,
        /// By this user or API key
        actor_id: Query<Option<Uuid>>,
        /// Of this kind, as `user.create`
        #[oai(validator(max_length = 100))]
        action: Query<Option<String>>,
        /// On the thing with this id
        target_id: Query<Option<Uuid>>,
        /// Made then or later
        since: Query<Option<DateTime<Utc>>>,
        /// Made earlier than that
        until: Query<Option<DateTime<Utc>>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<AuditEventView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let filter = filter(actor_id.0, action.0, target_id.0, since.0, until.0)?;
        let events = audit::list(&auth.context, &caller, &filter, page).await?;
        Ok(Reply(List::of(events)))
    }

    /// Export audit events
    ///
    /// All that pass the filter, a line of JSON each, newest first. That they were taken is in the trail itself. An answer
    /// breaks off where the access token or key ends. Takes `audit:read`.
    #[oai(path = "/export", method = "get", operation_id = "exportAuditEvents")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn export(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<AuditRead>,
        credential: Credential,
        origin: ClientOrigin,
        /// By this user or API key
        actor_id: Query<Option<Uuid>>,
        /// Of this kind, as `user.create`
        #[oai(validator(max_length = 100))]
        action: Query<Option<String>>,
        /// On the thing with this id
        target_id: Query<Option<Uuid>>,
        /// Made then or later
        since: Query<Option<DateTime<Utc>>>,
        /// Made earlier than that
        until: Query<Option<DateTime<Utc>>>,
    ) -> ApiResult<Stream<AuditEventView>, (Permitted, Parameters)> {
        let filter = Arc::new(filter(actor_id.0, action.0, target_id.0, since.0, until.0)?);
        audit::begin_export(&auth.context, &caller, &origin).await?;
        let read = move |auth: Auth, caller: Authorized<AuditRead>, last: Option<Uuid>| {
            let filter = Arc::clone(&filter);
            async move {
                let page = audit::export_page(&auth.context, &caller, &filter, last.map(AuditId)).await?;
                let rows = page.into_iter().map(|event| (event.id.0, event.into()));
                Ok(rows.collect::<Vec<(_, AuditEventView)>>())
            }
        };
        Ok(Stream::of(export::run(auth.clone(), credential, read)))
    }
}

fn filter(
    actor_id: Option<Uuid>,
    action: Option<String>,
    target_id: Option<Uuid>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<AuditFilter, Failure> {
    Ok(AuditFilter {
        actor_id,
        // No action has such a character, and PostgreSQL takes none.
        action: action.map(|action| action.replace('\0', "\u{fffd}")),
        target_id,
        since: in_range("since", since)?,
        until: in_range("until", until)?,
    })
}
