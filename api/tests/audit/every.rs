//! Every operation that changes something leaves its row, and neither is there without the other.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use reqwest::{Method, header};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};

use super::{superuser, tamper};
use crate::{
    dns_server::DnsServer,
    document::{Operation, operations},
    roles::World,
    second_factor::pyotp,
    support::{Answer, Api, PASSWORD, text},
};

/// What an operation leaves in the trail.
#[derive(Clone, Copy, Debug)]
enum Trace {
    /// A row of this action.
    Row(&'static str),
    /// Nothing that is shown here, for this reason.
    Nothing(&'static str),
}

use Trace::{Nothing, Row};

/// Every operation that takes a credential and is no `GET`. Whoever adds one says what row it writes, or why none.
const TRACES: &[(&str, Trace)] = &[
    ("createApiKey", Row("api_key.create")),
    ("revokeApiKeys", Row("api_key.revoke")),
    ("verifyApiKey", Nothing("it reads")),
    ("revokeApiKey", Row("api_key.revoke")),
    ("updateApiKey", Row("api_key.update")),
    ("rotateApiKey", Row("api_key.rotate")),
    ("changeEmail", Row("user.request_email_change")),
    ("introspectToken", Nothing("it reads")),
    ("logout", Row("session.revoke")),
    ("logoutAll", Row("session.revoke")),
    ("deleteMe", Row("user.delete")),
    ("updateMe", Row("user.update")),
    ("changePassword", Row("user.change_password")),
    ("reauthenticate", Row("session.reauthenticate")),
    ("checkAuthorization", Nothing("it reads")),
    ("forgetDevice", Row("device.forget")),
    ("createInvitation", Row("invitation.create")),
    ("revokeInvitation", Row("invitation.revoke")),
    ("replaceRecoveryCodes", Row("mfa.replace_recovery_codes")),
    ("confirmTotp", Row("mfa.enable")),
    ("disableTotp", Row("mfa.disable")),
    ("setUpTotp", Row("mfa.set_up")),
    ("createPermission", Row("permission.create")),
    ("deletePermission", Row("permission.delete")),
    ("createRole", Row("role.create")),
    ("deleteRole", Row("role.delete")),
    ("updateRole", Row("role.update")),
    ("createServiceAccount", Row("service_account.create")),
    ("deleteServiceAccount", Row("service_account.delete")),
    ("updateServiceAccount", Row("service_account.update")),
    ("endSession", Row("session.revoke")),
    ("createDomain", Row("tenant.domain.create")),
    ("deleteDomain", Row("tenant.domain.delete")),
    ("verifyDomain", Row("tenant.domain.verify")),
    ("resetMailTemplate", Row("mail_template.reset")),
    ("setMailTemplate", Row("mail_template.set")),
    ("previewMailTemplate", Nothing("it reads")),
    ("updateTenantSettings", Row("tenant.settings.update")),
    ("createTenant", Row("tenant.create")),
    ("deleteTenant", Row("tenant.delete")),
    ("updateTenant", Row("tenant.update")),
    ("activateTenant", Row("tenant.activate")),
    ("suspendTenant", Row("tenant.suspend")),
    ("createUser", Row("user.create")),
    ("assignRole", Row("role.assign")),
    ("unassignRole", Row("role.unassign")),
    ("importUsers", Nothing("the tests of imports count its rows")),
    ("deleteUser", Row("user.delete")),
    ("updateUser", Row("user.update")),
    ("disableUser", Row("user.disable")),
    ("enableUser", Row("user.enable")),
    ("requireNewPassword", Row("user.require_new_password")),
    ("resetMfa", Row("user.reset_mfa")),
    ("endUserSessions", Row("session.revoke")),
    ("endUserSession", Row("session.revoke")),
    ("unlockUser", Row("user.unlock")),
    ("createWebhookEndpoint", Row("webhook_endpoint.create")),
    ("deleteWebhookEndpoint", Row("webhook_endpoint.delete")),
    ("updateWebhookEndpoint", Row("webhook_endpoint.update")),
    ("recoverWebhookEndpoint", Row("webhook_endpoint.recover")),
    ("rotateWebhookSecret", Row("webhook_endpoint.rotate_secret")),
    ("testWebhookEndpoint", Row("webhook_endpoint.test")),
    ("retryDelivery", Row("webhook_delivery.retry")),
    ("createEventType", Row("event_type.create")),
    ("deleteEventType", Row("event_type.delete")),
    ("updateEventType", Row("event_type.update")),
    ("publishEvent", Nothing("the event is kept itself")),
];

/// Rows of the actions in `failing` are refused when everything but the commit was done. `everything` gives all rows but
/// those that are written behind requests.
const WATCH: &str = "
    CREATE TABLE failing (action text);
    CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$ BEGIN
        IF EXISTS (SELECT FROM failing WHERE action = NEW.action) THEN RAISE 'forced'; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER forced AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION fail();
    CREATE FUNCTION everything() RETURNS text LANGUAGE plpgsql AS $$
    DECLARE tab text; part text; whole text := '';
    BEGIN
        FOR tab IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
            AND tablename NOT IN ('failing', 'tenant_usage', 'api_key_usage') ORDER BY tablename
        LOOP
            EXECUTE format('SELECT string_agg(concat(%L, to_jsonb(t) - ''last_seen_at''), chr(10)) FROM %I t', tab || ' ', tab)
                INTO part;
            whole := concat(whole, part, chr(10));
        END LOOP;
        RETURN whole;
    END $$";

const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";

/// Operations that are called one after the other.
struct Trail {
    world: World,
    database: DatabaseConnection,
    operations: Vec<Operation>,
    followed: BTreeSet<&'static str>,
}

impl Trail {
    async fn new(dns: &DnsServer) -> Self {
        let world = World::with(&[("tenancy.dns_servers", &dns.address())]).await;
        tamper(&world.bed, WATCH).await;
        Self {
            database: superuser(&world.bed).await,
            world,
            operations: operations(),
            followed: BTreeSet::new(),
        }
    }

    async fn everything(&self) -> BTreeSet<String> {
        let select = Statement::from_string(DbBackend::Postgres, "SELECT everything()");
        let row = self.database.query_one_raw(select).await.unwrap().unwrap();
        let all: String = row.try_get("", "everything").unwrap();
        all.lines().map(str::to_owned).collect()
    }

    async fn call(&self, token: &str, operation: &str, names: &[&str], body: &Value) -> Answer {
        let operation = self.operations.iter().find(|of| of.id == operation).unwrap();
        let path = names.iter().fold(operation.path.clone(), |path, name| {
            let (before, rest) = path.split_once('{').unwrap();
            let (_, after) = rest.split_once('}').unwrap();
            format!("{before}{name}{after}")
        });
        let request = self.world.api.request(operation.method.clone(), &path);
        let request = request.bearer_auth(token).header(header::IF_MATCH, "*");
        Api::send(if body.is_null() {
            request
        } else {
            request.json(body)
        })
        .await
    }

    /// Calls the operation while its row cannot be committed, which changes nothing; then so that it can, which writes one.
    async fn follow(&mut self, token: &str, id: &'static str, names: &[&str], body: Value) -> Value {
        let Some((_, Row(action))) = TRACES.iter().find(|(of, _)| *of == id) else {
            panic!("{id} writes no row");
        };
        let rows =
            format!("SELECT count(*) FROM audit_events WHERE action = '{action}' AND outcome = 'success'");
        let (before, written) = (self.everything().await, self.world.api.scalar(&rows).await);
        let fail = format!("INSERT INTO failing VALUES ('{action}')");
        self.database.execute_unprepared(&fail).await.unwrap();
        let failed = self.call(token, id, names, &body).await;
        assert!(failed.status.is_server_error(), "{id}: {failed:?}");
        let after = self.everything().await;
        let changed: Vec<_> = after.symmetric_difference(&before).collect();
        assert!(changed.is_empty(), "{id} without its row: {changed:#?}");

        let succeed = "DELETE FROM failing";
        self.database.execute_unprepared(succeed).await.unwrap();
        let done = self.call(token, id, names, &body).await;
        assert!(done.status.is_success(), "{id}: {done:?}");
        assert!(
            self.world.api.scalar(&rows).await > written,
            "{id} writes no {action}"
        );
        self.followed.insert(id);
        if done.text.is_empty() {
            Value::Null
        } else {
            done.json()
        }
    }

    async fn users(&mut self) {
        let owner = self.world.owner.clone();
        let new = json!({ "email": BOB, "password": PASSWORD, "email_verified": true });
        let bob = text(&self.follow(&owner, "createUser", &[], new).await, "id");
        let new = json!({ "name": "Clerk", "permissions": ["users:read"] });
        let role = text(&self.follow(&owner, "createRole", &[], new).await, "id");
        let (grant, name) = (json!({ "role_id": role }), json!({ "name": "Other" }));
        for (id, names, body) in [
            ("updateUser", vec![&*bob], name.clone()),
            ("updateRole", vec![&*role], name),
            ("assignRole", vec![&*bob], grant),
            ("unassignRole", vec![&*bob, &*role], Value::Null),
            ("deleteRole", vec![&*role], Value::Null),
            ("disableUser", vec![&*bob], Value::Null),
            ("enableUser", vec![&*bob], Value::Null),
            ("unlockUser", vec![&*bob], Value::Null),
        ] {
            self.follow(&owner, id, &names, body).await;
        }
        self.world.api.login("acme", BOB).await;
        self.follow(&owner, "endUserSessions", &[&bob], Value::Null).await;
        let session = text(&self.world.api.login("acme", BOB).await, "session_id");
        self.follow(&owner, "endUserSession", &[&bob, &session], Value::Null)
            .await;
        // What is sealed is not looked at.
        let factor = format!(
            "INSERT INTO totp_factors (id, tenant_id, user_id, sealed, created_at, confirmed_at)
             SELECT id, tenant_id, id, '', created_at, created_at FROM users WHERE id = '{bob}'"
        );
        self.database.execute_unprepared(&factor).await.unwrap();
        for id in ["resetMfa", "requireNewPassword", "deleteUser"] {
            self.follow(&owner, id, &[&bob], Value::Null).await;
        }
    }

    async fn login(&self) -> Value {
        self.world.api.login("acme", ADA).await
    }

    async fn own_account(&mut self) {
        self.world.api.user("acme", ADA).await;
        let access = text(&self.login().await, "access_token");
        let password = json!({ "password": PASSWORD });
        let other = json!({ "new_email": "ada@example.org", "password": PASSWORD });
        self.follow(&access, "updateMe", &[], json!({ "name": "Ada" }))
            .await;
        self.follow(&access, "reauthenticate", &[], password).await;
        self.follow(&access, "changeEmail", &[], other).await;
        let devices = self.world.api.get_as(&access, "/v1/devices").await.expect(200);
        let device = text(&devices["data"][0], "id");
        self.follow(&access, "forgetDevice", &[&device], Value::Null)
            .await;
        let session = text(&self.login().await, "session_id");
        self.follow(&access, "endSession", &[&session], Value::Null).await;
        let session = text(&self.login().await, "access_token");
        self.follow(&session, "logout", &[], Value::Null).await;
        self.second_factor(&access).await;
        self.follow(&access, "logoutAll", &[], Value::Null).await;

        let access = text(&self.login().await, "access_token");
        let next = "another battery staple";
        let change = json!({ "current_password": PASSWORD, "new_password": next });
        self.follow(&access, "changePassword", &[], change).await;
        self.follow(&access, "deleteMe", &[], json!({ "password": next }))
            .await;
    }

    async fn second_factor(&mut self, access: &str) {
        let password = json!({ "password": PASSWORD });
        let secret = text(&self.follow(access, "setUpTotp", &[], password).await, "secret");
        for id in ["confirmTotp", "replaceRecoveryCodes", "disableTotp"] {
            // A code is good for one of them.
            self.world.bed.clock.advance(TimeDelta::seconds(30));
            let code = pyotp(&secret, self.world.bed.context.clock.now());
            let body = if id == "confirmTotp" {
                json!({ "code": code })
            } else {
                json!({ "password": PASSWORD, "code": code })
            };
            self.follow(access, id, &[], body).await;
        }
    }

    async fn keys(&mut self) {
        let owner = self.world.owner.clone();
        let new = || json!({ "name": "Export", "environment": "live", "scopes": ["users:read"] });
        let id_of = |created: &Value| text(&created["api_key"], "id");
        let key = id_of(&self.follow(&owner, "createApiKey", &[], new()).await);
        self.follow(&owner, "updateApiKey", &[&key], json!({ "name": "Other" }))
            .await;
        let rotated = id_of(&self.follow(&owner, "rotateApiKey", &[&key], json!({})).await);
        self.follow(&owner, "revokeApiKey", &[&rotated], Value::Null)
            .await;
        let created = self.world.api.post_as(&owner, "/v1/api-keys", new()).await;
        let batch = json!({ "ids": [id_of(&created.expect(201))] });
        self.follow(&owner, "revokeApiKeys", &[], batch).await;
    }

    async fn tenant(&mut self, dns: &DnsServer) {
        let owner = self.world.owner.clone();
        let new = json!({ "domain": "login.acme.com" });
        let domain = self.follow(&owner, "createDomain", &[], new).await;
        let record = &domain["dns_record"];
        dns.publish(&text(record, "name"), &text(record, "value"));
        let domain = text(&domain, "id");
        let new = json!({ "email": "eve@example.com" });
        let invitation = text(&self.follow(&owner, "createInvitation", &[], new).await, "id");
        let name = json!({ "name": "Machine" });
        let created = self.follow(&owner, "createServiceAccount", &[], name).await;
        let machine = text(&created, "id");
        let mail =
            json!({ "subject": "Hello", "text": "{{ link }}", "html": "<a href=\"{{ link }}\">Go</a>" });
        let settings = json!({ "branding": { "product_name": "Acme ID" } });
        for (id, names, body) in [
            ("verifyDomain", vec![&*domain], Value::Null),
            ("deleteDomain", vec![&*domain], Value::Null),
            ("revokeInvitation", vec![&*invitation], Value::Null),
            (
                "updateServiceAccount",
                vec![&*machine],
                json!({ "name": "Other" }),
            ),
            ("deleteServiceAccount", vec![&*machine], Value::Null),
            ("setMailTemplate", vec!["verify_email"], mail),
            ("resetMailTemplate", vec!["verify_email"], Value::Null),
            ("updateTenantSettings", vec![], settings),
            ("createPermission", vec![], json!({ "name": "reports:read" })),
            ("deletePermission", vec!["reports:read"], Value::Null),
        ] {
            self.follow(&owner, id, &names, body).await;
        }
    }

    async fn platform(&mut self) {
        let admin = self.world.admin.clone();
        let new = json!({ "slug": "initech", "name": "Initech" });
        let tenant = text(&self.follow(&admin, "createTenant", &[], new).await, "id");
        self.follow(&admin, "updateTenant", &[&tenant], json!({ "name": "Other" }))
            .await;
        for id in ["suspendTenant", "activateTenant", "deleteTenant"] {
            self.follow(&admin, id, &[&tenant], Value::Null).await;
        }
    }

    async fn webhooks(&mut self) {
        let owner = self.world.owner.clone();
        let new = json!({ "url": "http://127.0.0.1:9/hook" });
        let created = self.follow(&owner, "createWebhookEndpoint", &[], new).await;
        let endpoint = text(&created["endpoint"], "id");
        let sent = self
            .follow(&owner, "testWebhookEndpoint", &[&endpoint], Value::Null)
            .await;
        let delivery = text(&sent, "delivery_id");
        let an_hour_ago = self.world.bed.context.clock.now() - TimeDelta::hours(1);
        let words = json!({ "description": "Other" });
        let new = json!({ "name": "order.placed", "description": "An order" });
        for (id, names, body) in [
            ("retryDelivery", vec![&*delivery], Value::Null),
            ("updateWebhookEndpoint", vec![&*endpoint], words.clone()),
            (
                "recoverWebhookEndpoint",
                vec![&*endpoint],
                json!({ "since": an_hour_ago.to_rfc3339() }),
            ),
            ("rotateWebhookSecret", vec![&*endpoint], json!({})),
            ("deleteWebhookEndpoint", vec![&*endpoint], Value::Null),
            ("createEventType", vec![], new),
            ("updateEventType", vec!["order.placed"], words),
            ("deleteEventType", vec!["order.placed"], Value::Null),
        ] {
            self.follow(&owner, id, &names, body).await;
        }
    }
}

#[test]
fn s34_every_operation_that_may_change_something_has_an_entry() {
    let changing = |operation: &Operation| operation.secured && operation.method != Method::GET;
    let operations: BTreeSet<String> = operations()
        .into_iter()
        .filter(changing)
        .map(|operation| operation.id)
        .collect();
    let entries: BTreeSet<String> = TRACES.iter().map(|(id, _)| (*id).to_owned()).collect();
    assert_eq!(operations, entries);
    assert_eq!(entries.len(), TRACES.len(), "an operation has two entries");
}

#[tokio::test]
async fn s34_every_operation_commits_its_change_and_its_row_together_or_neither() {
    let dns = DnsServer::start().await;
    let mut trail = Trail::new(&dns).await;
    trail.users().await;
    trail.own_account().await;
    trail.keys().await;
    trail.tenant(&dns).await;
    trail.platform().await;
    trail.webhooks().await;
    for (id, trace) in TRACES {
        match trace {
            Row(action) => assert!(trail.followed.contains(id), "nothing calls {id} for its {action}"),
            Nothing(why) => println!("{id} writes no row here: {why}"),
        }
    }
}
