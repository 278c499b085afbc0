//! The README tells the truth: its walk-through is run as it stands there, and its table has every setting.

use std::{collections::BTreeSet, fs, path::Path, process::Stdio, time::Duration};

use latchkey_shared::{
    auth::bootstrap::{Bootstrapped, bootstrap},
    secret::Secret,
    user::Email,
};
use latchkey_testing::{RealProcess, TestBed};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::{process::Command, time::timeout};

const README: &str = include_str!("../../README.md");
const SETTINGS: &str = concat!(
    include_str!("../../shared/src/config/mod.rs"),
    include_str!("../../shared/src/config/limits.rs")
);
const EMAIL: &str = "admin@example.test";
const PASSWORD: &str = "the administrators password";
/// What the walk-through's reader sees next, for the test alone.
const FINDINGS: &str = "printf '%s' \"$SECRET\" >\"$TMPDIR/secret\"\nmv \"$OUT\" \"$TMPDIR/out\"\n";

/// Longer than all of its own waits together.
const DEADLINE: Duration = Duration::from_mins(2);

#[tokio::test]
async fn the_walkthrough_of_the_readme_works_as_it_stands_there() {
    let bed = TestBed::new().await;
    let email = Email::parse(EMAIL).unwrap();
    let done = bootstrap(&bed.context, email, Secret::new(PASSWORD.to_owned())).await;
    assert_eq!(done.unwrap(), Bootstrapped::Created);
    let (api, worker) = tokio::join!(RealProcess::api(&bed), RealProcess::worker(&bed));
    let directory = tempfile::tempdir().unwrap();
    let run = directory.path().join("run.json");
    fs::write(&run, run_json(&bed, &api, &worker).to_string()).unwrap();

    let script = blocks_below("## Walk-through") + FINDINGS;
    let printed = run_bash(&script, &run, directory.path()).await;

    assert!(printed.contains("Both signatures are right"), "{printed}");
    let secret = fs::read_to_string(directory.path().join("secret")).unwrap();
    for event in ["user.registered", "user.verified"] {
        let received = directory.path().join("out").join(event);
        let headers = headers(&received.with_added_extension("headers"));
        let body = fs::read(received.with_added_extension("body")).unwrap();
        Webhook::new(&secret).unwrap().verify(&body, &headers).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], event);
    }
}

/// As `./dev up` writes it.
fn run_json(bed: &TestBed, api: &RealProcess, worker: &RealProcess) -> Value {
    json!({
        "base_url": api.base_url,
        "metrics_urls": { "api": api.metrics_url, "worker": worker.metrics_url },
        "mail_dir": bed.mails.path(),
        "database_url": bed.app_url(),
        "redis_url": bed.context.config.redis.url.expose(),
        "admin": { "tenant": "platform", "email": EMAIL, "password": PASSWORD },
    })
}

/// The bash blocks between this heading and the next of its rank, in their order.
fn blocks_below(heading: &str) -> String {
    let section = README
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let (mut blocks, mut inside) = (String::new(), false);
    for line in section {
        match line {
            "```bash" => inside = true,
            "```" => inside = false,
            _ if inside => blocks.extend([line, "\n"]),
            _ => {}
        }
    }
    assert!(!blocks.is_empty(), "the README has no bash below `{heading}`");
    blocks
}

/// Runs the script as a person would, but for stopping at the first failure; what it has printed. Whatever it
/// leaves running ends with it.
async fn run_bash(script: &str, run: &Path, directory: &Path) -> String {
    let output = directory.join("output");
    let file = fs::File::create(&output).unwrap();
    let mut bash = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("RUN", run)
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .process_group(0)
        .spawn()
        .unwrap();
    let group = format!("-{}", bash.id().unwrap());
    let ended = timeout(DEADLINE, bash.wait()).await;
    let printed = fs::read_to_string(&output).unwrap();
    Command::new("kill")
        .args(["-KILL", "--", &group])
        .stderr(Stdio::null())
        .status()
        .await
        .unwrap();
    let succeeded = ended.is_ok_and(|status| status.unwrap().success());
    assert!(succeeded, "the walk-through failed:\n{printed}");
    printed
}

fn headers(file: &Path) -> HeaderMap {
    let headers: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let headers = headers.as_object().unwrap().iter();
    headers
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        })
        .collect()
}

#[test]
fn the_readmes_table_has_every_setting_and_no_other() {
    let in_code: BTreeSet<&str> = SETTINGS.split('"').filter(is_key).collect();
    let in_table: BTreeSet<&str> = README
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(is_key)
        .collect();
    assert!(in_code.contains("server.public_url"), "{in_code:?}");
    assert_eq!(in_table, in_code);
}

/// `section.key`.
fn is_key(text: &&str) -> bool {
    let word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    text.split_once('.')
        .is_some_and(|(section, key)| word(section) && word(key))
}
