//! The API by its front door: real HTTP, real PostgreSQL, real Redis.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

mod accounts;
mod api_keys;
mod audit;
mod dns_server;
mod document;
mod domains;
mod event_types;
mod foreign_ids;
mod health;
mod hostile_input;
mod idempotency;
mod invitations;
mod inviting;
mod isolation;
mod lockout;
mod mail_kinds;
mod matrix;
mod own_account;
mod passwords;
mod personal_data;
mod prove_delivery;
mod prove_enumeration;
mod prove_flood;
mod prove_import;
mod prove_rotation;
mod prove_scale;
mod prove_sign_in;
mod prove_warm_path;
mod rate_limits;
mod refresh;
mod revocation;
mod roles;
mod second_factor;
mod service_accounts;
mod sessions;
mod settings;
mod signing_keys;
mod support;
mod tenancy;
mod tenants;
mod tokens;
mod users;
mod walkthrough;
mod webhooks;
