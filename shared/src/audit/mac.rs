//! Keyed hashes over the audit trail: of a row, of a link of the chain, of where the chain has got to. Pure.
//!
//! Each begins with what it is of, so that none passes for another. The key comes from a data key, which the database
//! never sees: whoever can write every table still cannot make one.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    config::{self, KeyRing},
    crypto::mac,
    entity::audit_event,
    id::TenantId,
    secret::Secret,
};

/// A keyed hash.
pub(super) type Mac = [u8; 32];

/// What a chain begins with.
pub(super) const START: Mac = [0; 32];

/// A key of the audit trail.
pub(super) struct Key {
    /// The id of the data key it comes from.
    pub(super) id: String,
    bytes: Secret<Mac>,
}

/// The keys of the trail: one for each data key.
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn of(ring: &KeyRing) -> Self {
        Self(ring.iter().map(Key::of).collect())
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

/// What a link says of its row.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// The row's own keyed hash, and the id of its key.
    Signed(Vec<u8>, String),
    /// The row had none, or had been removed before it was sealed.
    Absent,
}

impl Content {
    pub(super) fn of(mac: Option<&[u8]>, key: Option<&str>) -> Self {
        mac.map_or(Self::Absent, |mac| {
            Self::Signed(mac.to_vec(), key.unwrap_or_default().to_owned())
        })
    }
}

/// A place in a chain.
pub(super) struct Link<'a> {
    pub(super) tenant: TenantId,
    pub(super) before: &'a [u8],
    pub(super) seq: i64,
    pub(super) row: Uuid,
    pub(super) content: &'a Content,
    pub(super) sealed_at: DateTime<Utc>,
}

impl Key {
    pub(super) fn of(key: &config::Key) -> Self {
        Self {
            id: key.id.clone(),
            bytes: Secret::new(mac(key.bytes.expose(), &[b"latchkey audit trail"])),
        }
    }

    /// Over every column but the hash itself.
    pub(super) fn row(&self, row: &audit_event::Model) -> Mac {
        // A column that is added must be decided about here; rows from before it must keep their hash.
        let audit_event::Model {
            id,
            tenant_id,
            created_at,
            actor_kind,
            actor_id,
            action,
            target_kind,
            target_id,
            outcome,
            request_id,
            address,
            detail,
            mac: _,
            mac_key: _,
        } = row;
        let mut said = Vec::new();
        write_value(&mut said, detail);
        let created_at = created_at.timestamp_micros().to_be_bytes();
        let parts = [
            Some(b"row 1".as_slice()),
            Some(id.0.as_bytes()),
            Some(tenant_id.0.as_bytes()),
            Some(&created_at),
            Some(actor_kind.as_bytes()),
            actor_id.as_ref().map(|id| id.as_bytes().as_slice()),
            Some(action.as_bytes()),
            target_kind.as_ref().map(String::as_bytes),
            target_id.as_ref().map(|id| id.as_bytes().as_slice()),
            Some(outcome.as_bytes()),
            request_id.as_ref().map(String::as_bytes),
            address.as_ref().map(String::as_bytes),
            Some(&said),
        ];
        // Nothing and empty text differ by a part that says which it is.
        let parts: Vec<&[u8]> = parts
            .into_iter()
            .flat_map(|part| match part {
                Some(part) => [b"+".as_slice(), part],
                None => [b"-".as_slice(), b""],
            })
            .collect();
        mac(self.bytes.expose(), &parts)
    }

    /// The hash of a link.
    pub(super) fn link(&self, link: &Link<'_>) -> Mac {
        let Link {
            tenant,
            before,
            seq,
            row,
            content,
            sealed_at,
        } = link;
        let (kind, hash, key): (&[u8], &[u8], &str) = match content {
            Content::Signed(hash, key) => (b"signed", hash, key),
            Content::Absent => (b"absent", b"", ""),
        };
        let parts: [&[u8]; 9] = [
            b"link 1",
            tenant.0.as_bytes(),
            before,
            &seq.to_be_bytes(),
            row.as_bytes(),
            kind,
            hash,
            key.as_bytes(),
            &sealed_at.timestamp_micros().to_be_bytes(),
        ];
        mac(self.bytes.expose(), &parts)
    }

    /// Of how long a chain is and of its last link.
    pub(super) fn head(&self, tenant: TenantId, length: i64, hash: &[u8]) -> Mac {
        let parts: [&[u8]; 4] = [b"head 1", tenant.0.as_bytes(), &length.to_be_bytes(), hash];
        mac(self.bytes.expose(), &parts)
    }
}

/// Whether both are the same, without telling by the time it takes.
pub(super) fn same(expected: Mac, there: &[u8]) -> bool {
    Secret::new(expected.as_slice()) == Secret::new(there)
}

/// The value in one form, however PostgreSQL gives back what it was given: fields by name, and numbers by their value.
fn write_value(to: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => to.push(b'n'),
        Value::Bool(so) => to.push(if *so { b't' } else { b'f' }),
        Value::Number(number) => {
            // What is written 1e16 comes back as an integer. Of other fractions the parser's last digit is not sure.
            let whole = number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from));
            let text = match (whole, number.as_f64()) {
                (Some(whole), _) => whole.to_string(),
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it is whole, and smaller than i128's end"
                )]
                (None, Some(real)) if real.fract() == 0.0 && real.abs() < 1e30 => (real as i128).to_string(),
                (None, real) => format!("{:.11e}", real.unwrap_or(f64::NAN)),
            };
            to.push(b'#');
            write_text(to, &text);
        }
        Value::String(text) => {
            to.push(b'"');
            write_text(to, text);
        }
        Value::Array(values) => {
            to.push(b'[');
            to.extend((values.len() as u64).to_be_bytes());
            for value in values {
                write_value(to, value);
            }
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            to.push(b'{');
            to.extend((fields.len() as u64).to_be_bytes());
            for (name, value) in fields {
                write_text(to, name);
                write_value(to, value);
            }
        }
    }
}

fn write_text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_be_bytes());
    to.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::id::AuditId;

    fn key(byte: u8) -> Key {
        let bytes = Secret::new(vec![byte; 32]);
        Key::of(&config::Key {
            id: "1".to_owned(),
            bytes,
        })
    }

    fn row() -> audit_event::Model {
        audit_event::Model {
            id: AuditId(Uuid::from_u128(1)),
            tenant_id: TenantId(Uuid::from_u128(2)),
            created_at: DateTime::UNIX_EPOCH,
            actor_kind: "user".to_owned(),
            actor_id: Some(Uuid::from_u128(3)),
            action: "user.create".to_owned(),
            target_kind: Some("user".to_owned()),
            target_id: Some(Uuid::from_u128(4)),
            outcome: "success".to_owned(),
            request_id: Some("r".to_owned()),
            address: None,
            detail: json!({ "a": 1, "b": [null, true, "x"] }),
            mac: None,
            mac_key: None,
        }
    }

    #[test]
    fn s34_every_column_counts() {
        type Change = fn(&mut audit_event::Model);
        let changes: [Change; 14] = [
            |row| row.id = AuditId(Uuid::from_u128(9)),
            |row| row.tenant_id = TenantId(Uuid::from_u128(9)),
            |row| row.created_at += TimeDelta::microseconds(1),
            |row| row.actor_kind = "system".to_owned(),
            |row| row.actor_id = None,
            |row| row.action = "user.delete".to_owned(),
            |row| row.target_kind = None,
            |row| row.target_id = Some(Uuid::from_u128(3)),
            |row| row.outcome = "failure".to_owned(),
            |row| row.request_id = Some(String::new()),
            |row| row.request_id = None,
            |row| row.address = Some(String::new()),
            |row| row.detail = json!({ "a": 1, "b": [null, true, "y"] }),
            |row| row.detail = json!({ "a": 1, "b": [null, true], "c": "x" }),
        ];
        let key = key(1);
        let mut seen = vec![key.row(&row()), self::key(2).row(&row())];
        for change in changes {
            let mut other = row();
            change(&mut other);
            seen.push(key.row(&other));
        }
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
    }

    #[test]
    fn what_postgresql_writes_in_another_way_is_the_same() {
        let form = |text: &str| {
            let mut form = Vec::new();
            write_value(&mut form, &serde_json::from_str(text).unwrap());
            form
        };
        assert_eq!(form(r#"{"bb":1,"a":2}"#), form(r#"{"a":2,"bb":1}"#));
        assert_eq!(form("1e16"), form("10000000000000000"));
        assert_eq!(form("100000000000000000000"), form("1e20"));
        assert_eq!(form("-0.0"), form("0"));
        assert_eq!(form("0.30000000000000004"), form("0.30000000000000004"));
        assert_ne!(form("0.25"), form("0.5"));
        assert_ne!(form(r#"["ab","c"]"#), form(r#"["a","bc"]"#));
        assert_ne!(form(r#"{"a":[],"b":1}"#), form(r#"{"a":["b",1]}"#));
        assert_ne!(form("1"), form(r#""1""#));
    }
}
