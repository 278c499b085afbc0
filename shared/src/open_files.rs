//! How many connections a process may hold.
//!
//! Each is an open file, and a system gives a process 1,024 of them at first (`select` can name no more), however many it
//! is allowed. Nothing here uses `select`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Takes as many as the system allows.
pub fn raise_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
