//! What each token is for, and that it is for nothing else.

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, text},
    users::made,
};

const OWNER: &str = "owner@acme.test";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
    Mfa,
    Device,
    ApiKey,
    Verification,
    Reset,
    EmailChange,
    Invitation,
    Unlock,
}

/// Where a token can be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Bearer,
    XApiKey,
    Refresh,
    VerifyMfa,
    VerifyEmail,
    ResetPassword,
    Unlock,
    AcceptInvitation,
    /// The device's token at a sign-in that needs none.
    Device,
}

const PLACES: [Place; 9] = [
    Place::Bearer,
    Place::XApiKey,
    Place::Refresh,
    Place::VerifyMfa,
    Place::VerifyEmail,
    Place::ResetPassword,
    Place::Unlock,
    Place::AcceptInvitation,
    Place::Device,
];

impl Kind {
    fn is_for(self, place: Place) -> bool {
        let own: &[Place] = match self {
            Self::Access => &[Place::Bearer],
            Self::Refresh => &[Place::Refresh],
            Self::Mfa => &[Place::VerifyMfa],
            Self::Device => &[Place::Device],
            Self::ApiKey => &[Place::Bearer, Place::XApiKey],
            Self::Verification | Self::EmailChange => &[Place::VerifyEmail],
            Self::Reset => &[Place::ResetPassword],
            Self::Invitation => &[Place::AcceptInvitation],
            Self::Unlock => &[Place::Unlock],
        };
        own.contains(&place)
    }
}

/// What is answered to a token that is for something else.
fn refusal(kind: Kind, place: Place) -> (u16, Option<&'static str>) {
    match (kind, place) {
        (_, Place::Bearer | Place::XApiKey) => (401, Some("unauthenticated")),
        // It is longer than any token that a body may hold.
        (Kind::Access, _) => (422, Some("validation_failed")),
        (_, Place::Refresh) => (401, Some("invalid_refresh_token")),
        (_, Place::VerifyMfa) => (401, Some("invalid_mfa_token")),
        (_, Place::VerifyEmail | Place::ResetPassword | Place::Unlock | Place::AcceptInvitation) => {
            (400, Some("invalid_token"))
        }
        // The password signs in; the device is a new one.
        (_, Place::Device) => (200, None),
    }
}

/// One token of each kind, and a code for the second factor. Each is of a user of its own, or the use of one might end
/// another.
async fn one_of_each(api: &Api) -> (Vec<(Kind, String)>, String) {
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let session = api.login("acme", OWNER).await;
    let key = json!({ "name": "k", "environment": "live", "scopes": ["users:read"] });
    let key = api.post_as(&owner, "/v1/api-keys", key).await.expect(201);
    for name in ["mfa", "reset", "change", "unlock"] {
        made(api, &owner, &format!("{name}@example.com"), &[]).await;
    }

    let access = text(&api.login("acme", "mfa@example.com").await, "access_token");
    let body = json!({ "password": PASSWORD });
    let setup = api.post_as(&access, "/v1/mfa/totp/setup", body).await.expect(200);
    let code = pyotp(&text(&setup, "secret"), api.context.clock.now());
    let body = json!({ "code": code });
    let enrolled = api.post_as(&access, "/v1/mfa/totp/confirm", body).await;
    let recovery_code = enrolled.expect(200)["recovery_codes"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let challenge = api.login("acme", "mfa@example.com").await;

    let body = json!({ "email": "verify@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let body = json!({ "email": "reset@example.com" });
    api.post("acme", "/v1/auth/password/forgot", body)
        .await
        .expect(202);
    let access = text(&api.login("acme", "change@example.com").await, "access_token");
    let body = json!({ "new_email": "changed@example.com", "password": PASSWORD });
    api.post_as(&access, "/v1/auth/email/change", body)
        .await
        .expect(202);
    let body = json!({ "email": "invited@example.com" });
    api.post_as(&owner, "/v1/invitations", body).await.expect(201);
    for _ in 0..5 {
        let body = json!({ "email": "unlock@example.com", "password": "not the password" });
        api.post("acme", "/v1/auth/login", body)
            .await
            .refused(401, "invalid_credentials");
    }

    let mut tokens = vec![
        (Kind::Access, text(&session, "access_token")),
        (Kind::Refresh, text(&session, "refresh_token")),
        (Kind::Mfa, text(&challenge, "mfa_token")),
        (Kind::Device, text(&session, "device_token")),
        (Kind::ApiKey, text(&key, "key")),
    ];
    for (kind, name) in [
        (Kind::Verification, "verify"),
        (Kind::Reset, "reset"),
        (Kind::EmailChange, "changed"),
        (Kind::Invitation, "invited"),
        (Kind::Unlock, "unlock"),
    ] {
        tokens.push((kind, api.mailed_token(&format!("{name}@example.com")).await));
    }
    (tokens, recovery_code)
}

/// Everything else in the request is right.
async fn bring(api: &Api, token: &str, place: Place, recovery_code: &str) -> Answer {
    let users = || api.request(Method::GET, "/v1/users");
    let post = |path: &str, body: Value| api.request(Method::POST, path).json(&body);
    Api::send(match place {
        Place::Bearer => users().bearer_auth(token),
        Place::XApiKey => users().header("x-api-key", token),
        Place::Refresh => post("/v1/auth/refresh", json!({ "refresh_token": token })),
        Place::VerifyMfa => post(
            "/v1/auth/mfa/verify",
            json!({ "mfa_token": token, "method": "recovery_code", "code": recovery_code }),
        ),
        Place::VerifyEmail => post("/v1/auth/email/verify", json!({ "token": token })),
        Place::ResetPassword => post(
            "/v1/auth/password/reset",
            json!({ "token": token, "new_password": "a cup of tea at half past four" }),
        ),
        Place::Unlock => post("/v1/auth/unlock", json!({ "token": token })),
        Place::AcceptInvitation => post(
            "/v1/invitations/accept",
            json!({ "token": token, "password": PASSWORD }),
        ),
        Place::Device => post(
            "/v1/auth/login",
            json!({ "email": OWNER, "password": PASSWORD, "device_token": token }),
        )
        .header("x-tenant-id", "acme"),
    })
    .await
}

#[tokio::test]
async fn s18_every_token_is_refused_in_every_place_but_its_own_and_is_as_good_there_afterwards() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (tokens, recovery_code) = one_of_each(&api).await;
    for (kind, token) in &tokens {
        for place in PLACES.into_iter().filter(|place| !kind.is_for(*place)) {
            let answer = bring(&api, token, place, &recovery_code).await;
            let told = format!("{kind:?} as {place:?}: {answer:?}");
            let code = answer.problem();
            let got = (answer.status.as_u16(), code.as_deref());
            assert_eq!(got, refusal(*kind, place), "{told}");
            if got.0 == 200 {
                assert!(answer.json()["device_token"].is_string(), "{told}");
            }
        }
    }
    for (kind, token) in &tokens {
        for place in PLACES.into_iter().filter(|place| kind.is_for(*place)) {
            let answer = bring(&api, token, place, &recovery_code).await;
            assert!(answer.status.is_success(), "{kind:?} as {place:?}: {answer:?}");
            if place == Place::Device {
                assert_eq!(answer.json()["device_token"], Value::Null, "{answer:?}");
            }
        }
    }
}
