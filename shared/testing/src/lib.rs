//! What the tests stand on. Never linked into a release.
//!
//! A test takes a [`TestBed`]: a database of its own, cloned from a template that was migrated once, and its own
//! prefix in Redis, so that tests run side by side. `LATCHKEY_TEST_POSTGRES_URL` (a superuser's) and
//! `LATCHKEY_TEST_REDIS_URL` name the servers; `./dev test` starts them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so by panicking"
)]
#![expect(
    clippy::missing_panics_doc,
    reason = "every function here may panic: that fails the test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests make names that no other test has"
)]

mod bed;
mod clock;
mod counting;
mod mailbox;
mod private_redis;
mod process;
mod receiver;
mod template;
mod way;

pub use bed::{Prove, TestBed, config};
pub use clock::TestClock;
pub use counting::Counting;
pub use mailbox::{Mail, Mailbox};
pub use private_redis::PrivateRedis;
pub use process::RealProcess;
pub use receiver::{Answer, Received, Receiver};
pub use way::Way;
