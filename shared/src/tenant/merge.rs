//! Changes to a JSON object: a merge patch (RFC 7396). Pure.
//!
//! Settings are stored as they were chosen, and nothing more: what is absent follows the default, also one that a later
//! version changes.

use serde_json::{Map, Value};

/// The object with the patch applied: null takes away, and what is absent stays.
pub(super) fn merged(mut target: Value, patch: &Value) -> Value {
    apply(&mut target, patch);
    target
}

fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            apply(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merged;

    #[test]
    fn null_takes_away_and_what_is_absent_stays() {
        let before = json!({ "a": 1, "b": { "c": 2, "d": [3] }, "e": 4 });
        let patch = json!({ "a": null, "b": { "c": 5, "d": [6, 7] }, "f": { "g": null, "h": 8 } });
        assert_eq!(
            merged(before.clone(), &patch),
            json!({ "b": { "c": 5, "d": [6, 7] }, "e": 4, "f": { "h": 8 } })
        );
        assert_eq!(merged(before.clone(), &json!({})), before);
    }
}
