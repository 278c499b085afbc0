//! One's own sessions.

mod model;

use latchkey_shared::{
    auth::Auth,
    id::SessionId,
    session::{self, SessionError},
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

pub(super) use self::model::SessionView;
use super::{Tag, page};
use crate::{
    extract::{Bearer, ClientOrigin, Enrolling},
    problem::{ApiResult, Failure, NotFound, Parameters, ProblemCode, SignedIn},
    reply::{List, NoContent, Ok as Reply},
};

/// The operations.
pub struct SessionsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl SessionsApi {
    /// List my sessions
    ///
    /// Those that are live, newest first.
    #[oai(path = "/sessions", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Bearer(caller): Bearer,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<SessionView>>, (SignedIn, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let sessions = session::list(&auth.context, &caller.session, page).await?;
        Ok(Reply(List::of(sessions)))
    }

    /// End one of my sessions
    ///
    /// Its refresh token and its access tokens are refused from then on, everywhere.
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "endSession")]
    async fn end(
        &self,
        Data(auth): Data<&Auth>,
        Enrolling(caller): Enrolling,
        origin: ClientOrigin,
        /// The session
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (SignedIn, NotFound)> {
        session::end(&auth.context, &caller.session, &origin, SessionId(id.0)).await?;
        Ok(NoContent)
    }

    /// End this session
    #[oai(path = "/auth/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        Data(auth): Data<&Auth>,
        Enrolling(caller): Enrolling,
        origin: ClientOrigin,
    ) -> ApiResult<NoContent, SignedIn> {
        session::logout(&auth.context, &caller.session, &origin).await?;
        Ok(NoContent)
    }

    /// End all my sessions
    ///
    /// This one too.
    #[oai(path = "/auth/logout-all", method = "post", operation_id = "logoutAll")]
    async fn logout_all(
        &self,
        Data(auth): Data<&Auth>,
        Enrolling(caller): Enrolling,
        origin: ClientOrigin,
    ) -> ApiResult<NoContent, SignedIn> {
        session::logout_all(&auth.context, &caller.session, &origin).await?;
        Ok(NoContent)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::new(ProblemCode::NotFound, "You have no such session."),
            SessionError::Internal(error) => error.into(),
        }
    }
}
