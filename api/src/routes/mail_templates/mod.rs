//! Mail in the tenant's own words.

use poem_openapi::OpenApi;

/// The operations.
pub struct MailTemplatesApi;

#[OpenApi(prefix_path = "/v1/tenant", tag = "super::Tag::Auth")]
impl MailTemplatesApi {}
