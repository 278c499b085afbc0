//! Which tenant a request is served in, and that it sees no other.

use latchkey_testing::TestBed;
use reqwest::Method;
use sea_orm::{ConnectionTrait, Database, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    isolation::{TenantTable, furnish, tenant_tables},
    support::{Answer, Api, PASSWORD, text},
};

async fn login(api: &Api, header: Option<&str>, host: Option<&str>) -> Answer {
    let body = json!({ "email": "ada@example.com", "password": PASSWORD });
    let mut request = api.request(Method::POST, "/v1/auth/login").json(&body);
    if let Some(header) = header {
        request = request.header("x-tenant-id", header);
    }
    if let Some(host) = host {
        request = request.header("host", host);
    }
    Api::send(request).await
}

async fn two_tenants(api: &Api) -> (Uuid, Uuid) {
    let admin = api.admin().await;
    let (acme, _) = api.tenant(&admin, "acme").await;
    let (globex, _) = api.tenant(&admin, "globex").await;
    api.user("acme", "ada@example.com").await;
    (acme, globex)
}

#[tokio::test]
async fn a_tenant_is_found_by_id_slug_subdomain_or_proven_domain() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (acme, globex) = two_tenants(&api).await;
    let domain = |id: Uuid, tenant: Uuid, name: &str, verified: &str| {
        format!(
            "INSERT INTO tenant_domains (id, tenant_id, domain, verification, verified_at, created_at) VALUES ('{id}', '{tenant}', '{name}', '{id}', {verified}, now())"
        )
    };
    api.execute(&domain(Uuid::from_u128(1), acme, "id.acme.com", "now()"))
        .await;
    api.execute(&domain(Uuid::from_u128(2), globex, "id.acme.com", "NULL"))
        .await;
    api.execute(&domain(Uuid::from_u128(3), acme, "unproven.acme.com", "NULL"))
        .await;

    for (header, host) in [
        (Some(acme.to_string()), None),
        (Some("acme".to_owned()), None),
        (None, Some("acme.example.test:8080")),
        (None, Some("id.acme.com")),
        (Some("acme".to_owned()), Some("acme.example.test")),
    ] {
        login(&api, header.as_deref(), host).await.expect(200);
    }
    login(&api, None, Some("unproven.acme.com"))
        .await
        .refused(400, "tenant_required");
}

#[tokio::test]
async fn a_missing_unknown_or_contradictory_tenant_is_a_problem_of_its_own() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    two_tenants(&api).await;
    login(&api, None, None).await.refused(400, "tenant_required");
    login(&api, Some("nobody"), None)
        .await
        .refused(404, "tenant_not_found");
    login(&api, None, Some("nobody.example.test"))
        .await
        .refused(404, "tenant_not_found");
    login(&api, Some("acme"), Some("globex.example.test"))
        .await
        .refused(400, "tenant_conflict");
}

#[tokio::test]
async fn the_configured_default_serves_only_who_names_none() {
    let bed = TestBed::with(&[("tenancy.default_tenant", "acme")]).await;
    let api = Api::start(&bed).await;
    two_tenants(&api).await;
    login(&api, None, None).await.expect(200);
    login(&api, Some("globex"), None)
        .await
        .refused(401, "invalid_credentials");
    login(&api, Some("nobody"), None)
        .await
        .refused(404, "tenant_not_found");
}

#[tokio::test]
async fn after_sign_in_a_request_that_names_another_tenant_is_refused() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    two_tenants(&api).await;
    let token = text(&api.login("acme", "ada@example.com").await, "access_token");
    let me = |tenant: &str| {
        api.request(Method::GET, "/v1/auth/me")
            .bearer_auth(&token)
            .header("x-tenant-id", tenant)
    };
    Api::send(me("acme")).await.expect(200);
    Api::send(me("globex")).await.refused(403, "tenant_mismatch");
}

#[tokio::test]
async fn s25_a_token_in_a_body_is_none_where_the_request_names_another_tenant() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    two_tenants(&api).await;
    let login = api.login("acme", "ada@example.com").await;
    let body = json!({ "email": "bob@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    let mailed = json!({ "token": api.mailed_token("bob@example.com").await });
    let refresh = json!({ "refresh_token": login["refresh_token"] });
    let there = |name: &str, value: &str, path: &str, body: &Value| {
        let request = api.request(Method::POST, path).header(name, value);
        Api::send(request.json(body))
    };
    for (name, value) in [
        ("x-tenant-id", "globex"),
        ("x-tenant-id", "nobody"),
        ("host", "globex.example.test"),
    ] {
        there(name, value, "/v1/auth/refresh", &refresh)
            .await
            .refused(401, "invalid_refresh_token");
        there(name, value, "/v1/auth/email/verify", &mailed)
            .await
            .refused(400, "invalid_token");
    }
    // It was not used up by that, nor taken for stolen.
    there("x-tenant-id", "acme", "/v1/auth/refresh", &refresh)
        .await
        .expect(200);
    there("host", "acme.example.test", "/v1/auth/email/verify", &mailed)
        .await
        .expect(200);
}

#[tokio::test]
async fn a_suspended_tenant_lets_nobody_in() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    two_tenants(&api).await;
    api.execute("UPDATE tenants SET status = 'suspended' WHERE slug = 'acme'")
        .await;
    // A process that has not seen the tenant yet: nothing tells the other one of a change made by hand.
    let api = Api::start_another(&bed).await;
    login(&api, Some("acme"), None)
        .await
        .refused(403, "tenant_suspended");
}

#[tokio::test]
async fn s25_another_tenants_ids_answer_as_absent_ones() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, acme) = api.tenant(&admin, "acme").await;
    let (_, globex) = api.tenant(&admin, "globex").await;
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook" });
    let endpoint = api
        .post_as(&acme, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    let event = json!({ "type": "invoice.paid", "payload": {} });
    let event = api.post_as(&acme, "/v1/webhooks/events", event).await.expect(202);
    let deliveries = api.get_as(&acme, "/v1/webhooks/deliveries").await.expect(200);
    let endpoint = text(&endpoint["endpoint"], "id");
    let delivery = text(&deliveries["data"][0], "id");
    let paths = [
        format!("/v1/webhooks/endpoints/{endpoint}"),
        format!("/v1/webhooks/endpoints/{endpoint}/attempts"),
        format!("/v1/webhooks/events/{}", text(&event, "event_id")),
        format!("/v1/webhooks/deliveries/{delivery}"),
        format!("/v1/webhooks/deliveries/{delivery}/attempts"),
    ];
    let without_id = |answer: Answer| {
        let mut problem: Value = answer.refused(404, "not_found");
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    for path in paths {
        api.get_as(&acme, &path).await.expect(200);
        let absent = path
            .replace(&endpoint, &Uuid::nil().to_string())
            .replace(&delivery, &Uuid::nil().to_string());
        let absent = if absent == path {
            format!("/v1/webhooks/events/{}", Uuid::nil())
        } else {
            absent
        };
        let foreign = without_id(api.get_as(&globex, &path).await);
        assert_eq!(foreign, without_id(api.get_as(&globex, &absent).await), "{path}");
    }
    let filter = format!("/v1/webhooks/deliveries?endpoint_id={endpoint}");
    assert_eq!(api.get_as(&globex, &filter).await.expect(200)["data"], json!([]));
    for method in [Method::PATCH, Method::DELETE] {
        let request = api
            .request(method, &format!("/v1/webhooks/endpoints/{endpoint}"))
            .bearer_auth(&globex);
        Api::send(request.json(&json!({ "enabled": false })))
            .await
            .refused(404, "not_found");
    }
}

#[tokio::test]
async fn s26_no_row_is_moved_to_another_tenant_or_changed_or_deleted_by_one() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (acme, globex) = furnish(&api).await;
    let db = Database::connect(bed.app_url()).await.unwrap();
    let write = async |tenant: Uuid, sql: String| {
        let tx = db.begin().await.unwrap();
        let state = format!("SELECT set_config('latchkey.tenant_id', '{tenant}', true)");
        tx.execute_unprepared(&state).await.unwrap();
        let written = tx.execute_unprepared(&sql).await;
        tx.rollback().await.unwrap();
        written
            .map(|done| done.rows_affected())
            .map_err(|error| error.to_string())
    };
    for TenantTable { name, column } in tenant_tables(&db).await {
        let take = format!("UPDATE {name} SET {column} = '{globex}' WHERE {column} = '{acme}'");
        let delete = format!("DELETE FROM {name} WHERE {column} = '{acme}'");
        // The rows are there, and acme cannot give one away.
        let given = write(acme, take.clone()).await.unwrap_err();
        assert!(
            given.contains("row-level security") || given.contains("permission denied"),
            "{name}: {given}"
        );
        for foreign in [take, delete] {
            match write(globex, foreign).await {
                Ok(rows) => assert_eq!(rows, 0, "{name}: another tenant's rows"),
                Err(refused) => assert!(refused.contains("permission denied"), "{name}: {refused}"),
            }
        }
    }
}

#[tokio::test]
async fn s27_an_owner_outside_the_platform_manages_no_tenants() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    api.get_as(&owner, "/v1/tenants").await.refused(403, "forbidden");
    api.post_as(&owner, "/v1/tenants", json!({ "slug": "evil", "name": "Evil" }))
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn tenants_are_listed_newest_first_page_by_page() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    for slug in ["one", "two", "three"] {
        api.post_as(&admin, "/v1/tenants", json!({ "slug": slug, "name": slug }))
            .await
            .expect(201);
    }
    let first = api.get_as(&admin, "/v1/tenants?limit=3").await.expect(200);
    let slugs = |page: &Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| text(t, "slug"))
            .collect()
    };
    assert_eq!(slugs(&first), ["three", "two", "one"]);
    assert_eq!(first["has_more"], true);
    let next = api
        .get_as(
            &admin,
            &format!("/v1/tenants?limit=3&cursor={}", text(&first, "next_cursor")),
        )
        .await;
    let next = next.expect(200);
    assert_eq!(
        (slugs(&next), &next["has_more"], &next["next_cursor"]),
        (vec!["platform".to_owned()], &json!(false), &Value::Null)
    );
    api.get_as(&admin, "/v1/tenants?cursor=nonsense")
        .await
        .refused(400, "invalid_cursor");
    let problem = api
        .get_as(&admin, "/v1/tenants?limit=0")
        .await
        .refused(400, "invalid_parameter");
    assert_eq!(problem["errors"][0]["pointer"], "/query/limit");
}

#[tokio::test]
async fn of_two_headers_that_name_a_tenant_neither_is_believed() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    two_tenants(&api).await;
    let request = api
        .request(Method::POST, "/v1/auth/login")
        .header("x-tenant-id", "acme")
        .header("x-tenant-id", "globex")
        .json(&json!({ "email": "ada@example.com", "password": PASSWORD }));
    Api::send(request).await.refused(400, "invalid_parameter");
}
