//! The worker's side of mail.
