//! Sessions: list, revoke, limits, lifetimes.
