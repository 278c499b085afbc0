//! What surrounds every request.

mod allow;
mod around;
mod headers;

pub use self::{allow::AllowedMethods, around::around};
