//! Rings of keys: one in use, the others accepted.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::source::Source;
use crate::secret::Secret;

/// The least a key may hold: 256 bits (RFC 7518 section 3.2 asks as much of HS256).
const MIN_KEY_BYTES: usize = 32;

/// A key and the name that tokens and sealed values carry of it.
#[derive(Clone, Debug)]
pub struct Key {
    /// The public name.
    pub id: String,
    /// At least 256 bits.
    pub bytes: Secret<Vec<u8>>,
}

/// At least one key, the newest first.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<Key>,
    current: usize,
}

impl KeyRing {
    /// Reads `id:base64` pairs, and from the setting `in_use` the id of the one in use, which is the first where it says
    /// nothing. Faults are noted in the source, which then fails as a whole.
    pub(super) fn read(source: &mut Source, setting: &str, in_use: &str) -> Self {
        let texts = source.required_secret::<Vec<String>>(setting, Vec::new());
        Self::parse(source, setting, &texts, in_use)
    }

    /// As [`Self::read`], where there need not be any key.
    pub(super) fn read_optional(source: &mut Source, setting: &str, in_use: &str) -> Option<Self> {
        let texts = source.optional_secret::<Vec<String>>(setting)?;
        Some(Self::parse(source, setting, &texts, in_use))
    }

    fn parse(source: &mut Source, setting: &str, texts: &Secret<Vec<String>>, in_use: &str) -> Self {
        let mut keys: Vec<Key> = Vec::new();
        // As in a file of signing keys, a line each does as well as commas between them.
        let entries = texts
            .expose()
            .iter()
            .flat_map(|text| text.split_ascii_whitespace());
        for (position, entry) in entries.enumerate() {
            match parse(entry) {
                Ok(key) if keys.iter().any(|known| known.id == key.id) => {
                    source.fault(format!("{setting}: key {position} has the id of an earlier one"));
                }
                Ok(key) => keys.push(key),
                Err(reason) => source.fault(format!("{setting}: key {position} {reason}")),
            }
        }
        if keys.is_empty() {
            source.fault(format!(
                "{setting}: holds no usable key; make one with `echo \"1:$(openssl rand -base64 32)\"`"
            ));
            keys.push(Key {
                id: String::new(),
                bytes: Secret::new(vec![0; MIN_KEY_BYTES]),
            });
        }
        let current = source.optional::<String>(in_use).and_then(|id| {
            let place = keys.iter().position(|key| key.id == id);
            if place.is_none() {
                source.fault(format!("{in_use}: names none of {setting}"));
            }
            place
        });
        Self {
            keys,
            current: current.unwrap_or_default(),
        }
    }

    /// A ring of the keys, if there are any.
    #[cfg(test)]
    pub(crate) fn of(keys: Vec<Key>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self { keys, current: 0 })
    }

    /// The key in use.
    #[must_use]
    pub fn current(&self) -> &Key {
        &self.keys[self.current]
    }

    /// The key that was there first: for what must stay the same while keys are added.
    #[must_use]
    pub fn oldest(&self) -> &Key {
        &self.keys[self.keys.len() - 1]
    }

    /// The key of that name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// All keys, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }
}

fn parse(text: &str) -> Result<Key, &'static str> {
    let (id, encoded) = text.split_once(':').ok_or("is not written as id:base64")?;
    let simple = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > 32 || !id.chars().all(simple) {
        return Err("has an id of other than 1 to 32 letters, digits, - and _");
    }
    let bytes = STANDARD.decode(encoded).map_err(|_| "is not base64")?;
    if bytes.len() < MIN_KEY_BYTES {
        return Err("is shorter than 256 bits");
    }
    if bytes.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err("repeats a single byte");
    }
    Ok(Key {
        id: id.to_owned(),
        bytes: Secret::new(bytes),
    })
}
