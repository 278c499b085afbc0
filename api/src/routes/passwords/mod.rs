//! Passwords and addresses: change and reset.

use poem_openapi::OpenApi;

/// The operations.
pub struct PasswordsApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "super::Tag::Auth")]
impl PasswordsApi {}
