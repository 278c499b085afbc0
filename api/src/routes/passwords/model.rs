//! The shapes of passwords and addresses.

use poem_openapi::{Enum, Object, types::Example};

/// One password in the place of another.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct ChangePasswordRequest {
    /// The present password.
    #[oai(validator(max_length = 1024))]
    pub(super) current_password: String,
    /// 8 to 256 characters, any of them; a tenant may ask for more than 8.
    #[oai(validator(min_length = 8, max_length = 256))]
    pub(super) new_password: String,
}

impl Example for ChangePasswordRequest {
    fn example() -> Self {
        Self {
            current_password: "correct horse battery staple".to_owned(),
            new_password: "a cup of tea at half past four".to_owned(),
        }
    }
}

/// An address whose password is forgotten.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct ForgotPasswordRequest {
    /// The address.
    #[oai(validator(max_length = 254))]
    pub(super) email: String,
}

impl Example for ForgotPasswordRequest {
    fn example() -> Self {
        Self {
            email: "ada@example.com".to_owned(),
        }
    }
}

/// A mail is on its way, if the address takes one.
#[derive(Object)]
#[oai(rename = "ResetSent")]
pub(super) struct ResetSentView {
    status: ResetSentStatus,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum ResetSentStatus {
    ResetSent,
}

impl ResetSentView {
    pub(super) fn new() -> Self {
        Self {
            status: ResetSentStatus::ResetSent,
        }
    }
}

/// A password to be set by way of a mail.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct ResetPasswordRequest {
    /// From the link in the mail.
    #[oai(validator(max_length = 256))]
    pub(super) token: String,
    /// 8 to 256 characters, any of them; a tenant may ask for more than 8.
    #[oai(validator(min_length = 8, max_length = 256))]
    pub(super) new_password: String,
}

/// One address in the place of another.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct ChangeEmailRequest {
    /// The address to be; a mail is sent to it.
    #[oai(validator(max_length = 254))]
    pub(super) new_email: String,
    /// The account's password.
    #[oai(validator(max_length = 1024))]
    pub(super) password: String,
}

impl Example for ChangeEmailRequest {
    fn example() -> Self {
        Self {
            new_email: "ada.lovelace@example.com".to_owned(),
            password: "correct horse battery staple".to_owned(),
        }
    }
}
