//! Service accounts: who may make them, and what holds of their keys.

use latchkey_shared::{id::uuid_v7, random::OsRandom};
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Api, text};

/// The id of something that is not there.
pub(crate) fn nobodys() -> Uuid {
    uuid_v7(chrono::DateTime::UNIX_EPOCH, &OsRandom::new())
}

/// The id of a role of the tenant's.
pub(crate) async fn role(api: &Api, slug: &str, name: &str) -> Uuid {
    let row = api
        .scalar_text(&format!(
            "SELECT r.id FROM roles r JOIN tenants t ON t.id = r.tenant_id WHERE t.slug = '{slug}' AND r.name = '{name}'"
        ))
        .await;
    row.parse().unwrap()
}

/// A role of the tenant's own.
pub(crate) async fn own_role(api: &Api, slug: &str, name: &str, permissions: &[&str]) -> Uuid {
    let id = nobodys();
    let permissions = permissions.join(",");
    api.execute(&format!(
        "INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, permissions, created_at, updated_at)
         SELECT '{id}', id, '{name}', '{name}', false, string_to_array('{permissions}', ','), now(), now() FROM tenants WHERE slug = '{slug}'"
    ))
    .await;
    id
}

/// A member of the tenant who holds that role besides; signed in.
pub(crate) async fn member_with(api: &Api, slug: &str, email: &str, role: Uuid) -> String {
    api.user(slug, email).await;
    api.execute(&format!(
        "INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
         SELECT tenant_id, id, '{role}', now() FROM users WHERE email = '{email}'"
    ))
    .await;
    text(&api.login(slug, email).await, "access_token")
}

pub(crate) async fn delete_as(api: &Api, token: &str, path: &str) -> crate::support::Answer {
    Api::send(api.request(Method::DELETE, path).bearer_auth(token)).await
}

pub(crate) async fn patch_as(api: &Api, token: &str, path: &str, body: Value) -> crate::support::Answer {
    Api::send(api.request(Method::PATCH, path).bearer_auth(token).json(&body)).await
}

#[tokio::test]
async fn a_service_account_is_made_changed_listed_and_deleted() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let reader = own_role(&api, "acme", "reader", &["users:read"]).await;
    let body = json!({ "name": "Export", "description": "Nightly", "role_ids": [reader] });
    let answer = api.post_as(&owner, "/v1/service-accounts", body).await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let created = answer.expect(201);
    assert_eq!(created["roles"], json!([{ "id": reader, "name": "reader" }]));
    assert_eq!(created["status"], "active");
    assert_eq!(api.get_as(&owner, &location).await.expect(200), created);

    let patch = json!({ "name": "Import", "description": null, "status": "disabled", "role_ids": [] });
    let changed = patch_as(&api, &owner, &location, patch).await.expect(200);
    assert_eq!(
        (
            &changed["name"],
            &changed["description"],
            &changed["status"],
            &changed["roles"]
        ),
        (&json!("Import"), &Value::Null, &json!("disabled"), &json!([]))
    );
    for name in ["b", "c"] {
        api.post_as(&owner, "/v1/service-accounts", json!({ "name": name }))
            .await
            .expect(201);
    }
    let first = api
        .get_as(&owner, "/v1/service-accounts?limit=2")
        .await
        .expect(200);
    assert_eq!(
        (&first["data"][0]["name"], &first["has_more"]),
        (&json!("c"), &json!(true))
    );
    let next = format!(
        "/v1/service-accounts?limit=2&cursor={}",
        text(&first, "next_cursor")
    );
    let second = api.get_as(&owner, &next).await.expect(200);
    assert_eq!(
        (&second["data"][0]["name"], &second["has_more"]),
        (&json!("Import"), &json!(false))
    );

    delete_as(&api, &owner, &location).await.expect(204);
    api.get_as(&owner, &location).await.refused(404, "not_found");
    delete_as(&api, &owner, &location).await.refused(404, "not_found");
    let audited = "SELECT count(*) FROM audit_events WHERE target_kind = 'service_account' AND action LIKE 'service_account.%'";
    assert_eq!(api.scalar(audited).await, 5);
}

#[tokio::test]
async fn s27_nobody_gives_a_machine_what_they_do_not_hold() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let hirer = own_role(&api, "acme", "hirer", &["service_accounts:write", "users:read"]).await;
    let reader = own_role(&api, "acme", "reader", &["users:read"]).await;
    let writer = own_role(&api, "acme", "writer", &["users:write"]).await;
    let (admins, owners) = (
        role(&api, "acme", "admin").await,
        role(&api, "acme", "owner").await,
    );
    let ada = member_with(&api, "acme", "ada@example.com", hirer).await;
    let path = "/v1/service-accounts";
    let create = |token: String, roles: Value| {
        let api = &api;
        async move {
            api.post_as(&token, path, json!({ "name": "a", "role_ids": roles }))
                .await
        }
    };
    let account = create(ada.clone(), json!([reader])).await.expect(201);
    for more in [writer, admins, owners] {
        create(ada.clone(), json!([more]))
            .await
            .refused(403, "escalation");
        patch_as(
            &api,
            &ada,
            &format!("{path}/{}", text(&account, "id")),
            json!({ "role_ids": [reader, more] }),
        )
        .await
        .refused(403, "escalation");
    }
    // What it holds already may stay, whoever changes the rest; and nobody but people own a tenant.
    let strong = create(owner.clone(), json!([writer])).await.expect(201);
    let strong = format!("{path}/{}", text(&strong, "id"));
    patch_as(&api, &ada, &strong, json!({ "role_ids": [writer, reader] }))
        .await
        .expect(200);
    // Nor is it turned off or on, stripped or deleted by who could not have made it.
    for off in ["active", "disabled"] {
        let other = if off == "active" { "disabled" } else { "active" };
        patch_as(&api, &owner, &strong, json!({ "status": off }))
            .await
            .expect(200);
        patch_as(&api, &ada, &strong, json!({ "status": other }))
            .await
            .refused(403, "escalation");
    }
    patch_as(&api, &ada, &strong, json!({ "role_ids": [reader] }))
        .await
        .refused(403, "escalation");
    delete_as(&api, &ada, &strong).await.refused(403, "escalation");
    patch_as(&api, &ada, &strong, json!({ "name": "Strong" }))
        .await
        .expect(200);
    let weak = format!("{path}/{}", text(&account, "id"));
    delete_as(&api, &ada, &weak).await.expect(204);
    create(owner.clone(), json!([owners]))
        .await
        .refused(403, "escalation");
    create(owner, json!([admins])).await.expect(201);
}

#[tokio::test]
async fn s27_a_platform_permission_in_a_tenants_role_grants_a_machine_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let role = own_role(&api, "acme", "platform", &["tenants:read", "users:read"]).await;
    let account = api
        .post_as(
            &owner,
            "/v1/service-accounts",
            json!({ "name": "a", "role_ids": [role] }),
        )
        .await
        .expect(201);
    let body = json!({ "name": "k", "environment": "live", "scopes": ["tenants:read"],
                       "owner": { "type": "service_account", "id": account["id"] } });
    let refused = api
        .post_as(&owner, "/v1/api-keys", body)
        .await
        .refused(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/scopes/0");
}

#[tokio::test]
async fn s25_another_tenants_roles_and_accounts_are_none() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let (_, other) = api.tenant(&admin, "globex").await;
    let foreign_role = own_role(&api, "globex", "reader", &["users:read"]).await;
    let foreign = api
        .post_as(&other, "/v1/service-accounts", json!({ "name": "theirs" }))
        .await
        .expect(201);
    let foreign: Uuid = text(&foreign, "id").parse().unwrap();
    let mut answers = Vec::new();
    for (account, role) in [(foreign, foreign_role), (nobodys(), nobodys())] {
        let path = format!("/v1/service-accounts/{account}");
        let key = json!({ "name": "k", "environment": "live", "scopes": [],
                          "owner": { "type": "service_account", "id": account } });
        let seen = [
            api.get_as(&owner, &path).await,
            patch_as(&api, &owner, &path, json!({ "name": "mine" })).await,
            delete_as(&api, &owner, &path).await,
            api.post_as(
                &owner,
                "/v1/service-accounts",
                json!({ "name": "a", "role_ids": [role] }),
            )
            .await,
            api.post_as(&owner, "/v1/api-keys", key).await,
            api.get_as(
                &owner,
                &format!("/v1/api-keys?owner_type=service_account&owner_id={account}"),
            )
            .await,
        ];
        let plain = seen.map(|answer| {
            let mut body = answer.json();
            if let Some(body) = body.as_object_mut() {
                body.remove("request_id");
            }
            (answer.status, body)
        });
        answers.push(plain);
    }
    assert_eq!(answers[0], answers[1]);
    let statuses: Vec<u16> = answers[0].iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(statuses, [404, 404, 404, 422, 422, 200]);
}
