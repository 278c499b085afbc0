//! What handlers take from a request besides its parameters.

mod bearer;
mod form;
mod json;
mod limit;
mod origin;
mod schema;
mod tenant;

pub(crate) use self::{bearer::principal, limit::LimitNote, origin::ClientOrigin};
pub use self::{
    bearer::{Bearer, Enrolling, Permit, Recent},
    form::FormOrJson,
    json::Json,
    limit::{Limit, LimitClass, Mail, SignIn, Token},
    tenant::InTenant,
};
