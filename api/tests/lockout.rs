//! Lockout: counted exactly, told to nobody but the owner.
