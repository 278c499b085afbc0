//! The worker against a real PostgreSQL, a real Redis, real receivers and a real mail server.

mod delivering;
mod failing;
mod guarding;
mod healing;
mod mailing;
mod process;
mod prove_backlog;
mod world;
