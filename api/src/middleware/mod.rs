//! What surrounds every request.

mod allow;
mod around;
mod figures;
mod headers;
mod repeat;
mod template;

pub use self::{
    allow::AllowedMethods,
    around::around,
    repeat::{Repeatable, repeat},
};
