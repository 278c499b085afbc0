//! The shared crate against real servers.

mod alerts;
mod dashboard;
mod deployment;
mod doors;
mod gitleaks;
mod layers;
mod parsers;
mod proofs;
mod queue;
mod webhooks;
