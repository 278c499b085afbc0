//! What surrounds every request.

mod allow;
mod around;
mod figures;
mod headers;

pub use self::{allow::AllowedMethods, around::around};
