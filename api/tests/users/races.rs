//! What may not happen, however many ask for it at once.

use futures::future::join_all;
use latchkey_testing::TestBed;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{ask, made, role, token};
use crate::support::{Api, PASSWORD, text};

const AT_ONCE: usize = 100;
/// Of one address.
const SPELLINGS: [&str; 5] = [
    "Ren\u{e9}@B\u{fc}cher.example",
    "REN\u{c9}@xn--bcher-kva.example",
    "rene\u{301}@B\u{dc}CHER.EXAMPLE",
    "ren\u{e9}@xn--bcher-kva.example.",
    "\u{ff52}en\u{e9}@b\u{fc}cher.example",
];

/// Owners who each do it to the next, a hundred at once; how many owners may sign in afterwards.
async fn owners_left_after(method: Method, verb: &str) -> i64 {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (tenant, owner) = api.tenant(&admin, "acme").await;
    let owns = role(&api, tenant, "owner").await;
    let mut owners = vec![(
        text(&api.get_as(&owner, "/v1/auth/me").await.expect(200)["user"], "id"),
        owner.clone(),
    )];
    for n in 0..4 {
        let email = format!("owner{n}@acme.test");
        let id = made(&api, &owner, &email, &[&owns]).await;
        owners.push((id, token(&api, "acme", &email).await));
    }
    let requests = (0..AT_ONCE).map(|n| {
        let (_, by) = &owners[n % owners.len()];
        let (whom, _) = &owners[(n + 1 + n / owners.len() % (owners.len() - 1)) % owners.len()];
        let path = format!("/v1/users/{whom}{verb}");
        let (api, method) = (&api, method.clone());
        async move { ask(api, by, method, &path, None).await }
    });
    for answer in join_all(requests).await {
        assert!(
            matches!(answer.status.as_u16(), 204 | 401 | 403 | 404 | 409),
            "{answer:?}"
        );
    }
    api.scalar(
        "SELECT count(*) FROM users u JOIN role_assignments a ON a.user_id = u.id JOIN roles r ON r.id = a.role_id
         JOIN tenants t ON t.id = u.tenant_id
         WHERE r.name = 'owner' AND r.builtin AND u.status = 'active' AND t.slug = 'acme'",
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s27_owners_who_disable_each_other_at_once_leave_one() {
    assert_eq!(owners_left_after(Method::POST, "/disable").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s27_owners_who_delete_each_other_at_once_leave_one() {
    assert_eq!(owners_left_after(Method::DELETE, "").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_who_make_the_same_user_one_does() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let body = json!({ "email": "ada@example.com", "external_id": "7" });
    let answers = join_all((0..AT_ONCE).map(|_| api.post_as(&owner, "/v1/users", body.clone()))).await;
    let made = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED);
    assert_eq!(made.count(), 1);
    for answer in answers
        .into_iter()
        .filter(|answer| answer.status != StatusCode::CREATED)
    {
        // Who asks before the first has made it asks for another mail to that address, of which there are ten an hour.
        let refused = answer.code();
        assert!(matches!(&*refused, "email_taken" | "rate_limited"), "{answer:?}");
    }
    assert_eq!(api.mails("ada@example.com").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s06_a_hundred_who_register_or_are_made_by_spellings_of_one_address_are_one_user() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let requests = (0..AT_ONCE).map(|n| {
        let (api, owner, email) = (&api, &owner, SPELLINGS[n / 2 % SPELLINGS.len()]);
        async move {
            if n % 2 == 0 {
                api.post_as(owner, "/v1/users", json!({ "email": email })).await
            } else {
                let body = json!({ "email": email, "password": PASSWORD });
                api.post("acme", "/v1/auth/register", body).await
            }
        }
    });
    let mut made = 0;
    for answer in join_all(requests).await {
        match answer.status.as_u16() {
            201 => made += 1,
            202 => {}
            _ => {
                // Of mails to one address there are ten an hour.
                let refused = answer.code();
                assert!(matches!(&*refused, "email_taken" | "rate_limited"), "{answer:?}");
            }
        }
    }
    // Or a registration was the first.
    assert!(made <= 1, "{made}");
    let users = "SELECT count(*) FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE t.slug = 'acme'";
    assert_eq!(api.scalar(users).await, 2, "the owner, and one more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s20_a_sign_in_that_races_a_disable_leaves_nothing_that_validates() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let ada = made(&api, &owner, "ada@example.com", &[]).await;
    let login = json!({ "email": "ada@example.com", "password": PASSWORD });
    let barred = format!("/v1/users/{ada}/disable");
    let logins = join_all((0..AT_ONCE).map(|_| api.post("acme", "/v1/auth/login", login.clone())));
    let (logins, disabled) = futures::join!(logins, ask(&api, &owner, Method::POST, &barred, None));
    disabled.expect(204);
    for answer in logins {
        if answer.status == StatusCode::OK {
            let session = answer.json();
            api.get_as(&text(&session, "access_token"), "/v1/auth/me")
                .await
                .refused(401, "unauthenticated");
            api.refresh(&text(&session, "refresh_token"))
                .await
                .refused(401, "invalid_refresh_token");
        }
    }
}
