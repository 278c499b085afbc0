//! What handlers take from a request besides its parameters.

mod bearer;
mod form;
mod json;
mod limit;
mod origin;
mod schema;
mod tenant;

pub use self::{
    bearer::{Bearer, Enrolling, Permit, Recent},
    form::FormOrJson,
    json::Json,
    limit::{Limit, LimitClass, Mail, SignIn, Token},
    tenant::InTenant,
};
pub(crate) use self::{limit::LimitNote, origin::ClientOrigin};
