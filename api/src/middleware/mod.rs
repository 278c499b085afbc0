//! What surrounds every request.

mod around;
mod headers;

pub use around::around;
