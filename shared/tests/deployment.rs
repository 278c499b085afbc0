//! What `compose.yaml` and the systemd units say is enough for each process to start in production.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use latchkey_shared::config::{Config, Process, Source};
use serde_yaml::Value;
use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const API: &str = include_str!("../../deploy/systemd/latchkey-api.service");
const WORKER: &str = include_str!("../../deploy/systemd/latchkey-worker.service");
const COMMAND: &str = include_str!("../../deploy/systemd/latchkey@.service");
const BOOTSTRAP: &str = include_str!("../../deploy/systemd/latchkey@bootstrap.service.d/arguments.conf");
const ENVIRONMENT: &str = include_str!("../../deploy/systemd/environment");

/// A directory with the secrets that `deploy/compose/secrets.sh` makes.
fn secrets() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in ["compose", "secrets"] {
        fs::create_dir(directory.path().join(name)).unwrap();
    }
    let script = directory.path().join("compose/secrets.sh");
    fs::copy(Path::new(ROOT).join("deploy/compose/secrets.sh"), &script).unwrap();
    fs::write(
        directory.path().join("secrets/smtp_url"),
        "smtps://u:p@mail.example.com",
    )
    .unwrap();
    let made = Command::new("bash").arg(&script).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    directory
}

/// Whether the process would start with these variables, and no others.
fn starts(of: &str, process: Process, variables: impl IntoIterator<Item = (String, String)>) {
    let read = Config::read(process, Source::new(None, variables));
    assert!(read.is_ok(), "{of}: {}", read.unwrap_err());
}

/// As Compose puts variables in: `${NAME:?why}` and `${NAME:-otherwise}`, which may hold another.
fn interpolated(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let mut open = 1;
    let end = rest.char_indices().find_map(|(at, c)| {
        open += i32::from(c == '{') - i32::from(c == '}');
        (open == 0).then_some(at)
    });
    let (inside, after) = rest.split_at(end.unwrap());
    let (name, otherwise) = inside.split_once(':').unwrap();
    let value = match (name, otherwise.strip_prefix('-')) {
        (_, Some(otherwise)) => interpolated(otherwise),
        ("LATCHKEY_PUBLIC_URL", None) => "https://auth.example.com".to_owned(),
        ("LATCHKEY_BASE_DOMAIN", None) => "auth.example.com".to_owned(),
        ("LATCHKEY_MAIL_FROM", None) => "Latchkey <no-reply@example.com>".to_owned(),
        _ => panic!("deploy/README.md sets no {name}"),
    };
    format!("{before}{value}{}", interpolated(&after[1..]))
}

/// With the secrets that the service mounts, and no others.
fn start_composed(name: &str, service: &Value, process: Process, made: &Path) {
    let mounted = tempfile::tempdir().unwrap();
    for secret in service["secrets"].as_sequence().unwrap() {
        let secret = secret.as_str().unwrap();
        fs::copy(made.join("secrets").join(secret), mounted.path().join(secret)).unwrap();
    }
    let place = format!("{}/", mounted.path().display());
    let environment: BTreeMap<String, String> =
        serde_yaml::from_value(service["environment"].clone()).unwrap();
    let variables = environment
        .into_iter()
        .map(|(name, value)| (name, interpolated(&value).replace("/run/secrets/", &place)));
    starts(name, process, variables);
}

#[test]
fn each_service_of_compose_has_what_its_process_asks_for() {
    let text = fs::read_to_string(Path::new(ROOT).join("compose.yaml")).unwrap();
    let mut compose: Value = serde_yaml::from_str(&text).unwrap();
    compose.apply_merge().unwrap();
    let made = secrets();
    let mut started = 0;
    for (name, service) in compose["services"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        let process = match name {
            "postgres" | "redis" => continue,
            "worker" => Process::Worker,
            _ => Process::Api,
        };
        start_composed(name, service, process, made.path());
        started += 1;
    }
    assert_eq!(started, 3);
}

/// The values of a unit's key, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines();
    lines
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .collect()
}

#[test]
fn each_unit_has_what_its_process_asks_for() {
    let made = secrets();
    let files = made.path().join("secrets");
    fs::rename(files.join("token_keys"), made.path().join("token_keys")).unwrap();
    let settings = ENVIRONMENT.lines().filter_map(|line| line.split_once('='));
    for (name, unit, process) in [
        ("latchkey-api", API, Process::Api),
        ("latchkey-worker", WORKER, Process::Worker),
        ("latchkey@", COMMAND, Process::Api),
    ] {
        assert_eq!(values(unit, "EnvironmentFile"), ["/etc/latchkey/environment"]);
        // Each credential as it is handed over, below the directory that `%d` names.
        let handed = tempfile::tempdir().unwrap();
        for credential in values(unit, "LoadCredential") {
            let (id, path) = credential.split_once(':').unwrap();
            let path = path.strip_prefix("/etc/latchkey/secrets/").unwrap();
            fs::copy(files.join(path), handed.path().join(id)).unwrap();
        }
        let own = values(unit, "Environment").into_iter().map(|variable| {
            let (name, value) = variable.split_once('=').unwrap();
            let value = value.replace("%d", &handed.path().display().to_string());
            let place = made.path().display().to_string();
            (name.to_owned(), value.replace("/etc/latchkey", &place))
        });
        let settings = settings
            .clone()
            .filter(|(name, _)| !name.starts_with('#'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        starts(name, process, settings.chain(own));
    }
}

#[test]
fn no_unit_runs_as_root() {
    for unit in [API, WORKER, COMMAND] {
        assert_eq!(values(unit, "User"), ["latchkey"]);
        assert_eq!(values(unit, "Group"), ["latchkey"]);
        for taken in ["NoNewPrivileges", "MemoryDenyWriteExecute", "ProtectHome"] {
            assert_eq!(values(unit, taken), ["yes"], "{taken}");
        }
    }
    // A drop-in adds to its unit, and takes nothing back.
    assert!(values(BOOTSTRAP, "User").is_empty());
}
