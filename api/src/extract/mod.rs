//! What handlers take from a request besides its parameters.

mod bearer;
mod form;
mod json;
mod limit;
mod lines;
mod origin;
mod schema;
mod tenant;

pub(crate) use self::{
    bearer::identify,
    json::in_time,
    limit::{LimitNote, Note},
    origin::ClientOrigin,
};
pub use self::{
    bearer::{Bearer, ByKey, Credential, Enrolling, Permit, Recent},
    form::FormOrJson,
    json::Json,
    limit::{Limit, LimitClass, Mail, SignIn, Token},
    lines::{BYTES, Line, Lines, NDJSON},
    tenant::{InTenant, Named},
};
