//! The tenant's users, for its administrators.

use poem_openapi::OpenApi;

/// The operations.
pub struct UsersApi;

#[OpenApi(prefix_path = "/v1/users", tag = "super::Tag::Auth")]
impl UsersApi {}
