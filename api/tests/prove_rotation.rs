//! Rotation of signing keys and a flushed Redis under load.
