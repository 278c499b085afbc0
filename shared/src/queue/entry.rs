//! The form of a job in its stream: one field, `id`, sixteen raw bytes.
//!
//! What must never happen: an entry that cannot be read makes a whole reply unreadable. It would be
//! delivered again and again, and nothing behind it would ever run.

use redis::{Value, from_redis_value};
use uuid::Uuid;

use super::{GROUP, Job};

/// The name of the one field.
const FIELD: &str = "id";

/// A stream holds about so many entries at most. While no worker takes them the oldest make room: what Redis has memory for
/// is not the queue's alone, and the sweep finds in PostgreSQL what was dropped.
const LONGEST: usize = 100_000;

/// A stream entry as it was read.
pub(super) struct Entry {
    /// Redis's own id for it, such as `1712345678901-0`.
    pub(super) id: String,
    /// `None` if it is not of our making, or was deleted while pending.
    pub(super) job: Option<Job>,
}

/// The commands that append `jobs` to the stream `key`; the one reply is its length then.
pub(super) fn append(key: &str, jobs: impl IntoIterator<Item = Job>) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    for Job(id) in jobs {
        let bytes = id.as_bytes().as_slice();
        pipeline
            .cmd("XADD")
            .arg(key)
            .arg("MAXLEN")
            .arg("~")
            .arg(LONGEST)
            .arg("*")
            .arg(FIELD)
            .arg(bytes)
            .ignore();
    }
    pipeline.cmd("XLEN").arg(key);
    pipeline
}

/// The commands that finish the entries `ids` (at least one) of the stream `key`: no longer pending, and gone; both or
/// neither, for nobody would find again what is only the former.
pub(super) fn finish(key: &str, ids: &[String]) -> redis::Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("XACK").arg(key).arg(GROUP).arg(ids).ignore();
    pipeline.cmd("XDEL").arg(key).arg(ids).ignore();
    pipeline
}

/// Reads a list of entries. An entry that is already gone may stand there as nil, and is left out.
pub(super) fn parse(entries: Vec<Value>) -> Vec<Entry> {
    entries
        .into_iter()
        .filter_map(|entry| from_redis_value::<(String, Value)>(entry).ok())
        .map(|(id, fields)| Entry { id, job: job(fields) })
        .collect()
}

/// The reply of `XREADGROUP` for a single stream: its key and its entries, or nothing at all.
pub(super) type Read = Option<Vec<(Value, Vec<Value>)>>;

/// Reads the reply of `XREADGROUP`.
pub(super) fn parse_read(reply: Read) -> Vec<Entry> {
    reply
        .into_iter()
        .flatten()
        .flat_map(|(_, entries)| parse(entries))
        .collect()
}

fn job(fields: Value) -> Option<Job> {
    let (name, bytes) = from_redis_value::<(String, Vec<u8>)>(fields).ok()?;
    let id = Uuid::from_slice(&bytes).ok()?;
    (name == FIELD).then_some(Job(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn a_foreign_entry_does_not_hide_its_neighbours() {
        let id = Uuid::from_u128(7);
        let entries = parse(vec![
            Value::Array(vec![
                text(b"1-0"),
                Value::Array(vec![text(b"id"), text(b"short")]),
            ]),
            Value::Array(vec![text(b"2-0"), Value::Nil]),
            Value::Nil,
            Value::Array(vec![
                text(b"3-0"),
                Value::Array(vec![text(b"id"), text(id.as_bytes())]),
            ]),
        ]);
        let read: Vec<_> = entries
            .iter()
            .map(|entry| (entry.id.as_str(), entry.job))
            .collect();
        assert_eq!(read, [("1-0", None), ("2-0", None), ("3-0", Some(Job(id)))]);
    }
}
