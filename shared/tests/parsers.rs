//! What reads text from outside: nothing makes it panic, and what it takes it takes for what it is.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_shared::{
    api_key::{KeyEnvironment, KeyText},
    cidr,
    crypto::{
        imported::ImportedHash,
        jwt::{Grant, JwtRing},
        password::{Hasher, Memory, Verdict},
        token::{Kind, Token},
    },
    id::{SessionId, TenantId, UserId},
    page::{MAX_LIMIT, Page, PageRequest},
    random::Random,
    secret::Secret,
    user::Email,
};
use latchkey_testing::config;
use proptest::{
    arbitrary::any,
    collection::vec,
    prop_oneof,
    sample::select,
    strategy::Strategy,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

/// Whatever the strategy makes, the property holds. No file remembers a failure: it gets a test of its own.
fn holds<S: Strategy>(of: &S, property: impl Fn(S::Value)) {
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let property = |value| {
        property(value);
        Ok(())
    };
    if let Err(failure) = TestRunner::new(config).run(of, property) {
        panic!("{failure}");
    }
}

/// Any text: control characters and every script.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..60).prop_map(String::from_iter)
}

/// Bytes that are no accident, where the code asks for random ones.
struct Bytes([u8; 32]);

impl Random for Bytes {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0[..bytes.len()]);
    }
}

/// One character put in, taken out or changed.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Change,
    Insert,
    Remove,
}

fn edits() -> impl Strategy<Value = (Edit, usize, char)> {
    let edit = select(vec![Edit::Change, Edit::Insert, Edit::Remove]);
    let letter = prop_oneof![
        any::<char>(),
        select(vec!['A', 'Q', 'a', '0', '-', '_', '.', '='])
    ];
    (edit, any::<usize>(), letter)
}

/// The text with the edit at that place, if it is another one then.
fn edited(text: &str, (edit, place, letter): (Edit, usize, char)) -> Option<String> {
    let mut letters: Vec<char> = text.chars().collect();
    let place = place % letters.len();
    match edit {
        Edit::Change => letters[place] = letter,
        Edit::Insert => letters.insert(place, letter),
        Edit::Remove => {
            letters.remove(place);
        }
    }
    let edited = String::from_iter(letters);
    (edited != text).then_some(edited)
}

#[test]
fn s39_an_address_has_one_canonical_form_which_stands_for_itself() {
    let local = "[a-zA-Z0-9äßİςΣﬁＡ.\"+ \u{301}\u{307}]{0,12}";
    let domain = "[a-zA-Z0-9äßİςＡ\u{3002}-]{1,12}(\\.[a-zA-Zß]{0,6}){0,3}";
    let shaped = (local, domain).prop_map(|(local, domain)| format!("{local}@{domain}"));
    holds(&prop_oneof![text(), shaped], |text| {
        let Ok(email) = Email::parse(&text) else { return };
        for spelling in [email.canonical(), email.written()] {
            let again = Email::parse(spelling).unwrap();
            assert_eq!(again.canonical(), email.canonical(), "{spelling}");
        }
    });
}

#[test]
fn s39_a_range_is_kept_as_it_is_read_again() {
    let four = (any::<u32>(), 0..40u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", Ipv4Addr::from_bits(address)));
    let mapped = (any::<u32>(), 80..140u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", Ipv4Addr::from_bits(address).to_ipv6_mapped()));
    let six = (any::<u128>(), 0..140u8)
        .prop_map(|(address, bits)| format!("{}/{bits}", Ipv6Addr::from_bits(address)));
    let shaped = "[0-9a-f:./ ]{0,45}";
    holds(&prop_oneof![text(), shaped, four, mapped, six], |text| {
        let Some(range) = cidr::read(&text) else { return };
        assert_eq!(range.trunc(), range);
        assert_eq!(cidr::read(&range.to_string()), Some(range));
        assert_eq!(cidr::read_all(&[text]), Ok(vec![range]));
    });
}

#[test]
fn s39_a_cursor_is_one_that_a_page_has_named() {
    let shaped = any::<[u8; 16]>().prop_map(|id| URL_SAFE_NO_PAD.encode(id));
    let like_one = "[A-Za-z0-9_=-]{20,24}";
    let cursors = prop_oneof![text(), like_one, shaped];
    holds(&(any::<Option<u32>>(), cursors), |(limit, cursor)| {
        let Ok(request) = PageRequest::new(limit, Some(&cursor)) else {
            return;
        };
        assert!((1..=MAX_LIMIT).contains(&request.limit));
        let first = PageRequest::new(Some(1), None).unwrap();
        let page = Page::cut(vec![request.before.unwrap(), Uuid::nil()], first, |id| *id);
        assert_eq!(page.next_cursor, Some(cursor));
    });
    holds(&any::<u128>(), |id| {
        let id = Uuid::from_u128(id);
        let first = PageRequest::new(Some(1), None).unwrap();
        let cursor = Page::cut(vec![id, Uuid::nil()], first, |id| *id).next_cursor;
        let next = PageRequest::new(None, cursor.as_deref()).unwrap();
        assert_eq!(next.before, Some(id));
    });
}

#[test]
fn s39_a_key_is_read_as_it_was_made_and_none_beside_it() {
    let shaped = "lk_(live|test)_[0-9A-Za-z]{45,52}";
    holds(&prop_oneof![text(), shaped], |text| {
        // One in 2^32 that was made up has the right sum.
        assert!(KeyText::parse(&text).is_none());
    });
    let environment = select(vec![KeyEnvironment::Live, KeyEnvironment::Test]);
    holds(
        &(environment, any::<[u8; 32]>(), edits()),
        |(environment, secret, edit)| {
            let made = KeyText::new(environment, &Bytes(secret));
            let hash = made.hash();
            let text = made.into_text();
            let read = KeyText::parse(text.expose()).unwrap();
            assert!(read.environment() == environment && read.hash() == hash);
            assert!(edited(text.expose(), edit).is_none_or(|other| KeyText::parse(&other).is_none()));
        },
    );
}

#[test]
fn s39_a_token_is_read_as_its_kind_alone_and_names_no_session_unless_we_made_it() {
    const KINDS: [(Kind, &str); 4] = [
        (Kind::Refresh, "lkr_"),
        (Kind::OneTime, "lko_"),
        (Kind::Mfa, "lkm_"),
        (Kind::Device, "lkd_"),
    ];
    let keys = config(&[]).secrets.data_keys;
    let prefix = || select(vec!["lkr_", "lko_", "lkm_", "lkd_"]);
    let length = prop_oneof![0..100usize, select(vec![48usize, 80])];
    let bytes = length.prop_flat_map(|length| vec(any::<u8>(), length));
    let encoded =
        (prefix(), bytes).prop_map(|(prefix, bytes)| prefix.to_owned() + &URL_SAFE_NO_PAD.encode(bytes));
    let like_one = (prefix(), "[A-Za-z0-9_=-]{0,120}").prop_map(|(prefix, rest)| prefix.to_owned() + &rest);
    holds(&prop_oneof![text(), like_one, encoded], |text| {
        for (kind, prefix) in KINDS {
            let Some(token) = Token::parse(kind, &text) else {
                continue;
            };
            assert!(text.starts_with(prefix), "{kind:?}");
            assert_eq!(token.session(&keys), None);
            assert_eq!(token.into_text().expose(), &text);
        }
    });
}

/// A PHC string with those parameters, which may be none that its scheme takes.
fn phc() -> impl Strategy<Value = String> {
    let number = || prop_oneof![0..40u32, any::<u32>()];
    let parameters = (number(), number(), number(), number());
    let head = parameters.prop_flat_map(|(a, b, c, version)| {
        select(vec![
            format!("$argon2id$v=19$m={a},t={b},p={c}"),
            format!("$argon2i$m={a},t={b},p={c}"),
            format!("$argon2d$v={version}$m={a},t={b},p={c}"),
            format!("$argon2id$v=19$m={a},t={b},p={c},keyid=b2xk"),
            format!("$scrypt$ln={a},r={b},p={c}"),
            format!("$pbkdf2-sha256$i={a}"),
            format!("$pbkdf2-sha512$i={a},l={b}"),
        ])
    });
    let bytes = || vec(any::<u8>(), 0..70).prop_map(|bytes| STANDARD_NO_PAD.encode(bytes));
    (head, bytes(), bytes()).prop_map(|(head, salt, hash)| format!("{head}${salt}${hash}"))
}

#[test]
fn s39_a_hash_that_an_import_brings_is_kept_as_it_is_read_again() {
    let bcrypt = "\\$2[abyx]\\$[0-9]{2}\\$[./A-Za-z0-9]{50,54}";
    let shaped = "\\$?(argon2id?|argon2|scrypt|pbkdf2[-_]sha256|bcrypt|2b)?\\$[a-z0-9=,$./+A-Zä-]{0,80}";
    holds(&prop_oneof![text(), shaped, bcrypt, phc()], |text| {
        let Ok(hash) = ImportedHash::parse(&text) else {
            return;
        };
        let stored = hash.stored();
        let again = ImportedHash::parse(stored.strip_prefix("$imported").unwrap()).unwrap();
        assert_eq!(again.stored(), stored);
    });
}

#[test]
fn s39_no_password_is_behind_a_hash_that_was_made_up() {
    let hasher = Hasher::new(&config(&[]).passwords).unwrap();
    let bytes = || vec(any::<u8>(), 0..70).prop_map(|bytes| STANDARD_NO_PAD.encode(bytes));
    // As much work as a test has time for; what is stored is ours, so it is bounded nowhere else.
    let cheap = (0..256u32, 0..3u32, 0..4u32, bytes(), bytes())
        .prop_map(|(m, t, p, salt, hash)| format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${hash}"));
    let bare = "\\$argon2id(\\$v=19)?\\$m=8,t=1,p=1(\\$[A-Za-z0-9+/]{0,44}){0,3}";
    let password = Secret::new("correct horse battery staple".to_owned());
    // An output of no bytes would be met by every password.
    holds(&prop_oneof![text(), bare, cheap], |text| {
        let verdict = hasher.verify(&password, &text, None, &mut Memory::default());
        assert!(!matches!(verdict, Ok(Verdict::Right { .. } | Verdict::Decoy)));
        let like = hasher.hash_like(&password, &text, &mut Memory::default());
        assert_ne!(like.ok(), Some(text));
    });
}

/// A ring, a token that it has signed, and an instant of the token's time.
fn signed() -> (JwtRing, Secret<String>, DateTime<Utc>) {
    let tokens = config(&[]).tokens;
    let ring = JwtRing::new(&tokens, tokens.keys.as_ref().unwrap());
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let grant = Grant {
        id: Uuid::from_u128(1),
        tenant: TenantId(Uuid::from_u128(2)),
        user: UserId(Uuid::from_u128(3)),
        session: SessionId(Uuid::from_u128(4)),
        issued_at: now,
        expires_at: now + TimeDelta::seconds(60),
        auth_time: now,
        amr: vec!["pwd".to_owned()],
        acr: "aal1",
    };
    let token = ring.sign(&grant).unwrap();
    (ring, token, now)
}

#[test]
fn s39_an_access_token_is_the_one_that_was_signed_or_none() {
    let (ring, token, now) = signed();
    assert!(ring.verify(token.expose(), now).is_ok());
    let (head, rest) = token.expose().split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    let part = || "[A-Za-z0-9_=-]{0,60}";
    let like_one = vec(part(), 0..6).prop_map(|parts| parts.join("."));
    let json = "\\{(\"(alg|kid|typ|jku)\":(\"(HS256|none|k1|at\\+jwt|ES256)\"|[0-9]{1,3}|null),?){0,5}\\}?";
    let headed = (json, part())
        .prop_map(|(json, signature)| format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(json)));
    let unsigned = (text(), part())
        .prop_map(|(claims, signature)| format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims)));
    holds(&prop_oneof![text(), like_one, headed, unsigned], |text| {
        assert!(ring.verify(&text, now).is_err());
    });
    holds(&edits(), |edit| {
        assert!(edited(token.expose(), edit).is_none_or(|other| ring.verify(&other, now).is_err()));
    });
}
