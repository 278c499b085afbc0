//! One's own account: profile, export, deletion.
