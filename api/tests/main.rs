//! The API by its front door: real HTTP, real PostgreSQL, real Redis.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

mod accounts;
mod health;
mod hostile_input;
mod invitations;
mod isolation;
mod prove_delivery;
mod prove_enumeration;
mod prove_flood;
mod refresh;
mod revocation;
mod support;
mod tenancy;
mod tokens;
mod walkthrough;
mod webhooks;
