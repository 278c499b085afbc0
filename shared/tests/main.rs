//! The shared crate against real servers.

mod gitleaks;
mod layers;
mod queue;
mod webhooks;
