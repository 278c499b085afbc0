//! Rate limits by address, account and tenant.
