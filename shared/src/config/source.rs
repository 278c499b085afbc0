//! Where settings come from: a TOML file, then the environment over it.
//!
//! Reading never stops at the first fault. Every faulty, missing or unknown key is noted, and
//! [`Source::finish`] names them all at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use toml::Value;

use super::setting::Setting;
use crate::secret::Secret;

const ENV_PREFIX: &str = "LATCHKEY__";
/// Of the setting that names the file which holds a secret.
const FILE_SUFFIX: &str = "_file";

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
    pub fn new<T: Into<OsString>>(file: Option<&Path>, env: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut source = Self {
            values: BTreeMap::new(),
            known: BTreeSet::new(),
            faults: Vec::new(),
        };
        if let Some(path) = file {
            source.read_file(path);
        }
        let env: Vec<(String, OsString)> = env
            .into_iter()
            .filter_map(|(name, text)| {
                let name = name.into();
                let key = name.to_string_lossy().strip_prefix(ENV_PREFIX)?.to_lowercase();
                Some((key.replace("__", "."), text.into()))
            })
            .collect();
        // A secret and the file that holds it are one setting.
        for (key, _) in &env {
            let other = key
                .strip_suffix(FILE_SUFFIX)
                .map_or_else(|| format!("{key}{FILE_SUFFIX}"), str::to_owned);
            source.values.remove(&other);
        }
        for (key, text) in env {
            if text.to_str().is_none() {
                source.fault(format!("{key}: is not UTF-8"));
            }
            source
                .values
                .insert(key, Value::String(text.to_string_lossy().into_owned()));
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
        let file_key = format!("{key}{FILE_SUFFIX}");
        if let Some(path) = self.optional::<String>(&file_key) {
            if self.values.contains_key(key) {
                self.fault(format!("{file_key}: {key} is set as well; which of them holds?"));
            }
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

    /// The file that a secret is read from, if it is.
    pub fn file_of(&self, key: &str) -> Option<PathBuf> {
        let path = self.values.get(&format!("{key}{FILE_SUFFIX}"))?;
        path.as_str().map(PathBuf::from)
    }

    /// A secret that has to be there.
    pub fn required_secret<T: Setting>(&mut self, key: &str, stand_in: T) -> Secret<T> {
        self.there(key, stand_in, |source| source.optional_secret(key))
    }

    /// A URL with one of these schemes. It stays text: whoever uses it has a reading of its own, and may repeat the whole
    /// of what it cannot read, with the password in it.
    pub fn optional_secret_url(&mut self, key: &str, schemes: &[&str]) -> Option<Secret<String>> {
        let text = self.optional_secret::<String>(key)?;
        let url = url::Url::parse(text.expose());
        if !url.is_ok_and(|url| schemes.contains(&url.scheme())) {
            self.fault(format!(
                "{key}: expects a URL that begins with {}:",
                schemes.join(": or ")
            ));
        }
        Some(text)
    }

    /// One that has to be there.
    pub fn required_secret_url(&mut self, key: &str, schemes: &[&str]) -> Secret<String> {
        self.there(key, String::new(), |source| {
            source.optional_secret_url(key, schemes)
        })
    }

    fn there<T>(
        &mut self,
        key: &str,
        stand_in: T,
        read: impl FnOnce(&mut Self) -> Option<Secret<T>>,
    ) -> Secret<T> {
        let faults = self.faults.len();
        read(self).unwrap_or_else(|| {
            if self.faults.len() == faults {
                self.fault(format!("{key}: is missing"));
            }
            Secret::new(stand_in)
        })
    }

    /// Drops a secret that another process's settings may hold.
    pub fn ignore(&mut self, key: &str) {
        self.values.remove(key);
        self.values.remove(&format!("{key}{FILE_SUFFIX}"));
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

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, io::Write, os::unix::ffi::OsStringExt};

    use super::Source;
    use crate::config::{Config, Process};

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn good() -> Vec<(&'static str, String)> {
        vec![
            ("LATCHKEY__SERVER__ENVIRONMENT", "development".to_owned()),
            ("LATCHKEY__SERVER__PUBLIC_URL", "http://127.0.0.1:8080".to_owned()),
            (
                "LATCHKEY__POSTGRES__URL",
                "postgres://app@127.0.0.1/latchkey".to_owned(),
            ),
            ("LATCHKEY__REDIS__URL", "redis://127.0.0.1".to_owned()),
            ("LATCHKEY__TOKENS__KEYS", format!("k1:{KEY}")),
            ("LATCHKEY__SECRETS__DATA_KEYS", format!("1:{KEY}")),
            ("LATCHKEY__MAIL__TRANSPORT", "file".to_owned()),
            ("LATCHKEY__MAIL__DIRECTORY", "/tmp".to_owned()),
            ("LATCHKEY__MAIL__FROM", "no-reply@example.com".to_owned()),
        ]
    }

    fn read(env: Vec<(&str, String)>) -> Result<Config, Vec<String>> {
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        Config::read(Process::Api, Source::new(None, env)).map_err(|faults| faults.0)
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut env = good();
        env.retain(|(name, _)| !name.ends_with("REDIS__URL"));
        env.push(("LATCHKEY__SERVER__LISTEN", "nowhere".to_owned()));
        env.push(("LATCHKEY__TOKENS__ACCESS_TTL", "-1".to_owned()));
        env.push(("LATCHKEY__TOKENS__ACCESSTTL", "60".to_owned()));
        let faults = read(env).unwrap_err();
        for fault in [
            "server.listen: expects an address",
            "redis.url: is missing",
            "tokens.access_ttl: expects seconds",
            "tokens.accessttl: is not a setting; did you mean tokens.access_ttl?",
        ] {
            assert!(
                faults.iter().any(|known| known.starts_with(fault)),
                "{fault} is not among {faults:#?}"
            );
        }
        assert_eq!(faults.len(), 4, "{faults:#?}");
    }

    #[test]
    fn a_secret_is_read_from_the_file_that_is_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "redis://:from-a-file@127.0.0.1").unwrap();
        let mut env = good();
        env.retain(|(name, _)| !name.ends_with("REDIS__URL"));
        env.push(("LATCHKEY__REDIS__URL_FILE", file.path().display().to_string()));
        let config = read(env).unwrap();
        assert_eq!(config.redis.url.expose(), "redis://:from-a-file@127.0.0.1");
        assert!(!format!("{config:?}").contains("from-a-file"));
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(
            file,
            "[tokens]\naudience = \"from the file\"\nissuer = \"from the file\""
        )
        .unwrap();
        let mut env = good();
        env.push(("LATCHKEY__TOKENS__ISSUER", "from the environment".to_owned()));
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        let config = Config::read(Process::Api, Source::new(Some(file.path()), env)).unwrap();
        assert_eq!(config.tokens.audience, "from the file");
        assert_eq!(config.tokens.issuer, "from the environment");
    }

    #[test]
    fn a_secret_and_its_file_are_one_setting() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&secret, "redis://of-the-file").unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let path = secret.path().display();
        writeln!(
            file,
            "[redis]\nurl_file = \"{path}\"\n[postgres]\nurl = \"postgres://in-toml\""
        )
        .unwrap();
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&named, "postgres://of-the-environment").unwrap();
        let mut env = good();
        env.retain(|(name, _)| !name.ends_with("POSTGRES__URL"));
        env.push(("LATCHKEY__POSTGRES__URL_FILE", named.path().display().to_string()));
        let read = |env: &[(&str, String)]| {
            let env = env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()));
            Config::read(Process::Api, Source::new(Some(file.path()), env)).map_err(|faults| faults.0)
        };
        let config = read(&env).unwrap();
        assert_eq!(config.redis.url.expose(), "redis://127.0.0.1");
        assert_eq!(config.postgres.url.expose(), "postgres://of-the-environment");

        // Of two in one place neither is the later.
        env.push(("LATCHKEY__POSTGRES__URL", "postgres://beside-it".to_owned()));
        let faults = read(&env).unwrap_err();
        assert_eq!(
            faults,
            ["postgres.url_file: postgres.url is set as well; which of them holds?"]
        );
    }

    #[test]
    fn s35_a_url_that_cannot_be_used_is_not_repeated() {
        for (key, name) in [
            ("postgres.url", "LATCHKEY__POSTGRES__URL"),
            ("postgres.migrate_url", "LATCHKEY__POSTGRES__MIGRATE_URL"),
            ("redis.url", "LATCHKEY__REDIS__URL"),
            ("mail.smtp_url", "LATCHKEY__MAIL__SMTP_URL"),
        ] {
            for url in [
                "",
                "  ",
                "u:hunter2@127.0.0.1",
                "mysql://u:hunter2@127.0.0.1",
                "http://u:hunter2@127.0.0.1",
                "postgres//u:hunter2@127.0.0.1",
            ] {
                let mut env = good();
                env.retain(|(known, _)| *known != name);
                env.push((name, url.to_owned()));
                let faults = read(env).unwrap_err();
                assert_eq!(faults.len(), 1, "{faults:#?}");
                assert!(
                    faults[0].starts_with(&format!("{key}: expects a URL")),
                    "{faults:#?}"
                );
            }
        }
    }

    #[test]
    fn the_worker_holds_no_key_that_signs_tokens() {
        let env = good().into_iter().map(|(name, value)| (name.to_owned(), value));
        let config = Config::read(Process::Worker, Source::new(None, env)).unwrap();
        assert!(config.tokens.keys.is_none());
    }

    #[test]
    fn what_is_not_utf_8_is_a_strangers_or_named_without_its_value() {
        let broken = || OsString::from_vec(b"hunter2\xff".to_vec());
        let mut env: Vec<(OsString, OsString)> = good()
            .into_iter()
            .filter(|(name, _)| !name.ends_with("REDIS__URL"))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        env.push(("PATH".into(), broken()));
        env.push((broken(), broken()));
        let read = |env: &Vec<(OsString, OsString)>| {
            Config::read(Process::Api, Source::new(None, env.clone())).map_err(|faults| faults.0)
        };
        assert_eq!(read(&env).unwrap_err(), ["redis.url: is missing"]);
        env.push(("LATCHKEY__REDIS__URL".into(), broken()));
        let faults = read(&env).unwrap_err();
        assert_eq!(faults[0], "redis.url: is not UTF-8");
        assert!(!faults.join("").contains("hunter2"), "{faults:?}");
    }

    #[test]
    fn a_ring_of_keys_may_have_one_a_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "2:{KEY}\r\n1:{KEY}\n\n").unwrap();
        let mut env = good();
        env.retain(|(name, _)| !name.ends_with("DATA_KEYS"));
        let path = file.path().display().to_string();
        env.push(("LATCHKEY__SECRETS__DATA_KEYS_FILE", path));
        env.push(("LATCHKEY__PASSWORDS__PEPPERS", format!("b:{KEY} a:{KEY}")));
        let config = read(env).unwrap();
        let data_keys = config.secrets.data_keys.iter().map(|key| key.id.as_str());
        assert_eq!(data_keys.collect::<Vec<_>>(), ["2", "1"]);
        assert_eq!(config.passwords.peppers.unwrap().iter().count(), 2);
    }

    #[test]
    fn what_is_missing_breaks_no_rule_besides() {
        let mut env = good();
        env.retain(|(name, _)| !name.contains("PUBLIC_URL") && !name.contains("__MAIL__T"));
        env.push(("LATCHKEY__SERVER__TRUSTED_PROXIES", "10.0.0.0/8".to_owned()));
        env[0].1 = "production".to_owned();
        assert_eq!(
            read(env).unwrap_err(),
            ["server.public_url: is missing", "mail.smtp_url: is missing"]
        );
    }

    #[test]
    fn s37_what_cannot_work_or_holds_everybody_is_refused() {
        let halves = "0.0.0.0/1,10.0.0.0/8,128.0.0.0/1";
        for (name, value, fault) in [
            (
                "POSTGRES__MAX_CONNECTIONS",
                "0",
                "postgres.max_connections: must be at least 1",
            ),
            (
                "TOKENS__REAUTHENTICATION_TTL",
                "0",
                "tokens.reauthentication_ttl: must be longer than nothing",
            ),
            (
                "SERVER__TRUSTED_PROXIES",
                halves,
                "server.trusted_proxies: trusts every address",
            ),
            (
                "SERVER__ALLOWED_ORIGINS",
                "https://app.example.com,http://app.example.com",
                "server.allowed_origins: must be https in production",
            ),
            (
                "SERVER__ALLOWED_ORIGINS",
                "https://app.example.com/",
                "server.allowed_origins: expects origins as browsers send them",
            ),
            (
                "SERVER__ALLOWED_ORIGINS",
                "https://app.example.com,*",
                "server.allowed_origins: expects each origin by itself",
            ),
            (
                "WEBHOOKS__ALLOWED_CIDRS",
                "8000::/1,::/1",
                "webhooks.allowed_cidrs: allows every address",
            ),
            (
                "REDIS__URL",
                "rediss://127.0.0.1:6379/nought",
                "redis.url: has another host",
            ),
        ] {
            let name = format!("LATCHKEY__{name}");
            let mut env = good();
            env.retain(|(known, _)| !known.contains("__MAIL__T") && *known != name);
            env[0].1 = "production".to_owned();
            env[1].1 = "https://id.example.com".to_owned();
            env.push(("LATCHKEY__MAIL__SMTP_URL", "smtps://mail.example.com".to_owned()));
            if !name.contains("PROXIES") {
                env.push(("LATCHKEY__SERVER__TRUSTED_PROXIES", "10.0.0.0/8".to_owned()));
            }
            env.push((&name, value.to_owned()));
            let faults = read(env).unwrap_err();
            assert_eq!(faults.len(), 1, "{faults:#?}");
            assert!(faults[0].starts_with(fault), "{faults:#?}");
        }
    }
}
