//! The worker against a real PostgreSQL, a real Redis, real receivers and a real mail server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so by panicking"
)]

mod delivering;
mod failing;
mod fairness;
mod guarding;
mod healing;
mod mailing;
mod partitions;
mod process;
mod prove_backlog;
mod prove_drain;
mod prove_fan_out;
mod prove_retention;
mod prove_scaling;
mod receivers;
mod resending;
mod sealing;
mod signing;
mod stopping;
mod switching_off;
mod tenants;
mod world;
