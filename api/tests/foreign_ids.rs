//! Another tenant's ids, in every path, query and body of the document: they answer as ids of nothing.

use latchkey_testing::TestBed;
use reqwest::header;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    document::{Operation, operations},
    isolation::{furnish, tenant_tables},
    support::{Answer, Api, text},
    users::made,
};

/// A body that the operation takes, so that nothing but the id stands in its way: where the path names something.
fn valid_body(operation: &str) -> Option<Value> {
    let body = match operation {
        "assignRole" => json!({ "role_id": Uuid::nil() }),
        "previewMailTemplate" | "rotateApiKey" | "rotateWebhookSecret" => json!({}),
        "recoverWebhookEndpoint" => json!({ "since": "2020-01-01T00:00:00Z" }),
        "setMailTemplate" => json!({ "subject": "a", "text": "b", "html": "c" }),
        "updateApiKey" | "updateRole" | "updateServiceAccount" | "updateTenant" | "updateUser" => {
            json!({ "name": "Ours now" })
        }
        "updateEventType" | "updateWebhookEndpoint" => json!({ "description": "ours now" }),
        _ => return None,
    };
    Some(body)
}

/// Bodies that name something by its id.
fn bodies_with(operation: &str, id: Uuid) -> Vec<Value> {
    let owned_by = |kind: &str| json!({ "type": kind, "id": id });
    match operation {
        "assignRole" => vec![json!({ "role_id": id })],
        "checkAuthorization" => vec![
            json!({ "permission": "users:read", "user_id": id }),
            json!({ "checks": [{ "permission": "users:read", "user_id": id }] }),
        ],
        "createApiKey" => {
            let new =
                |kind| json!({ "name": "k", "environment": "live", "scopes": [], "owner": owned_by(kind) });
            vec![new("user"), new("service_account")]
        }
        "createInvitation" => vec![json!({ "email": "new@example.com", "role_ids": [id] })],
        "createServiceAccount" => vec![json!({ "name": "machine", "role_ids": [id] })],
        "updateServiceAccount" => vec![json!({ "role_ids": [id] })],
        "createUser" => {
            vec![
                json!({ "email": "new@example.com", "password": crate::support::PASSWORD, "role_ids": [id] }),
            ]
        }
        "revokeApiKeys" => vec![
            json!({ "ids": [id] }),
            json!({ "owner": owned_by("user") }),
            json!({ "owner": owned_by("service_account") }),
        ],
        _ => Vec::new(),
    }
}

/// How a path that names nothing is answered.
fn absent_in_path(operation: &str) -> u16 {
    match operation {
        // Tenants are the platform's: whoever may not read them is told so before one is looked for.
        "activateTenant" | "deleteTenant" | "getTenant" | "getTenantUsage" | "suspendTenant"
        | "updateTenant" => 403,
        _ => 404,
    }
}

/// How each of [`bodies_with`] is answered where the id is of nothing.
fn absent_in_bodies(operation: &str) -> &'static [u16] {
    match operation {
        "assignRole"
        | "createInvitation"
        | "createServiceAccount"
        | "createUser"
        | "updateServiceAccount" => &[422],
        // Who is not there may do nothing.
        "checkAuthorization" => &[200, 200],
        // A key acts for no user but the caller, whoever else there is.
        "createApiKey" => &[403, 422],
        // None is revoked.
        "revokeApiKeys" => &[200, 200, 200],
        _ => &[],
    }
}

/// Every id there is in the tenant, whatever of.
async fn ids_of(db: &DatabaseConnection, tenant: Uuid) -> Vec<Uuid> {
    let all = everything(db).await;
    let columns = "SELECT table_name::text AS name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name = 'id' AND data_type = 'uuid'";
    let tables = all
        .query_all_raw(Statement::from_string(DbBackend::Postgres, columns))
        .await
        .unwrap();
    let tables: Vec<String> = tables
        .iter()
        .map(|row| row.try_get("", "name").unwrap())
        .collect();
    let mut ids = vec![tenant];
    for table in tenant_tables(db).await {
        if tables.contains(&table.name) {
            let sql = format!(
                "SELECT id FROM {} WHERE {} = '{tenant}' LIMIT 5",
                table.name, table.column
            );
            let rows = all
                .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
                .await
                .unwrap();
            ids.extend(rows.iter().map(|row| row.try_get::<Uuid>("", "id").unwrap()));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// All rows of a tenant, as one text for each table.
async fn rows_of(db: &DatabaseConnection, tenant: Uuid) -> Vec<String> {
    let all = everything(db).await;
    let mut found = Vec::new();
    for table in tenant_tables(db).await {
        let (name, column) = (&table.name, table.column);
        let sql = format!(
            "SELECT string_agg(t::text, ' ' ORDER BY t::text) AS rows FROM {name} t WHERE {column} = '{tenant}'"
        );
        let row = all
            .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
            .await
            .unwrap()
            .unwrap();
        let rows: Option<String> = row.try_get("", "rows").unwrap();
        found.push(format!("{name}: {}", rows.unwrap_or_default()));
    }
    found
}

async fn everything(db: &DatabaseConnection) -> sea_orm::DatabaseTransaction {
    let all = db.begin().await.unwrap();
    all.execute_unprepared("SELECT set_config('latchkey.scope', 'cross_tenant', true)")
        .await
        .unwrap();
    all
}

/// What is left of an answer without the request's own id, and without the id that was asked for.
fn compared(answers: &[Answer], asked: Uuid) -> Vec<(u16, String)> {
    let compared = |answer: &Answer| {
        let request_id = answer.headers["x-request-id"].to_str().unwrap();
        let text = answer
            .text
            .replace(request_id, "")
            .replace(&asked.to_string(), "");
        (answer.status.as_u16(), text)
    };
    answers.iter().map(compared).collect()
}

/// Whether a list, or an export, holds nothing.
fn is_empty(text: &str) -> bool {
    text.is_empty() || serde_json::from_str::<Value>(text).is_ok_and(|page| page["data"] == json!([]))
}

struct Probe<'a> {
    api: &'a Api,
    token: &'a str,
    operation: &'a Operation,
}

impl Probe<'_> {
    async fn send(&self, path: &str, body: Option<Value>) -> Answer {
        let mut request = self
            .api
            .request(self.operation.method.clone(), path)
            .bearer_auth(self.token)
            .header(header::IF_MATCH, "\"1\"");
        if let Some(body) = body {
            request = request.json(&body);
        }
        Api::send(request).await
    }

    /// Where the path names two things, with one of the caller's own before it as well.
    async fn by_path(&self, own: Uuid, id: Uuid) -> Vec<Answer> {
        let all = self.operation.path_with(|_| id.to_string());
        let last = self
            .operation
            .path_with(|name| if name == "id" { own } else { id }.to_string());
        let mut answers = vec![self.send(&all, valid_body(&self.operation.id)).await];
        if self.operation.path.matches('{').count() > 1 {
            answers.push(self.send(&last, valid_body(&self.operation.id)).await);
        }
        answers
    }

    async fn by_query(&self, name: &str, id: Uuid) -> Vec<Answer> {
        let path = self.operation.path_with(|_| Uuid::nil().to_string());
        let more: &[&str] = match &*self.operation.id {
            // An owner's id is looked for only with its type.
            "listApiKeys" => &["&owner_type=user", "&owner_type=service_account"],
            _ => &[""],
        };
        let mut answers = Vec::new();
        for more in more {
            answers.push(self.send(&format!("{path}?{name}={id}{more}"), None).await);
        }
        answers
    }

    async fn by_body(&self, own: Uuid, id: Uuid) -> Vec<Answer> {
        let path = self.operation.path_with(|_| own.to_string());
        let mut answers = Vec::new();
        for body in bodies_with(&self.operation.id, id) {
            answers.push(self.send(&path, Some(body)).await);
        }
        answers
    }
}

#[test]
fn s25_every_body_that_an_id_leads_to_is_known() {
    for operation in operations().iter().filter(|operation| operation.secured) {
        let Some((media, schema)) = &operation.body else {
            continue;
        };
        let takes_id = schema.to_string().contains(r#""format":"uuid""#);
        if takes_id {
            assert!(
                !bodies_with(&operation.id, Uuid::nil()).is_empty(),
                "{}: a body with an id",
                operation.id
            );
        }
        if operation.has_parameters() && media == "application/json" {
            assert!(
                valid_body(&operation.id).is_some(),
                "{}: a body that it takes",
                operation.id
            );
        }
    }
}

#[tokio::test]
async fn s25_every_id_of_another_tenant_answers_as_one_of_nothing() {
    // Each id is tried in operations that send mails.
    let bed = TestBed::with(&[("limits.mail_per_account", "10000/60")]).await;
    let api = Api::start(&bed).await;
    let (acme, _) = furnish(&api).await;
    let token = text(&api.login("globex", "owner@globex.test").await, "access_token");
    let db = Database::connect(bed.app_url()).await.unwrap();
    let (ids, before) = (ids_of(&db, acme).await, rows_of(&db, acme).await);
    assert!(ids.len() > 20, "{ids:?}");

    // Somebody over whom the caller decides: nobody ends sessions of their own there.
    let own = made(&api, &token, "colleague@globex.test", &[]).await;
    let own: Uuid = own.parse().unwrap();
    let machine = api
        .post_as(&token, "/v1/service-accounts", json!({ "name": "ours" }))
        .await
        .expect(201);
    let machine: Uuid = text(&machine, "id").parse().unwrap();
    let mut faults = Vec::new();
    for operation in operations().iter().filter(|operation| operation.secured) {
        let probe = Probe {
            api: &api,
            token: &token,
            operation,
        };
        let own = if operation.path.contains("service-accounts") {
            machine
        } else {
            own
        };
        let nothing = Uuid::from_u128(0xfeed);
        let mut judge = |place: &str, id: Uuid, got: &[Answer], absent: &[(u16, String)]| {
            let got = compared(got, id);
            if got != absent {
                faults.push(format!("{} {place} {id}: {got:?}, not {absent:?}", operation.id));
            }
        };
        if operation.has_parameters() {
            let absent = compared(&probe.by_path(own, nothing).await, nothing);
            let expected = absent_in_path(&operation.id);
            assert!(
                absent.iter().all(|(status, _)| *status == expected),
                "{}, not {expected}: {absent:?}",
                operation.id
            );
            for id in &ids {
                judge("in its path", *id, &probe.by_path(own, *id).await, &absent);
            }
        }
        for name in &operation.id_queries {
            let absent = compared(&probe.by_query(name, nothing).await, nothing);
            assert!(
                absent
                    .iter()
                    .all(|(status, text)| *status == 200 && is_empty(text)),
                "{} finds something: {absent:?}",
                operation.id
            );
            for id in &ids {
                judge("in its query", *id, &probe.by_query(name, *id).await, &absent);
            }
        }
        let absent = compared(&probe.by_body(own, nothing).await, nothing);
        let statuses: Vec<u16> = absent.iter().map(|(status, _)| *status).collect();
        assert_eq!(
            statuses,
            absent_in_bodies(&operation.id),
            "{}: {absent:?}",
            operation.id
        );
        for id in &ids {
            judge("in its body", *id, &probe.by_body(own, *id).await, &absent);
        }
    }
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert_eq!(rows_of(&db, acme).await, before, "the other tenant's rows");
}
