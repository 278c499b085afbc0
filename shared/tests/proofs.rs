//! `./dev prove` runs every test that has a full size.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{fs, path::Path};

const SCRIPT: &str = include_str!("../../deploy/dev/proofs.sh");
/// What a test with a full size asks. In two halves: this file has none.
const ASKS: &str = concat!("Prove", "::");

/// The files below the directory that ask for the full size, each as the path of its module.
fn modules(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modules(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).unwrap().contains(ASKS)
        {
            let parts = path.with_extension("");
            found.push(parts.to_str().unwrap().replace('/', "::") + "::");
        }
    }
}

#[test]
fn no_test_with_a_full_size_is_left_out_of_the_proofs() {
    let line = SCRIPT.lines().find_map(|line| line.strip_prefix("PROOFS=("));
    let filters: Vec<&str> = line.unwrap().trim_end_matches(')').split(' ').collect();
    assert!(SCRIPT.contains("-- --nocapture --test-threads=1 \"${PROOFS[@]}\""));
    let mut found = Vec::new();
    for part in ["../api/tests", "../worker/tests", "tests"] {
        // The directory's own path may contain a filter.
        let mut modules_of_part = Vec::new();
        let part = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
        modules(&part, &mut modules_of_part);
        let above = part.to_str().unwrap().replace('/', "::");
        found.extend(
            modules_of_part
                .into_iter()
                .map(|module| module.replace(&above, "")),
        );
    }
    assert!(found.len() >= 10, "{found:?}");
    let left_out: Vec<&String> = found
        .iter()
        .filter(|module| !filters.iter().any(|filter| module.contains(filter)))
        .collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
