//! What surrounds every request.

mod allow;
mod around;
mod cors;
mod figures;
mod headers;
mod repeat;
mod template;

pub use self::{
    allow::AllowedMethods,
    around::around,
    cors::Cors,
    repeat::{Repeatable, repeat},
};
