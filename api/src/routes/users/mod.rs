//! The tenant's users, for its administrators.

mod error;
mod import;
mod model;

use latchkey_shared::{
    administration,
    auth::Auth,
    id::{SessionId, UserId},
    permission::{Authorized, UsersRead, UsersWrite},
};
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};
use uuid::Uuid;

use self::{
    import::{ImportLine, ImportReport},
    model::{
        CreateUserRequest, ManagedUserView, NewPasswordRequiredView, StatusView, UpdateUserRequest, filter,
    },
};
use super::{Tag, export, page, sessions::SessionView};
use crate::{
    extract::{ClientOrigin, Credential, Json, Lines, Permit, RecentPermit},
    problem::{ApiResult, Busy, Conflict, Input, Limited, NotFound, Parameters, Permitted},
    reply::{Accepted, Created, List, NoContent, Ok as Reply, Stream},
};

/// The operations.
pub struct UsersApi;

#[OpenApi(prefix_path = "/v1/users", tag = "Tag::Users")]
impl UsersApi {
    /// List users
    ///
    /// Those made last first. Takes `users:read`.
    #[oai(path = "/", method = "get", operation_id = "listUsers")]
    #[expect(clippy::too_many_arguments, reason = "a parameter each")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersRead>,
        /// The user with this address, in any spelling
        #[oai(validator(max_length = 254))]
        email: Query<Option<String>>,
        /// Users in this state
        status: Query<Option<StatusView>>,
        /// Users who hold this role: its id or its name
        #[oai(validator(max_length = 200))]
        role: Query<Option<String>>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<ManagedUserView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let filter = filter(email.0.as_deref(), status.0, role.0)?;
        let users = administration::list(&auth.context, &caller, filter, page).await?;
        Ok(Reply(List::of(users)))
    }

    /// Create a user
    ///
    /// With a password the user may sign in with it; without one the user is mailed a link to choose one. Hashes and mails
    /// count against the tenant's limits. Takes `users:write`.
    #[oai(path = "/", method = "post", operation_id = "createUser")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        body: Json<CreateUserRequest>,
    ) -> ApiResult<Created<ManagedUserView>, (Permitted, Input, Conflict, Limited, Busy)> {
        let user = administration::create(auth, &caller, &origin, body.0.read()?).await?;
        let location = format!("/v1/users/{}", user.user.id);
        Ok(Created {
            body: user.into(),
            location,
        })
    }

    /// Import users
    ///
    /// Takes a line of JSON for each user, with the hash that another system made of the password, and answers with a
    /// line for each as it is done; the last line sums up. What is right is imported, what is not is told of by itself. A
    /// file can be sent again: what was imported before is `unchanged`, and an account that is there already is left
    /// alone. Nobody is sent a mail.
    ///
    /// Hashes that cost more to check than a sign-in may are refused: Argon2 above 128 MiB or above 1 GiB of memory
    /// times iterations, bcrypt above cost 14, scrypt above 128 MiB, PBKDF2 above 2,000,000 iterations. A password of
    /// more than 72 bytes does not open an account with an imported bcrypt hash. At the first sign-in a hash is replaced
    /// by one of ours. Read the answer while you send, or send some ten thousand lines at a time: the import ends where the
    /// access token or key does. Takes `users:write`.
    #[expect(clippy::unused_async, reason = "the framework awaits every handler")]
    #[oai(path = "/import", method = "post", operation_id = "importUsers")]
    async fn import(
        &self,
        Data(auth): Data<&Auth>,
        _caller: Permit<UsersWrite>,
        credential: Credential,
        origin: ClientOrigin,
        lines: Lines<ImportLine>,
    ) -> ApiResult<Stream<ImportReport>, (Permitted, Input)> {
        Ok(Stream::of(import::run(auth.clone(), credential, origin.0, lines)))
    }

    /// Export users
    ///
    /// All of them, a line of JSON each, those made last first. Neither hashes nor secrets are in it. An answer breaks off
    /// where the access token or key ends. Takes `users:read`.
    #[oai(path = "/export", method = "get", operation_id = "exportUsers")]
    async fn export(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersRead>,
        credential: Credential,
        origin: ClientOrigin,
    ) -> ApiResult<Stream<ManagedUserView>, Permitted> {
        administration::begin_export(&auth.context, &caller, &origin).await?;
        let read = |auth: Auth, caller: Authorized<UsersRead>, last: Option<Uuid>| async move {
            let page = administration::export_page(&auth.context, &caller, last.map(UserId)).await?;
            let rows = page.into_iter().map(|user| (user.user.id.0, user.into()));
            Ok(rows.collect::<Vec<(_, ManagedUserView)>>())
        };
        Ok(Stream::of(export::run(auth.clone(), credential, read)))
    }

    /// Get a user
    ///
    /// Takes `users:read`.
    #[oai(path = "/:id", method = "get", operation_id = "getUser")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersRead>,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<Reply<ManagedUserView>, (Permitted, NotFound)> {
        let user = administration::get(&auth.context, &caller, UserId(id.0)).await?;
        Ok(Reply(user.into()))
    }

    /// Change a user
    ///
    /// What is absent stays. Another address takes the place of the present one once it is proven by a mail to it; the
    /// present one is told. Takes `users:write`.
    #[oai(path = "/:id", method = "patch", operation_id = "updateUser")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
        body: Json<UpdateUserRequest>,
    ) -> ApiResult<Reply<ManagedUserView>, (Permitted, Input, NotFound, Conflict, Limited)> {
        let user = administration::update(auth, &caller, &origin, UserId(id.0), body.0.read()?).await?;
        Ok(Reply(user.into()))
    }

    /// Delete a user
    ///
    /// Ends every session at once and erases what is stored about the user. The tenant's last owner stays. Takes
    /// `users:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteUser")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        administration::delete(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }

    /// Disable a user
    ///
    /// Ends every session and token at once, everywhere; nobody signs in until the user is enabled. The tenant's last
    /// owner stays. Takes `users:write`.
    #[oai(path = "/:id/disable", method = "post", operation_id = "disableUser")]
    async fn disable(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        administration::disable(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }

    /// Enable a user
    ///
    /// With the password and the second factor of before. Takes `users:write`.
    #[oai(path = "/:id/enable", method = "post", operation_id = "enableUser")]
    async fn enable(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        administration::enable(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }

    /// Lift a user's locks
    ///
    /// Forgets all failed attempts at the password and the second factor, on any device. Not of one's own, nor of who may do
    /// more than the caller. Takes `users:write`.
    #[oai(path = "/:id/unlock", method = "post", operation_id = "unlockUser")]
    async fn unlock(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        administration::unlock(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }

    /// Require a new password
    ///
    /// Ends the password, every session and the user's API keys, and mails the user a link to choose another. A second
    /// factor stays, and so does a lock. Takes `users:write`.
    #[oai(
        path = "/:id/password-reset",
        method = "post",
        operation_id = "requireNewPassword"
    )]
    async fn require_new_password(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<Accepted<NewPasswordRequiredView>, (Permitted, NotFound, Conflict, Limited)> {
        administration::require_new_password(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(Accepted(NewPasswordRequiredView::new()))
    }

    /// Remove a user's second factor
    ///
    /// For who has lost the authenticator and the recovery codes. Both are gone, with a factor that is being set up, sign-ins
    /// that wait for a code, and the trust in devices; every session ends at once, and the user gets a mail, which
    /// counts against the tenant's limits. The password, roles, API keys and locks stay; a password that others may know as
    /// well is ended by `requireNewPassword`.
    ///
    /// The next sign-in takes the password alone. Where the tenant requires a factor of the user, its session can only set
    /// one up: every other operation answers 403 `mfa_enrollment_required`, and the user's API keys count for nothing until
    /// then. A user without a second factor is left alone; one who is disabled stays so. Not of one's own, nor of who may do
    /// more than the caller. Takes `users:write`, held by a signed-in user who has proven a credential lately, and in full: 401
    /// `reauthentication_required` otherwise; an API key does not do.
    #[oai(path = "/:id/reset-mfa", method = "post", operation_id = "resetMfa")]
    async fn reset_mfa(
        &self,
        Data(auth): Data<&Auth>,
        RecentPermit(caller): RecentPermit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict, Limited)> {
        administration::reset_mfa(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }

    /// List a user's sessions
    ///
    /// Those that are live, newest first. Takes `users:read`.
    #[oai(path = "/:id/sessions", method = "get", operation_id = "listUserSessions")]
    async fn list_sessions(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersRead>,
        /// The user
        id: Path<Uuid>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<SessionView>>, (Permitted, NotFound, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        let sessions = administration::list_sessions(&auth.context, &caller, UserId(id.0), page).await?;
        Ok(Reply(List::of(sessions)))
    }

    /// End a user's sessions
    ///
    /// All of them, at once and everywhere. Takes `users:write`.
    #[oai(path = "/:id/sessions", method = "delete", operation_id = "endUserSessions")]
    async fn end_sessions(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        administration::end_sessions(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }

    /// End a session of a user
    ///
    /// Takes `users:write`.
    #[oai(
        path = "/:id/sessions/:session_id",
        method = "delete",
        operation_id = "endUserSession"
    )]
    async fn end_session(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
        /// The session
        session_id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        let (user, session) = (UserId(id.0), SessionId(session_id.0));
        administration::end_session(auth, &caller, &origin, user, session).await?;
        Ok(NoContent)
    }
}
