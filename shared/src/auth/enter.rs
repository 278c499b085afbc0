//! The last step of every sign-in: what was proven becomes a session.

use chrono::{DateTime, Utc};

use super::{Auth, SignedIn};
use crate::{
    context::Change,
    device::{self, Known},
    entity::user,
    error::Internal,
    secret::Secret,
    session::{self, Entry, Method},
    tenant::Tenant,
};

/// Someone who has proven all that the policy asks for.
pub(super) struct Entrant {
    /// Who, as read before the proof.
    pub(super) user: user::Model,
    /// How.
    pub(super) methods: Vec<Method>,
    /// With what.
    pub(super) device: Option<Known>,
    /// What the client calls the device.
    pub(super) device_label: Option<String>,
    /// Until when the device is not to be asked for the second factor, where it just proved to have it.
    pub(super) trusted_until: Option<DateTime<Utc>>,
}

/// Begins the session and commits the change. Whoever calls holds the user's row, unchanged since it was judged: whoever
/// was disabled or changed the password meanwhile is not let in.
pub(super) async fn enter(
    auth: &Auth,
    mut change: Change<'_>,
    tenant: &Tenant,
    entrant: Entrant,
) -> Result<SignedIn, Internal> {
    let Entrant {
        user,
        methods,
        device,
        device_label,
        trusted_until,
    } = entrant;
    let device_id;
    let device_token: Option<Secret<String>> = if let Some(known) = &device {
        device_id = known.id;
        None
    } else {
        let (id, token) = device::remember(&change, user.id, device_label.as_deref()).await?;
        device_id = id;
        Some(token)
    };
    if let Some(until) = trusted_until {
        device::trust(&change, device_id, user.id, until).await?;
    }
    let entry = Entry {
        user: user.id,
        methods,
        device: Some(device_id),
        device_label,
    };
    let session = session::begin(&mut change, &tenant.settings.sessions, entry).await?;
    let tokens = auth.tokens(tenant.id, session, change.now)?;
    change.commit().await?;
    Ok(SignedIn {
        user: user.into(),
        tokens,
        device_token,
    })
}
