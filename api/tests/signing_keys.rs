//! Access tokens by other libraries, key rotation, introspection.
