//! The API server: HTTP on one side, the domain in `latchkey-shared` on the other.
//!
//! A request passes [`middleware`], is taken apart by [`extract`], answered by one function of a service from a
//! handler in [`routes`], and shaped by [`reply`] or [`problem`]. There is no SQL here, no Redis and no rule of
//! the business.

pub mod app;
pub mod breach;
pub mod connections;
pub mod dns;
pub mod extract;
mod json_object;
pub mod key_file;
pub mod middleware;
pub mod problem;
pub mod reply;
pub mod routes;
pub mod serve;
pub mod spec;
mod time;
pub mod verify;
