//! The rule for secret scanners finds our keys, and nothing that merely looks like one.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{fs, path::Path};

use latchkey_shared::{
    api_key::{KeyEnvironment, KeyText},
    random::OsRandom,
};
use regex::Regex;
use toml::Table;

fn rule() -> (Regex, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/gitleaks.toml");
    let rules: Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let rule = rules["rules"].as_array().unwrap()[0].as_table().unwrap();
    let keywords = rule["keywords"].as_array().unwrap().iter();
    let keywords = keywords.map(|word| word.as_str().unwrap().to_owned()).collect();
    (Regex::new(rule["regex"].as_str().unwrap()).unwrap(), keywords)
}

#[test]
fn every_key_is_found_wherever_it_stands() {
    let (regex, keywords) = rule();
    for environment in [KeyEnvironment::Live, KeyEnvironment::Test] {
        for _ in 0..1_000 {
            let key = KeyText::new(environment, &OsRandom::new()).into_text();
            let key = key.expose();
            // The scanner looks at no text without one of these.
            assert!(keywords.iter().any(|word| key.contains(word)));
            for text in [
                key.clone(),
                format!("API_KEY={key}"),
                format!("{{\"key\":\"{key}\"}}"),
                format!("curl -H 'X-API-Key: {key}' https://id.example.com\n"),
            ] {
                let found = regex
                    .captures(&text)
                    .unwrap_or_else(|| panic!("not found in {text}"));
                assert_eq!(&found[1], key);
            }
        }
    }
}

#[test]
fn what_is_no_key_is_not_found() {
    let (regex, _) = rule();
    let key = KeyText::new(KeyEnvironment::Live, &OsRandom::new()).into_text();
    let key = key.expose();
    for text in [
        key[..56].to_owned(),
        format!("{key}x"),
        format!("x{key}"),
        key.replace("live", "prod"),
        key.replacen("lk_", "pk_", 1),
        format!("{}-{}", &key[..30], &key[31..]),
        "lk_live_…".to_owned(),
        "lkr_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v".to_owned(),
    ] {
        assert!(!regex.is_match(&text), "{text}");
    }
}
