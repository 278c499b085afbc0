//! What handlers take from a request besides its parameters.

mod bearer;
mod form;
mod json;
mod kept;
mod limit;
mod lines;
mod origin;
mod schema;
mod tenant;

pub use self::{
    bearer::{Bearer, ByKey, Credential, Enrolling, Permit, Recent, RecentPermit},
    form::FormOrJson,
    json::{Json, OptionalJson},
    limit::{Limit, LimitClass, Mail, SignIn, Token},
    lines::{BYTES, Line, Lines, NDJSON},
    tenant::{InTenant, Named},
};
pub(crate) use self::{
    bearer::{CarriedOut, identify, identify_again},
    json::{PROMPTLY, in_time},
    kept::{Kept, NEVER_NULL},
    limit::{LimitNote, Note},
    origin::ClientOrigin,
};
