//! The worker against a real PostgreSQL, a real Redis, real receivers and a real mail server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so by panicking"
)]

mod delivering;
mod failing;
mod guarding;
mod healing;
mod mailing;
mod process;
mod prove_backlog;
mod resending;
mod signing;
mod tenants;
mod world;
