//! The API by its front door: real HTTP, real PostgreSQL, real Redis.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

mod accounts;
mod health;
mod hostile_input;
mod idempotency;
mod invitations;
mod isolation;
mod lockout;
mod mail_kinds;
mod own_account;
mod passwords;
mod personal_data;
mod prove_delivery;
mod prove_enumeration;
mod prove_flood;
mod prove_rotation;
mod prove_sign_in;
mod prove_warm_path;
mod rate_limits;
mod refresh;
mod revocation;
mod second_factor;
mod sessions;
mod signing_keys;
mod support;
mod tenancy;
mod tokens;
mod walkthrough;
mod webhooks;
