//! Where settings come from: a TOML file, then the environment over it.
//!
//! Reading never stops at the first fault. Every faulty, missing or unknown key is noted, and
//! [`Source::finish`] names them all at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::Value;

use super::setting::Setting;
use crate::secret::Secret;

const ENV_PREFIX: &str = "LATCHKEY__";

/// Every fault of a configuration, a line each.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} fault(s):\n{}", .0.len(), .0.join("\n"))]
pub struct ConfigFaults(pub Vec<String>);

/// The settings as they were written, waiting to be read by key (`section.key`).
pub struct Source {
    values: BTreeMap<String, Value>,
    known: BTreeSet<String>,
    faults: Vec<String>,
}

impl Source {
    /// Reads the file, when there is one, and lays the environment over it.
    pub fn new(file: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut source = Self {
            values: BTreeMap::new(),
            known: BTreeSet::new(),
            faults: Vec::new(),
        };
        if let Some(path) = file {
            source.read_file(path);
        }
        for (name, text) in env {
            if let Some(key) = name.strip_prefix(ENV_PREFIX) {
                source
                    .values
                    .insert(key.to_lowercase().replace("__", "."), Value::String(text));
            }
        }
        source
    }

    fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.fault(format!("{}: {error}", path.display())),
        };
        let sections = match text.parse::<toml::Table>() {
            Ok(sections) => sections,
            Err(error) => return self.fault(format!("{}: {}", path.display(), error.message())),
        };
        for (section, content) in sections {
            match content {
                Value::Table(keys) => {
                    self.values.extend(
                        keys.into_iter()
                            .map(|(key, value)| (format!("{section}.{key}"), value)),
                    );
                }
                _ => self.fault(format!("{section}: stands outside of any section")),
            }
        }
    }

    /// Notes what is wrong.
    pub fn fault(&mut self, fault: impl Into<String>) {
        self.faults.push(fault.into());
    }

    /// The value of a key, if it is set and readable.
    pub fn optional<T: Setting>(&mut self, key: &str) -> Option<T> {
        self.known.insert(key.to_owned());
        let value = self.values.remove(key)?;
        match T::from_value(&value) {
            Ok(setting) => Some(setting),
            Err(reason) => {
                self.fault(format!("{key}: {reason}"));
                None
            }
        }
    }

    /// The value of a key, or its default.
    pub fn or<T: Setting>(&mut self, key: &str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The value of a key that has no sensible default. `stand_in` fills the gap until the faults are raised.
    pub fn required<T: Setting>(&mut self, key: &str, stand_in: T) -> T {
        let present = self.values.contains_key(key);
        let value = self.optional(key);
        if value.is_none() && !present {
            self.fault(format!("{key}: is missing"));
        }
        value.unwrap_or(stand_in)
    }

    /// A secret: as [`Source::optional`], or read from the file that `…_FILE` names.
    pub fn optional_secret<T: Setting>(&mut self, key: &str) -> Option<Secret<T>> {
        let file_key = format!("{key}_file");
        if let Some(path) = self.optional::<String>(&file_key) {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    self.values.insert(
                        key.to_owned(),
                        Value::String(text.trim_end_matches(['\r', '\n']).to_owned()),
                    );
                }
                Err(error) => self.fault(format!("{file_key}: {path}: {error}")),
            }
        }
        self.optional(key).map(Secret::new)
    }

    /// A secret that has to be there.
    pub fn required_secret<T: Setting>(&mut self, key: &str, stand_in: T) -> Secret<T> {
        let faults = self.faults.len();
        self.optional_secret(key).unwrap_or_else(|| {
            if self.faults.len() == faults {
                self.fault(format!("{key}: is missing"));
            }
            Secret::new(stand_in)
        })
    }

    /// Drops a secret that another process's settings may hold.
    pub fn ignore(&mut self, key: &str) {
        self.values.remove(key);
        self.values.remove(&format!("{key}_file"));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// With every fault there was, among them each key that nothing asked for.
    pub fn finish(mut self) -> Result<(), ConfigFaults> {
        for key in std::mem::take(&mut self.values).into_keys() {
            let nearest = self.known.iter().find(|known| same_letters(known, &key));
            let hint = nearest
                .map(|known| format!("; did you mean {known}?"))
                .unwrap_or_default();
            self.fault(format!("{key}: is not a setting{hint}"));
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(ConfigFaults(self.faults))
        }
    }
}

/// Whether two keys differ in their separators at most: the commonest slip in an environment variable.
fn same_letters(one: &str, other: &str) -> bool {
    let letters = |key: &str| key.replace(['.', '_', '-'], "");
    letters(one) == letters(other)
}
