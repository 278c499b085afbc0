//! What handlers take from a request besides its parameters.

mod bearer;
mod json;
mod origin;
mod schema;
mod tenant;

pub(crate) use self::origin::ClientOrigin;
pub use self::{
    bearer::{Bearer, Permit},
    json::Json,
    tenant::InTenant,
};
