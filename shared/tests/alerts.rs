//! What operators are woken for are metrics that there are.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

pub(super) const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yaml");
const README: &str = include_str!("../../README.md");

/// What begins as our metrics do.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    text.match_indices("latchkey_")
        .filter(|(at, _)| !text[..*at].ends_with(|c: char| word(c) || c == '.'))
        .map(|(at, _)| text[at..].chars().take_while(|c| word(*c)).collect())
        .collect()
}

/// The text of all files below the directory.
fn read(directory: &Path, found: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, found);
        } else {
            found.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The code of both programs and of what they share.
pub(super) fn code() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut code = String::new();
    for part in ["shared/src", "api/src", "worker/src"] {
        read(&root.join(part), &mut code);
    }
    code
}

#[test]
fn alerts_fire_when_something_is_wrong_or_nobody_is_there_to_tell() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/monitoring/alerts_test.yaml");
    let told = Command::new("promtool")
        .args(["test", "rules"])
        .arg(rules)
        .output()
        .unwrap_or_else(|_| panic!("there is no promtool; `./dev test` installs it"));
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}

#[test]
fn alerts_and_the_readme_name_metrics_that_there_are() {
    let code = code();
    let alerts = names(ALERTS);
    assert!(alerts.len() >= 10, "{alerts:?}");
    // Of a histogram Prometheus makes several.
    let told = |name: &String| {
        let plain = name.strip_suffix("_bucket").unwrap_or(name);
        code.contains(&format!("\"{plain}\""))
    };
    let readme = names(README);
    let metrics = readme.into_iter().filter(|name| {
        name.ends_with("_seconds") || name.ends_with("_total") || name.ends_with("_partitions")
    });
    let unknown: Vec<String> = alerts
        .into_iter()
        .chain(metrics)
        .filter(|name| !told(name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
