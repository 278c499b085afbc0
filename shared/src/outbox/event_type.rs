//! Names of event types: `noun.verb`, ours and the tenants'.

use super::event::{self, Described, Payload};

/// The longest name.
pub const MAX_NAME: usize = 128;

macro_rules! event_types {
    ($($variant:ident $name:literal $doc:literal)*) => {
        /// The types that Latchkey itself emits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventType {$(
            #[doc = $doc]
            $variant,
        )*}

        impl EventType {
            /// Every built-in type.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name, as it stands in the body.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$variant => $name),*}
            }

            /// What is published of it.
            pub(super) fn describe(self) -> Described {
                match self {$(
                    Self::$variant => event::describe::<event::$variant>(concat!(stringify!($variant), "Event")),
                )*}
            }

            /// What it says, in a sentence.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {$(Self::$variant => $doc),*}
            }
        }

        // Each type's payload bears its name.
        $(const _: () = assert!(matches!(<event::$variant as Payload>::TYPE, EventType::$variant));)*
    };
}

event_types! {
    UserRegistered "user.registered" "An account was made."
    UserVerified "user.verified" "An account's address was proven."
    UserUpdated "user.updated" "An account's details changed."
    UserDisabled "user.disabled" "An account was barred from signing in."
    UserDeleted "user.deleted" "An account is gone."
    UserLocked "user.locked" "Too many failures have locked an account."
    SessionCreated "session.created" "Someone signed in."
    SessionRevoked "session.revoked" "A session has ended before its time."
    MfaEnabled "mfa.enabled" "A second factor was set up."
    MfaDisabled "mfa.disabled" "A second factor was removed."
    PasswordChanged "password.changed" "A password was changed by its owner."
    PasswordReset "password.reset" "A password was reset by mail."
    RoleAssigned "role.assigned" "A user was given a role."
    RoleUnassigned "role.unassigned" "A user lost a role."
    ApiKeyCreated "api_key.created" "An API key was made."
    ApiKeyRotated "api_key.rotated" "An API key was replaced."
    ApiKeyRevoked "api_key.revoked" "An API key was revoked."
    ApiKeyExpiring "api_key.expiring" "An API key will expire soon."
    InvitationAccepted "invitation.accepted" "An invitation was accepted."
    TenantSuspended "tenant.suspended" "The tenant was suspended."
    TenantActivated "tenant.activated" "The tenant works again."
    WebhookEndpointDisabled "webhook.endpoint.disabled" "A webhook endpoint was turned off."
    WebhookTest "webhook.test" "A test, sent on request."
}

/// The name is malformed, or begins like one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an event type is two or more words of a-z, 0-9, _ and -, joined by dots, and not one of the built-in families"
)]
pub struct InvalidEventType;

/// The name of a type that a tenant publishes, known to be one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnEventType(String);

impl OwnEventType {
    /// Checks the name.
    ///
    /// # Errors
    /// When it is malformed, or in a family of ours: a receiver must be able to trust that `user.deleted`
    /// comes from Latchkey.
    pub fn parse(name: &str) -> Result<Self, InvalidEventType> {
        (is_well_formed(name) && !is_built_in_family(name))
            .then(|| Self(name.to_owned()))
            .ok_or(InvalidEventType)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an endpoint may ask for the name: a built-in type, or one that a tenant could publish.
#[must_use]
pub fn is_subscribable(name: &str) -> bool {
    is_built_in(name) || OwnEventType::parse(name).is_ok()
}

/// Whether an endpoint may ask for the types that it stands for: `*` is all of them, `user.*` every one that begins
/// with `user.`.
#[must_use]
pub fn is_pattern(pattern: &str) -> bool {
    let Some(stem) = pattern.strip_suffix(".*") else {
        return pattern == "*";
    };
    // Of ours there must be one; of the tenant's own there may be one some day.
    let begins = |built_in: &EventType| built_in.as_str().starts_with(&pattern[..=stem.len()]);
    EventType::ALL.iter().any(begins) || OwnEventType::parse(&format!("{stem}.x")).is_ok()
}

/// Everything that an endpoint may list so as to get the type: its name, and each pattern that stands for it.
#[must_use]
pub fn asked_by(name: &str) -> Vec<String> {
    let families = name
        .match_indices('.')
        .map(|(at, _)| format!("{}.*", &name[..at]));
    ["*".to_owned(), name.to_owned()]
        .into_iter()
        .chain(families)
        .collect()
}

/// Whether it is one of the types that Latchkey itself emits.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    EventType::ALL.iter().any(|built_in| built_in.as_str() == name)
}

fn is_built_in_family(name: &str) -> bool {
    EventType::ALL
        .iter()
        .any(|built_in| family(built_in.as_str()) == family(name))
}

fn family(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn is_well_formed(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    name.len() <= MAX_NAME
        && name.contains('.')
        && name
            .split('.')
            .all(|word| !word.is_empty() && word.chars().all(letters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_type_is_dotted_words_outside_our_families() {
        for name in ["invoice.paid", "a.b.c", "order-1.line_item.added", "users.merged"] {
            assert!(OwnEventType::parse(name).is_ok(), "{name}");
        }
        let long = format!("a.{}", "b".repeat(MAX_NAME));
        for name in [
            "",
            "invoice",
            ".paid",
            "invoice.",
            "a..b",
            "Invoice.paid",
            "a b.c",
            "a.b\0",
            "ä.b",
            &long,
        ] {
            assert_eq!(OwnEventType::parse(name), Err(InvalidEventType), "{name}");
        }
        for name in ["user.exploded", "webhook.test", "api_key.x"] {
            assert_eq!(OwnEventType::parse(name), Err(InvalidEventType), "{name}");
        }
    }

    #[test]
    fn an_endpoint_may_ask_for_ours_and_for_theirs_but_not_for_what_cannot_be() {
        assert!(is_subscribable("user.registered"));
        assert!(is_subscribable("invoice.paid"));
        assert!(!is_subscribable("user.exploded"));
    }

    #[test]
    fn a_pattern_is_a_star_alone_or_after_a_dot() {
        for pattern in ["*", "user.*", "webhook.endpoint.*", "invoice.*", "a.b.*"] {
            assert!(is_pattern(pattern), "{pattern}");
        }
        for pattern in [
            "",
            ".*",
            "**",
            "user*",
            "us*.x",
            "*.registered",
            "user.*.x",
            "User.*",
            "user.exploded.*",
            "a..*",
        ] {
            assert!(!is_pattern(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_type_is_asked_for_by_its_name_and_by_its_families() {
        assert_eq!(
            asked_by("webhook.endpoint.disabled"),
            [
                "*",
                "webhook.endpoint.disabled",
                "webhook.*",
                "webhook.endpoint.*"
            ]
        );
        for built_in in EventType::ALL {
            assert!(
                asked_by(built_in.as_str())
                    .iter()
                    .skip(2)
                    .all(|pattern| is_pattern(pattern))
            );
        }
    }
}
