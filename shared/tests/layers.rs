//! Modules import downwards only.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{collections::HashMap, fs, path::Path};

/// As in the crate's documentation, from the bottom up.
const LAYERS: &[&[&str]] = &[
    &[
        "cidr",
        "id",
        "principal",
        "clock",
        "random",
        "secret",
        "page",
        "permission",
        "trace",
        "version",
    ],
    &[
        "batch",
        "config",
        "crypto",
        "entity",
        "error",
        "limit",
        "memory",
        "open_files",
        "postgres",
        "queue",
        "redis",
        "resolver",
        "signal",
        "telemetry",
        "usage",
    ],
    &["context"],
    &[
        "audit",
        "idempotency",
        "mail",
        "outbox",
        "partition",
        "retention",
        "webhook",
    ],
    &["lockout", "rbac", "service_account", "tenant", "user"],
    &["api_key", "device", "mfa", "session", "switch_off"],
    &["auth", "seed"],
    &["privacy"],
    &["administration", "diagnosis", "health", "reseal"],
];

#[test]
fn no_module_imports_from_a_layer_above_its_own() {
    let layer_of: HashMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, names)| names.iter().map(move |name| (*name, layer)))
        .collect();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for (module, text) in modules(&src) {
        let Some(layer) = layer_of.get(module.as_str()) else {
            faults.push(format!("{module} has no layer"));
            continue;
        };
        for imported in imports(&text) {
            if layer_of.get(imported.as_str()).is_some_and(|of| of > layer) {
                faults.push(format!("{module} imports {imported}, which is above it"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Each top-level module with the text of all its files.
fn modules(src: &Path) -> HashMap<String, String> {
    let mut modules = HashMap::<String, String>::new();
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module != "lib" {
            modules.entry(module).or_default().push_str(&text_below(&path));
        }
    }
    modules
}

fn text_below(path: &Path) -> String {
    if path.is_dir() {
        fs::read_dir(path)
            .unwrap()
            .map(|entry| text_below(&entry.unwrap().path()))
            .collect()
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        fs::read_to_string(path).unwrap()
    } else {
        String::new()
    }
}

/// The top-level modules that the text names after `crate::`, one by one or in braces.
fn imports(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for after in text.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            found.extend(names_in_group(group));
        } else {
            found.push(name_at(after));
        }
    }
    found
}

pub(super) fn names_in_group(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut names = vec![name_at(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name_at(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

pub(super) fn name_at(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn the_reader_of_imports_sees_each_form() {
    let text = "use crate::{auth, user::{Email, store},\n    tenant::Tenant}; crate::mail::queue()";
    assert_eq!(imports(text), ["auth", "user", "tenant", "mail"]);
}
