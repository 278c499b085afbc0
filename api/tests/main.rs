//! The API by its front door: real HTTP, real PostgreSQL, real Redis.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

mod walkthrough;
