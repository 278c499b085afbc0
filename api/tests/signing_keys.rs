//! Signing keys: every algorithm, other libraries, and their change while processes run.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use latchkey_api::key_file;
use latchkey_shared::{
    clock::SystemClock,
    crypto::signing::{Algorithm, SigningKey},
    random::OsRandom,
};
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, Api, text};

const HS256: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const HS256_SECRET: &str = "0123456789abcdef0123456789abcdef";

fn new_key(algorithm: Algorithm) -> SigningKey {
    key_file::generate(algorithm, &SystemClock, &OsRandom::new()).unwrap()
}

fn entry(algorithm: Algorithm) -> String {
    new_key(algorithm).entry().expose().clone()
}

fn kid(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    text(&serde_json::from_slice(&header).unwrap(), "kid")
}

async fn key_set(api: &Api) -> Value {
    let answer = Api::send(api.request(Method::GET, "/.well-known/jwks.json")).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    answer.expect(200)
}

/// A bed whose keys stand in a file.
async fn bed_with_file(text: &str) -> (TestBed, PathBuf) {
    let directory = tempfile::tempdir().unwrap().keep();
    let path = directory.join("keys");
    std::fs::write(&path, text).unwrap();
    let bed = TestBed::with(&[("tokens.keys_file", path.to_str().unwrap())]).await;
    (bed, path)
}

#[tokio::test]
async fn only_public_keys_are_published() {
    let (eddsa, es256) = (entry(Algorithm::EdDsa), entry(Algorithm::Es256));
    let ring = [HS256, &eddsa, &es256].join(",");
    let bed = TestBed::with(&[("tokens.keys", &ring)]).await;
    let api = Api::start(&bed).await;
    let set = key_set(&api).await;
    let keys = set["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2, "{set}");
    for (key, entry, alg, crv) in [
        (&keys[0], &eddsa, "EdDSA", "Ed25519"),
        (&keys[1], &es256, "ES256", "P-256"),
    ] {
        assert_eq!(key["kid"], entry.split(':').next().unwrap());
        assert_eq!((&key["alg"], &key["crv"]), (&json!(alg), &json!(crv)));
        assert_eq!(key["use"], "sig");
        assert!(key.get("d").is_none() && key.get("k").is_none(), "{key}");
        assert_eq!(URL_SAFE_NO_PAD.decode(text(key, "x")).unwrap().len(), 32);
    }
    assert!(!set.to_string().contains("MDEyMzQ1"));
}

/// Runs a script of another library: it gets what it needs on its standard input and prints forged tokens, after it
/// has accepted the good ones.
async fn forged_by(mut command: Command, script: &str, input: &Value) -> Vec<(String, String)> {
    let input = input.to_string();
    command
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let forged: Value = serde_json::from_slice(&output.stdout).unwrap();
    let pairs = forged.as_object().unwrap().iter();
    pairs
        .map(|(name, token)| (name.clone(), token.as_str().unwrap().to_owned()))
        .collect()
}

const PYTHON: &str = r#"
import base64, json, sys
import jwt
from cryptography.hazmat.primitives import serialization
given = json.load(sys.stdin)
keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(given["jwks"]).keys}
options = dict(audience=given["aud"], issuer=given["iss"])
for token in given["tokens"]:
    header = jwt.get_unverified_header(token)
    key = keys[header["kid"]].key if header["kid"] in keys else given["secret"]
    claims = jwt.decode(token, key, algorithms=[header["alg"]], **options)
def encode(claims, key, alg, **header):
    return jwt.encode(claims, key, algorithm=alg, headers={"typ": "at+jwt", **header})
def b64(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
forged = {}
def unchecked_hmac(claims, secret, kid):
    import hashlib, hmac
    message = b64({"alg": "HS256", "typ": "at+jwt", "kid": kid}) + "." + b64(claims)
    mac = hmac.new(secret, message.encode(), hashlib.sha256).digest()
    return message + "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
for kid, key in keys.items():
    public = key.key
    for name, encoding, form in [
        ("pem", serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ("der", serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)]:
        forged[f"{kid} as {name}"] = unchecked_hmac(claims, public.public_bytes(encoding, form), kid)
    jwk = next(key for key in given["jwks"]["keys"] if key["kid"] == kid)
    x = base64.urlsafe_b64decode(jwk["x"] + "==")
    forged[f"{kid} as x"] = unchecked_hmac(claims, x, kid)
    if "y" in jwk:
        y = base64.urlsafe_b64decode(jwk["y"] + "==")
        forged[f"{kid} as point"] = unchecked_hmac(claims, b"" + x + y, kid)
    forged[f"{kid} by the shared secret"] = encode(claims, given["secret"], "HS256", kid=kid)
    forged[f"{kid} unsigned"] = b64({"alg": "none", "typ": "at+jwt", "kid": kid}) + "." + b64(claims) + "."
secret = given["secret"]
for alg in ["HS384", "HS512"]:
    forged[alg] = encode(claims, secret, alg, kid="k1")
for name, changes in {
    "iss": {"iss": "https://evil.example"}, "aud": {"aud": ["latchkey", "other"]}, "expired": {"exp": 1},
    "not yet": {"nbf": claims["iat"] + 3600}, "no exp": {"exp": None}, "text exp": {"exp": "never"},
    "no sub": {"sub": None}}.items():
    changed = {key: value for key, value in {**claims, **changes}.items() if value is not None}
    forged[name] = unchecked_hmac(changed, secret.encode(), "k1")
forged["jku"] = encode(claims, secret, "HS256", kid="k1", jku="https://evil.example/jwks")
forged["jwk"] = encode(claims, secret, "HS256", kid="k1", jwk={"kty": "oct", "k": "AAAA"})
forged["typ"] = encode(claims, secret, "HS256", kid="k1", typ="JWT")
forged["crit"] = encode(claims, secret, "HS256", kid="k1", crit=["exp"])
json.dump(forged, sys.stdout)
"#;

const NODE: &str = r#"
const jose = await import(process.env.JOSE);
let text = ""; for await (const part of process.stdin) text += part;
const given = JSON.parse(text);
const set = jose.createLocalJWKSet(given.jwks);
const secret = new TextEncoder().encode(given.secret);
let claims;
for (const token of given.tokens) {
  const { alg } = jose.decodeProtectedHeader(token);
  const key = alg === "HS256" ? secret : set;
  const options = { issuer: given.iss, audience: given.aud, typ: "at+jwt", algorithms: [alg] };
  claims = (await jose.jwtVerify(token, key, options)).payload;
}
const forged = {};
const sign = (claims, key, header) =>
  new jose.SignJWT(claims).setProtectedHeader({ alg: "HS256", typ: "at+jwt", kid: "k1", ...header }).sign(key);
for (const jwk of given.jwks.keys) {
  const { kid, x } = jwk;
  forged[kid + " as x"] = await sign(claims, jose.base64url.decode(x), { kid });
  forged[kid + " as json"] = await sign(claims, new TextEncoder().encode(JSON.stringify(jwk)), { kid });
  const { privateKey, publicKey } = await jose.generateKeyPair(jwk.alg, { crv: jwk.crv, extractable: true });
  forged[kid + " by another key"] = await sign(claims, privateKey, { alg: jwk.alg, kid });
  const own = await jose.exportJWK(publicKey);
  forged[kid + " by a key it brings"] = await sign(claims, privateKey, { alg: jwk.alg, kid, jwk: own });
}
forged["unknown kid"] = await sign(claims, secret, { kid: "k9" });
forged["unsecured"] = new jose.UnsecuredJWT(claims).encode();
process.stdout.write(JSON.stringify(forged));
"#;

#[tokio::test]
async fn s17_other_libraries_accept_our_tokens_and_theirs_are_refused() {
    let keys = [HS256.to_owned(), entry(Algorithm::EdDsa), entry(Algorithm::Es256)];
    let (bed, path) = bed_with_file(&keys.join("\n")).await;
    Api::start(&bed).await.admin().await;
    // Each of three processes signs with another key; the last knows all of them.
    let mut tokens = Vec::new();
    let mut last = None;
    for first in 0..keys.len() {
        let mut ring = keys.to_vec();
        ring.rotate_left(first);
        std::fs::write(&path, ring.join("\n")).unwrap();
        let api = Api::start_another(&bed).await;
        tokens.push(text(&api.login("platform", ADMIN).await, "access_token"));
        last = Some(api);
    }
    let api = last.unwrap();
    let input = json!({
        "tokens": tokens, "jwks": key_set(&api).await, "secret": HS256_SECRET,
        "iss": "https://id.example.test", "aud": "latchkey",
    });
    let python = std::env::var("LATCHKEY_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg("-c");
    let mut forged = forged_by(command, PYTHON, &input).await;
    assert!(forged.len() >= 20, "{forged:?}");
    if let Ok(directory) = std::env::var("LATCHKEY_TEST_JOSE") {
        let mut command = Command::new("node");
        let module = Path::new(&directory).join("node_modules/jose/dist/webapi/index.js");
        command.env("JOSE", module).args(["--input-type=module", "-e"]);
        forged.extend(forged_by(command, NODE, &input).await);
    } else {
        println!(
            "NOT PROVEN: jose. LATCHKEY_TEST_JOSE names no directory that has it; `./dev prove` sets it"
        );
    }
    for token in &tokens {
        api.get_as(token, "/v1/auth/me").await.expect(200);
    }
    for (name, token) in forged {
        let answer = api.get_as(&token, "/v1/auth/me").await;
        assert_eq!(answer.status.as_u16(), 401, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_new_key_is_taken_up_and_trusted_at_once_on_every_process() {
    let (bed, path) = bed_with_file(HS256).await;
    let (first, second) = (Api::start(&bed).await, Api::start_another(&bed).await);
    let old = first.admin().await;
    let algorithms = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Hs256];
    for algorithm in algorithms {
        let key = new_key(algorithm);
        let new = key.id.clone();
        key_file::rotate(&path, key, 4).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        let token = loop {
            let token = text(&first.login("platform", ADMIN).await, "access_token");
            if kid(&token) == new {
                break token;
            }
            assert!(Instant::now() < deadline, "the key was not taken up");
            // Not too many sign-ins: they would end the first session.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        // The other process may not have read the file yet: an unknown key makes it do so.
        second.get_as(&token, "/v1/auth/me").await.expect(200);
        second.get_as(&old, "/v1/auth/me").await.expect(200);
    }
    key_file::rotate(&path, new_key(Algorithm::Hs256), 1).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while second.get_as(&old, "/v1/auth/me").await.status != 401 {
        assert!(Instant::now() < deadline, "a key that was dropped still verifies");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_faulty_file_changes_nothing() {
    let (bed, path) = bed_with_file(HS256).await;
    let api = Api::start(&bed).await;
    let token = api.admin().await;
    for faulty in ["", "k1:short", "not a key", &format!("{HS256}\nk2:es256:AAAA")] {
        std::fs::write(&path, faulty).unwrap();
        // A key that nobody knows makes the process read the file now.
        let (_, rest) = token.split_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"at+jwt","kid":"k9"}"#);
        api.get_as(&format!("{header}.{rest}"), "/v1/auth/me")
            .await
            .refused(401, "unauthenticated");
        api.get_as(&token, "/v1/auth/me").await.expect(200);
        api.login("platform", ADMIN).await;
    }
}

fn keys(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_latchkey-api"))
        .arg("keys")
        .args(arguments)
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_operator_makes_rotates_and_lists_keys() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let file = path.to_str().unwrap();
    let (_, made) = keys(&["generate", "--alg", "es256"]);
    assert!(made.contains(":es256:"), "{made}");
    std::fs::write(&path, &made).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    for alg in ["eddsa", "hs256", "es256"] {
        let (done, listed) = keys(&["rotate", "--file", file, "--alg", alg, "--keep", "3"]);
        assert!(done && listed.lines().next().unwrap().ends_with(alg), "{listed}");
    }
    let (_, listed) = keys(&["list", "--file", file]);
    let algorithms: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(algorithms, ["es256", "hs256", "eddsa"]);
    for secret in std::fs::read_to_string(&path).unwrap().lines() {
        assert!(!listed.contains(secret.rsplit(':').next().unwrap()));
    }
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file stays");
    std::fs::write(&path, "k1:faulty").unwrap();
    let (done, _) = keys(&["rotate", "--file", file]);
    assert!(!done && std::fs::read_to_string(&path).unwrap() == "k1:faulty");
}
