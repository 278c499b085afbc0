//! What may stand in an endpoint's smaller fields.

use super::{
    error::{GivenType, WebhookError},
    model::Metadata,
};
use crate::{config::Rate, outbox};

/// The most event types that an endpoint may list.
pub const MAX_EVENT_TYPES: usize = 100;
/// The longest description, in characters.
pub const MAX_DESCRIPTION: usize = 256;
/// The most entries of an endpoint's metadata.
pub const MAX_METADATA: usize = 50;
/// The longest name of an entry, in characters.
pub const MAX_METADATA_NAME: usize = 64;
/// The longest value of an entry, in characters.
pub const MAX_METADATA_VALUE: usize = 500;

/// Text for people, on one line.
pub(super) fn checked_description(description: Option<String>) -> Result<Option<String>, WebhookError> {
    match description {
        Some(text) if text.chars().count() > MAX_DESCRIPTION || text.chars().any(char::is_control) => {
            Err(WebhookError::InvalidDescription(MAX_DESCRIPTION))
        }
        other => Ok(other),
    }
}

/// Metadata that is not too long, and can be stored.
pub(super) fn checked_metadata(metadata: Metadata) -> Result<Metadata, WebhookError> {
    let is_text = |text: &str, longest| text.chars().count() <= longest && !text.contains('\0');
    let fits = metadata.iter().all(|(name, value)| {
        !name.is_empty() && is_text(name, MAX_METADATA_NAME) && is_text(value, MAX_METADATA_VALUE)
    });
    (fits && metadata.len() <= MAX_METADATA)
        .then_some(metadata)
        .ok_or(WebhookError::InvalidMetadata)
}

/// How a rate is kept: the calls and the seconds.
pub(super) fn columns(rate: Option<Rate>) -> (Option<i32>, Option<i32>) {
    let seconds = |rate: Rate| i32::try_from(rate.window.as_secs()).unwrap_or(i32::MAX).max(1);
    let count = |rate: Rate| i32::try_from(rate.count.get()).unwrap_or(i32::MAX);
    (rate.map(count), rate.map(seconds))
}

/// Types that there are or that the tenant could publish, and families of them, each once.
pub(super) fn checked_event_types(mut names: Vec<String>) -> Result<Vec<String>, WebhookError> {
    names.sort_unstable();
    names.dedup();
    if names.len() > MAX_EVENT_TYPES {
        return Err(WebhookError::TooManyEventTypes(MAX_EVENT_TYPES));
    }
    match names
        .iter()
        .find(|name| !outbox::is_subscribable(name) && !outbox::is_pattern(name))
    {
        Some(name) => Err(WebhookError::InvalidEventType {
            name: name.clone(),
            given: GivenType::Wanted,
        }),
        None => Ok(names),
    }
}
