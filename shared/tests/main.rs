//! The shared crate against real servers.

mod alerts;
mod deployment;
mod gitleaks;
mod layers;
mod queue;
mod webhooks;
