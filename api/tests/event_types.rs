//! The catalogue of event types: what it says of the built-in ones is what is sent, and tenants add to it.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use latchkey_testing::TestBed;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, ndjson, text},
};

const PATH: &str = "/v1/webhooks/event-types";

async fn owner(api: &Api) -> String {
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await.1
}

async fn list(api: &Api, token: &str) -> Vec<Value> {
    pages(api, token, "").await.concat()
}

async fn pages(api: &Api, token: &str, limit: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut query) = (Vec::new(), format!("?{limit}"));
    loop {
        let page = api.get_as(token, &format!("{PATH}{query}")).await.expect(200);
        pages.push(page["data"].as_array().unwrap().clone());
        assert_eq!(page["has_more"], page["next_cursor"].is_string());
        let Some(cursor) = page["next_cursor"].as_str() else {
            return pages;
        };
        query = format!("?{limit}&cursor={cursor}");
    }
}

async fn own(api: &Api, token: &str) -> Vec<Value> {
    let mut all = list(api, token).await;
    let built_in = all.iter().position(|listed| listed["custom"] == true);
    all.split_off(built_in.unwrap_or(all.len()))
}

async fn change(api: &Api, token: &str, method: Method, name: &str, body: Option<Value>) -> Answer {
    let mut request = api.request(method, &format!("{PATH}/{name}")).bearer_auth(token);
    if let Some(body) = body {
        request = request.json(&body);
    }
    Api::send(request).await
}

fn validator(schema: &Value) -> Validator {
    assert!(jsonschema::draft202012::meta::is_valid(schema), "{schema}");
    jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .unwrap()
}

fn faults(schema: &Validator, body: &Value) -> Vec<String> {
    let fault = |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path());
    schema.iter_errors(body).map(fault).collect()
}

/// The pointer of every field in the value, those of `data`'s fields among them.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, field) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        found.push(at.clone());
        pointers(field, &at, found);
    }
}

/// The value without the field that the pointer names.
fn without(value: &Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut value = value.clone();
    let parent = value.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.remove(name).unwrap();
    value
}

/// The value with something in the field's place that no field is.
fn spoilt(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(pointer).unwrap() = json!([{}]);
    value
}

#[tokio::test]
async fn every_built_in_type_has_a_schema_that_its_example_fits_field_by_field() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let listed = list(&api, &owner).await;
    assert!(listed.len() >= 23, "{listed:?}");
    for event_type in &listed {
        let (name, example) = (text(event_type, "name"), &event_type["example"]);
        assert_eq!(event_type["custom"], false, "{name}");
        assert!(text(event_type, "description").ends_with('.'), "{name}");
        let schema = validator(&event_type["schema"]);
        assert_eq!(faults(&schema, example), Vec::<String>::new(), "{name}");
        assert_eq!(example["type"], name);
        let mut fields = Vec::new();
        pointers(example, "", &mut fields);
        assert!(fields.len() >= 5, "{name}: {fields:?}");
        for field in fields {
            assert!(
                !schema.is_valid(&without(example, &field)),
                "{name} without {field}"
            );
            assert!(
                !schema.is_valid(&spoilt(example, &field)),
                "{name} with another {field}"
            );
        }
    }
}

/// Somebody of acme, who has much happen there.
struct Caller<'a> {
    api: &'a Api,
    token: &'a str,
}

impl Caller<'_> {
    async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.api.request(method, path).bearer_auth(self.token);
        let answer = Api::send(request.header(header::IF_MATCH, "\"1\"").json(&body)).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        serde_json::from_str(&answer.text).unwrap_or_default()
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Value {
        self.send(Method::PATCH, path, body).await
    }

    async fn delete(&self, path: &str) {
        self.send(Method::DELETE, path, json!({})).await;
    }

    async fn endpoint(&self) {
        let body = json!({ "url": "https://hooks.example.com/a" });
        let made = self.post("/v1/webhooks/endpoints", body).await;
        let path = format!("/v1/webhooks/endpoints/{}", text(&made["endpoint"], "id"));
        self.post(&format!("{path}/test"), json!({})).await;
        self.patch(&path, json!({ "enabled": false })).await;
    }

    async fn users(&self) {
        let found = self.api.get_as(self.token, "/v1/users?email=ada@example.com");
        let ada = format!("/v1/users/{}", text(&found.await.expect(200)["data"][0], "id"));
        let roles = self.api.get_as(self.token, "/v1/roles").await.expect(200);
        let mut roles = roles["data"].as_array().unwrap().iter();
        let admin = text(roles.find(|role| role["name"] == "admin").unwrap(), "id");
        self.post(&format!("{ada}/roles"), json!({ "role_id": admin }))
            .await;
        self.delete(&format!("{ada}/roles/{admin}")).await;
        self.patch(&ada, json!({ "external_id": "7" })).await;
        self.post(&format!("{ada}/disable"), json!({})).await;
        self.post(&format!("{ada}/enable"), json!({})).await;
        // Another one goes, or nothing would be left of what was said of her.
        let made = self
            .post("/v1/users", json!({ "email": "made@example.com" }))
            .await;
        self.delete(&format!("/v1/users/{}", text(&made, "id"))).await;
        let import = self.api.request(Method::POST, "/v1/users/import");
        let import = import
            .bearer_auth(self.token)
            .header(header::CONTENT_TYPE, "application/x-ndjson");
        let import = import.body(ndjson([json!({ "email": "imported@example.com" })]));
        assert_eq!(Api::send(import).await.status, 200);
    }

    /// One of the owner's, and one of a machine that is deleted.
    async fn keys(&self) {
        let key = json!({
            "name": "k", "environment": "live", "scopes": ["users:read"], "allowed_cidrs": ["203.0.113.0/24"],
            "rate_limit": { "limit": 5, "window_seconds": 60 },
        });
        let key = text(&self.post("/v1/api-keys", key).await["api_key"], "id");
        let rotated = self.post(&format!("/v1/api-keys/{key}/rotate"), json!({})).await;
        let rotated = text(&rotated["api_key"], "id");
        self.delete(&format!("/v1/api-keys/{rotated}")).await;
        let machine = self.post("/v1/service-accounts", json!({ "name": "m" })).await;
        let machine = text(&machine, "id");
        let key = json!({
            "name": "m", "environment": "test", "scopes": [],
            "owner": { "type": "service_account", "id": machine },
        });
        self.post("/v1/api-keys", key).await;
        self.delete(&format!("/v1/service-accounts/{machine}")).await;
    }
}

/// Registers, proves the address, signs in, changes name and password, signs out and resets the password.
async fn user(api: &Api) {
    api.user("acme", "ada@example.com").await;
    let token = text(&api.login("acme", "ada@example.com").await, "access_token");
    let ada = Caller { api, token: &token };
    ada.patch("/v1/auth/me", json!({ "name": "Ada" })).await;
    let passwords = json!({ "current_password": PASSWORD, "new_password": "another long password" });
    ada.post("/v1/auth/password/change", passwords).await;
    ada.post("/v1/auth/logout", json!({})).await;
    let forgotten = json!({ "email": "ada@example.com" });
    api.post("acme", "/v1/auth/password/forgot", forgotten)
        .await
        .expect(202);
    let token = api.mailed_token("ada@example.com").await;
    let body = json!({ "token": token, "new_password": "yet another long password" });
    let reset = api.post("acme", "/v1/auth/password/reset", body).await;
    assert!(reset.status.is_success(), "{reset:?}");
}

/// Sets a second factor up, takes it away again, and is locked.
async fn guarded_user(bed: &TestBed, api: &Api) {
    let email = "grace@example.com";
    api.user("acme", email).await;
    let login = api.login("acme", email).await;
    let token = text(&login, "access_token");
    let grace = Caller { api, token: &token };
    let setup = json!({ "password": PASSWORD });
    let secret = text(&grace.post("/v1/mfa/totp/setup", setup).await, "secret");
    let code = || pyotp(&secret, bed.context.clock.now());
    grace
        .post("/v1/mfa/totp/confirm", json!({ "code": code() }))
        .await;
    // A code works once, and the token is to say that both factors were proven.
    bed.clock.advance(chrono::TimeDelta::seconds(30));
    let refreshed = api.refresh(&text(&login, "refresh_token")).await.expect(200);
    let token = text(&refreshed, "access_token");
    let grace = Caller { api, token: &token };
    let both = json!({ "password": PASSWORD, "code": code() });
    grace.post("/v1/mfa/totp/disable", both).await;
    let wrong = json!({ "email": email, "password": "not her password" });
    for _ in 0..5 {
        api.post("acme", "/v1/auth/login", wrong.clone())
            .await
            .refused(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn what_is_emitted_fits_the_schema_that_is_published() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    let schemas: BTreeMap<String, Validator> = list(&api, &owner)
        .await
        .iter()
        .map(|listed| (text(listed, "name"), validator(&listed["schema"])))
        .collect();
    user(&api).await;
    guarded_user(&bed, &api).await;
    let owner = Caller {
        api: &api,
        token: &owner,
    };
    owner.endpoint().await;
    owner.users().await;
    owner.keys().await;
    for step in ["suspend", "activate"] {
        let path = format!("/v1/tenants/{acme}/{step}");
        api.post_as(&admin, &path, json!({})).await.expect(204);
    }

    let bodies = api
        .scalar_text("SELECT json_agg(body::json) FROM events WHERE body::json #>> '{data,erased}' IS NULL")
        .await;
    let bodies: Vec<Value> = serde_json::from_str(&bodies).unwrap();
    let mut seen = BTreeSet::new();
    for body in &bodies {
        let name = text(body, "type");
        let faults = faults(&schemas[&name], body);
        assert!(faults.is_empty(), "{faults:#?}: {body:#}");
        seen.insert(name);
    }
    let unseen: Vec<&String> = schemas.keys().filter(|name| !seen.contains(*name)).collect();
    assert_eq!(unseen, ["api_key.expiring"], "that one is the worker's");
}

#[tokio::test]
async fn a_tenants_own_type_is_declared_changed_and_deleted_and_each_is_audited() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let built_in = list(&api, &owner).await;
    let declared = json!({
        "name": "invoice.paid", "description": "An invoice was paid.",
        "schema": { "type": "object" }, "example": { "type": "invoice.paid", "data": { "number": 7 } },
    });
    let created = api.post_as(&owner, PATH, declared.clone()).await;
    assert_eq!(created.headers["location"], format!("{PATH}/invoice.paid"));
    let mut expected = declared.clone();
    expected["custom"] = json!(true);
    assert_eq!(created.expect(201), expected);
    let sparse = json!({ "name": "a.first", "description": "Little." });
    let sparse = api.post_as(&owner, PATH, sparse).await.expect(201);
    assert_eq!(
        (&sparse["schema"], &sparse["example"]),
        (&Value::Null, &Value::Null)
    );
    let mut all = built_in;
    all.extend([sparse, expected.clone()]);
    assert_eq!(
        list(&api, &owner).await,
        all,
        "the tenant's own after ours, newest first"
    );
    let pages = pages(&api, &owner, "limit=2").await;
    assert!(pages.iter().rev().skip(1).all(|page| page.len() == 2));
    assert_eq!(pages.concat(), all);
    let first = api.get_as(&owner, PATH).await.expect(200);
    assert_eq!(first["data"], json!(all), "one page of it, where no limit is set");

    let patch = json!({ "description": "Somebody paid.", "schema": null });
    let patched = change(&api, &owner, Method::PATCH, "invoice.paid", Some(patch.clone())).await;
    expected["description"] = json!("Somebody paid.");
    expected["schema"] = Value::Null;
    assert_eq!(patched.expect(200), expected);
    // Once more, and nothing changes.
    let patched = change(&api, &owner, Method::PATCH, "invoice.paid", Some(patch)).await;
    assert_eq!(patched.expect(200), expected);
    assert_eq!(own(&api, &owner).await[1], expected);

    let delete = || change(&api, &owner, Method::DELETE, "invoice.paid", None);
    delete().await.expect(204);
    delete().await.refused(404, "not_found");
    assert_eq!(own(&api, &owner).await.len(), 1);
    // It documented, and that is all.
    let event = json!({ "type": "invoice.paid", "payload": {} });
    api.post_as(&owner, "/v1/webhooks/events", event)
        .await
        .expect(202);

    let audited = "SELECT string_agg(action || ' ' || detail::text, E'\\n' ORDER BY id) FROM audit_events
        WHERE target_kind = 'event_type' AND detail::text LIKE '%invoice.paid%'";
    let audited = api.scalar_text(audited).await;
    let actions: Vec<&str> = audited
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    assert_eq!(
        actions,
        ["event_type.create", "event_type.update", "event_type.delete"]
    );
    assert!(
        audited.contains(r#""schema_changed": true"#) && audited.contains(r#""example_changed": false"#),
        "{audited}"
    );
}

#[tokio::test]
async fn a_declaration_is_refused_by_its_field() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    let declare = |body: Value| {
        let (api, owner) = (&api, &owner);
        async move { api.post_as(owner, PATH, body).await }
    };
    for name in [
        "user.exploded",
        "webhook.test",
        "api_key.x",
        "Invoice.paid",
        "invoice",
        "a..b",
    ] {
        let problem = declare(json!({ "name": name, "description": "x" })).await;
        let problem = problem.refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/name", "{name}");
    }
    let large = json!({ "x": "x".repeat(16 * 1024) });
    for (field, value) in [
        ("schema", large.clone()),
        ("example", large),
        ("schema", json!(true)),
        ("example", json!([])),
        ("description", json!("two\nlines")),
        ("description", json!("")),
    ] {
        let mut body = json!({ "name": "a.b", "description": "x" });
        body[field] = value.clone();
        let problem = declare(body).await.refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{problem}");
        declare(json!({ "name": "a.c", "description": "x" })).await;
        let problem = change(&api, &owner, Method::PATCH, "a.c", Some(json!({ field: value }))).await;
        let problem = problem.refused(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{problem}");
    }
    let twice = json!({ "name": "a.b", "description": "x" });
    declare(twice.clone()).await.expect(201);
    declare(twice).await.refused(409, "name_taken");
    for method in [Method::PATCH, Method::DELETE] {
        let body = (method == Method::PATCH).then(|| json!({ "description": "ours" }));
        change(&api, &owner, method.clone(), "user.registered", body.clone())
            .await
            .refused(409, "built_in");
        change(&api, &owner, method, "no.such", body)
            .await
            .refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_tenant_declares_two_hundred_types_at_most() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let owner = owner(&api).await;
    api.execute(
        "INSERT INTO event_types (id, tenant_id, name, description, created_at, updated_at)
         SELECT gen_random_uuid(), t.id, 'a.n' || n, 'x', now(), now()
         FROM tenants t, generate_series(1, 199) n WHERE t.slug = 'acme'",
    )
    .await;
    let declare = |name: &str| api.post_as(&owner, PATH, json!({ "name": name, "description": "x" }));
    declare("a.last").await.expect(201);
    declare("a.more").await.refused(409, "limit_reached");
    assert_eq!(own(&api, &owner).await.len(), 200);
}

#[tokio::test]
async fn a_tenant_neither_sees_nor_changes_anothers_types() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, acme) = api.tenant(&admin, "acme").await;
    let (_, globex) = api.tenant(&admin, "globex").await;
    let declared = json!({ "name": "invoice.paid", "description": "Acme's." });
    api.post_as(&acme, PATH, declared).await.expect(201);
    assert_eq!(own(&api, &globex).await, Vec::<Value>::new());
    let body = Some(json!({ "description": "ours" }));
    change(&api, &globex, Method::PATCH, "invoice.paid", body)
        .await
        .refused(404, "not_found");
    change(&api, &globex, Method::DELETE, "invoice.paid", None)
        .await
        .refused(404, "not_found");
    // The same name is another tenant's as well.
    let declared = json!({ "name": "invoice.paid", "description": "Globex's." });
    api.post_as(&globex, PATH, declared).await.expect(201);
    change(&api, &globex, Method::DELETE, "invoice.paid", None)
        .await
        .expect(204);
    assert_eq!(own(&api, &acme).await[0]["description"], "Acme's.");
}
