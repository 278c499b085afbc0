//! What may stand in an endpoint's smaller fields.

use super::error::WebhookError;
use crate::outbox;

/// The most event types that an endpoint may list.
pub const MAX_EVENT_TYPES: usize = 100;
/// The longest description, in characters.
pub const MAX_DESCRIPTION: usize = 256;

/// Text for people, on one line.
pub(super) fn checked_description(description: Option<String>) -> Result<Option<String>, WebhookError> {
    match description {
        Some(text) if text.chars().count() > MAX_DESCRIPTION || text.chars().any(char::is_control) => {
            Err(WebhookError::InvalidDescription(MAX_DESCRIPTION))
        }
        other => Ok(other),
    }
}

/// Types that there are or that the tenant could publish, each once.
pub(super) fn checked_event_types(mut names: Vec<String>) -> Result<Vec<String>, WebhookError> {
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_EVENT_TYPES {
        return Err(WebhookError::TooManyEventTypes(MAX_EVENT_TYPES));
    }
    match names.iter().find(|name| !outbox::is_subscribable(name)) {
        Some(name) => Err(WebhookError::InvalidEventType { name: name.clone() }),
        None => Ok(names),
    }
}
