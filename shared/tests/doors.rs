//! What only few files may name, so that nobody else leaves out what they do beside it.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use super::layers::{name_at, names_in_group};

/// Each way to begin a session, to go on with one and to make an access token, and who may.
const DOORS: &[(&str, &[&str])] = &[
    ("Token::of_session", &["shared/src/session/mod.rs"]),
    (".successor(", &["shared/src/session/rotation.rs"]),
    ("session::begin", &["shared/src/auth/enter.rs"]),
    ("session::rotate", &["shared/src/auth/refresh.rs"]),
    (
        "enter::enter",
        &["shared/src/auth/login.rs", "shared/src/auth/second_step.rs"],
    ),
    (
        ".tokens(",
        &["shared/src/auth/enter.rs", "shared/src/auth/refresh.rs"],
    ),
    (
        ".access(",
        &["shared/src/auth/mod.rs", "shared/src/auth/reauthenticate.rs"],
    ),
    ("Grant {", &["shared/src/auth/mod.rs", "shared/src/crypto/jwt.rs"]),
];

/// The code that is shipped, by its path. Tests stand at the end of a file.
fn code() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut code = BTreeMap::new();
    for part in ["shared/src", "api/src", "worker/src"] {
        read(root, part, &mut code);
    }
    code
}

fn read(root: &Path, directory: &str, code: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(root.join(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read(root, &path, code);
        } else if entry.path().extension().is_some_and(|of| of == "rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap();
            code.insert(path, shipped.to_owned());
        }
    }
}

/// Whether the text names it; a path with the last part alone or among others in braces.
fn names(text: &str, what: &str) -> bool {
    let Some((module, name)) = what.rsplit_once("::") else {
        return text.contains(what);
    };
    let named = |after: &str| match after.strip_prefix('{') {
        Some(group) => names_in_group(group).iter().any(|named| named == name),
        None => name_at(after) == name,
    };
    text.split(&format!("{module}::")).skip(1).any(named)
}

fn who_names<'a>(code: &'a BTreeMap<String, String>, what: &str) -> Vec<&'a str> {
    let named = code.iter().filter(|(_, text)| names(text, what));
    named.map(|(path, _)| path.as_str()).collect()
}

#[test]
fn s16_nobody_is_let_in_but_where_the_policy_is_asked() {
    let code = code();
    for (door, who) in DOORS {
        assert_eq!(who_names(&code, door), *who, "{door}");
    }
    for file in ["login", "second_step", "refresh"] {
        let text = &code[&format!("shared/src/auth/{file}.rs")];
        assert!(text.contains("policy::may_enter("), "{file}");
    }
    // Who proves again was let in, and is asked for on every request.
    assert!(code["shared/src/auth/reauthenticate.rs"].contains("caller: &Caller"));
}

#[test]
fn s08_no_password_is_hashed_but_by_the_threads_that_are_there_for_it() {
    let code = code();
    let [imported, password, pool] =
        ["imported", "password", "pool"].map(|file| format!("shared/src/crypto/{file}.rs"));
    assert_eq!(who_names(&code, "Hasher"), [&*password, &*pool]);
    assert_eq!(who_names(&code, "Argon2::new"), [&*imported]);
    assert_eq!(who_names(&code, "Argon2::new_with_secret"), [&*password]);
    for other in ["bcrypt::bcrypt", "scrypt::scrypt", "pbkdf2::derive"] {
        assert_eq!(who_names(&code, other), [&*imported], "{other}");
    }
    let hashes = [".hash(", ".hash_like(", ".verify("]
        .map(|call| code[&pool].matches(&format!("hasher{call}")).count());
    let by_threads = code[&pool].matches("run(move |memory| hasher.").count();
    assert_eq!((hashes, by_threads), ([1, 1, 1], 3));
}

#[test]
fn a_name_is_seen_alone_and_in_braces() {
    assert!(names("session::begin(x)", "session::begin"));
    assert!(names("use crate::session::{self, begin};", "session::begin"));
    assert!(!names("session::beginning(x)", "session::begin"));
    assert!(names("auth.tokens(x)", ".tokens("));
}
