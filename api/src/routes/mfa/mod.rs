//! The second factor and the devices that are remembered.

use poem_openapi::OpenApi;

/// The operations.
pub struct MfaApi;

#[OpenApi(prefix_path = "/v1", tag = "super::Tag::Auth")]
impl MfaApi {}
