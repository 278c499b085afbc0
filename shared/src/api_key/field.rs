//! What the fields of a key must be. Pure.

use chrono::{DateTime, Datelike, Utc};
use serde_json::{Map, Value};

use super::ApiKeyError;
use crate::{
    cidr,
    permission::{CATALOGUE, Reach},
    principal::Permissions,
    rbac,
};

/// The most address ranges of a key.
pub const MAX_CIDRS: usize = 32;
/// The most bytes of a key's metadata, as JSON.
pub const MAX_METADATA: usize = 4 * 1024;

/// The ranges as they are kept.
pub(super) fn checked_cidrs(cidrs: &[String]) -> Result<Vec<String>, ApiKeyError> {
    let checked = cidr::read_all(cidrs).map_err(ApiKeyError::InvalidCidr)?;
    Ok(checked.iter().map(ToString::to_string).collect())
}

/// Metadata that is not too long.
pub(super) fn checked_metadata(metadata: Map<String, Value>) -> Result<Value, ApiKeyError> {
    let metadata = Value::Object(metadata);
    (metadata.to_string().len() <= MAX_METADATA)
        .then_some(metadata)
        .ok_or(ApiKeyError::MetadataTooLarge(MAX_METADATA))
}

/// A time to come, and within the database's calendar.
pub(super) fn checked_expiry(
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, ApiKeyError> {
    if expires_at.is_none_or(|at| at > now && at.year() <= 9999) {
        Ok(expires_at)
    } else {
        Err(ApiKeyError::InvalidExpiry)
    }
}

/// The scopes, sorted and each once, if there are such permissions, some of them of the tenant's `own`, and the caller may
/// grant them all.
pub(super) fn checked_scopes(
    mut scopes: Vec<String>,
    holder: &Permissions,
    is_platform: bool,
    own: &[String],
) -> Result<Vec<String>, ApiKeyError> {
    // Of the tenant's own, only those that the caller holds are told from what is none.
    let is_known = |scope: &String| {
        exists(scope, is_platform).unwrap_or_else(|| holder.contains(scope) && own.contains(scope))
    };
    if let Some(at) = scopes.iter().position(|scope| !is_known(scope)) {
        return Err(ApiKeyError::UnknownScope(at));
    }
    if !rbac::may_grant(holder, scopes.iter().map(String::as_str)) {
        return Err(ApiKeyError::Escalation);
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// Whether one of our own permissions exists in a tenant, or in the platform's own; nothing of a tenant's permissions.
pub(super) fn exists(permission: &str, is_platform: bool) -> Option<bool> {
    let known = CATALOGUE.iter().find(|(name, ..)| *name == permission);
    known.map(|(_, reach, _)| is_platform || *reach == Reach::Tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(texts: &[&str]) -> Result<Vec<String>, usize> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        checked_cidrs(&texts).map_err(|error| match error {
            ApiKeyError::InvalidCidr(at) => at,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn s39_ranges_are_kept_in_one_form_and_what_is_none_is_named() {
        assert_eq!(
            cidrs(&[
                "203.0.113.9",
                "10.1.2.3/8",
                "2001:db8::1/32",
                "::ffff:192.0.2.0/120"
            ])
            .unwrap(),
            ["10.0.0.0/8", "192.0.2.0/24", "203.0.113.9/32", "2001:db8::/32"]
        );
        assert_eq!(cidrs(&["0.0.0.0/0", "::/0"]).unwrap(), ["0.0.0.0/0", "::/0"]);
        for broken in [
            "",
            "nonsense",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0/8",
            "1.2.3.4/8/9",
            "::ffff:0:0/90",
        ] {
            assert_eq!(cidrs(&["10.0.0.0/8", broken]), Err(1), "{broken}");
        }
    }

    #[test]
    fn s27_scopes_are_known_and_the_callers_own() {
        let holder: Permissions = ["users:read", "invoices:send", "gone:read"].into_iter().collect();
        let own = ["invoices:send".to_owned(), "invoices:read".to_owned()];
        let check = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            checked_scopes(scopes, &holder, false, &own)
        };
        assert_eq!(
            check(&["users:read", "invoices:send", "users:read"]).unwrap(),
            ["invoices:send", "users:read"]
        );
        assert!(matches!(check(&["users:write"]), Err(ApiKeyError::Escalation)));
        assert!(matches!(
            check(&["users:read", "no:such"]),
            Err(ApiKeyError::UnknownScope(1))
        ));
        // It was deleted since the caller came in.
        assert!(matches!(check(&["gone:read"]), Err(ApiKeyError::UnknownScope(0))));
        // There is this one, which is no business of a caller who lacks it.
        assert!(matches!(
            check(&["invoices:read"]),
            Err(ApiKeyError::UnknownScope(0))
        ));
        // A permission of the platform is none in a tenant.
        assert!(matches!(
            check(&["tenants:write"]),
            Err(ApiKeyError::UnknownScope(0))
        ));
    }

    #[test]
    fn metadata_is_bounded() {
        let of = |value: &str| Map::from_iter([("note".to_owned(), Value::from(value))]);
        assert!(checked_metadata(of("a")).is_ok());
        assert!(checked_metadata(of(&"a".repeat(MAX_METADATA))).is_err());
    }
}
