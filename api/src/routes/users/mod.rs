//! The tenant's users, for its administrators.

use latchkey_shared::{
    auth::{self, Auth},
    id::UserId,
    permission::UsersWrite,
};
use poem::web::Data;
use poem_openapi::{OpenApi, param::Path};
use uuid::Uuid;

use super::Tag;
use crate::{
    extract::{ClientOrigin, Permit},
    problem::{ApiResult, NotFound, Permitted},
    reply::NoContent,
};

/// The operations.
pub struct UsersApi;

#[OpenApi(prefix_path = "/v1/users", tag = "Tag::Users")]
impl UsersApi {
    /// Lift a user's locks
    ///
    /// Forgets all failed attempts at the password and the second factor, on any device. Takes `users:write`.
    #[oai(path = "/:id/unlock", method = "post", operation_id = "unlockUser")]
    async fn unlock(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<UsersWrite>,
        origin: ClientOrigin,
        /// The user
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound)> {
        auth::unlock_user(auth, &caller, &origin, UserId(id.0)).await?;
        Ok(NoContent)
    }
}
