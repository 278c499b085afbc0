//! The shared crate against real servers.

mod layers;
mod queue;
mod webhooks;
