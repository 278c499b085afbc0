//! Passwords: change, forgot, reset, policy; and the address that changes.
