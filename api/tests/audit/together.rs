//! A change and its audit row: both or neither.

use latchkey_testing::TestBed;
use sea_orm::{ConnectionTrait, Database};
use serde_json::json;

use super::{seal_all, tamper};
use crate::support::Api;

const ENDPOINTS: &str = "SELECT count(*) FROM webhook_endpoints";
const ROWS: &str = "SELECT count(*) FROM audit_events WHERE action = 'webhook_endpoint.create'";
const QUEUED: &str = "SELECT count(*) FROM audit_unsealed";

/// Lets inserts of the endpoint's audit row fail, at once or when everything but the commit was done.
fn failing(when: &str) -> String {
    format!(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'forced'; END $$;
         CREATE {when} ON audit_events {deferred} FOR EACH ROW
             WHEN (NEW.action = 'webhook_endpoint.create') EXECUTE FUNCTION fail()",
        deferred = if when.contains("CONSTRAINT") {
            "DEFERRABLE INITIALLY DEFERRED"
        } else {
            ""
        }
    )
}

#[tokio::test]
async fn s34_a_change_and_its_row_are_committed_together_or_not_at_all() {
    let endpoint = || json!({ "url": "http://127.0.0.1:9/hook" });
    for when in [
        "TRIGGER forced BEFORE INSERT",
        "CONSTRAINT TRIGGER forced AFTER INSERT",
    ] {
        let bed = TestBed::new().await;
        let api = Api::start(&bed).await;
        let admin = api.admin().await;
        let (_, owner) = api.tenant(&admin, "acme").await;
        tamper(&bed, &failing(when)).await;
        let queued = api.scalar(QUEUED).await;
        let failed = api.post_as(&owner, "/v1/webhooks/endpoints", endpoint()).await;
        assert!(failed.status.is_server_error(), "{failed:?}");
        assert_eq!(
            (
                api.scalar(ENDPOINTS).await,
                api.scalar(ROWS).await,
                api.scalar(QUEUED).await
            ),
            (0, 0, queued),
            "{when}"
        );
        tamper(&bed, "DROP TRIGGER forced ON audit_events").await;
        api.post_as(&owner, "/v1/webhooks/endpoints", endpoint())
            .await
            .expect(201);
        assert_eq!(
            (
                api.scalar(ENDPOINTS).await,
                api.scalar(ROWS).await,
                api.scalar(QUEUED).await
            ),
            (1, 1, queued + 1)
        );
    }
}

#[tokio::test]
async fn s34_the_applications_role_cannot_alter_or_remove_rows_and_seals() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    api.admin().await;
    seal_all(&api.context).await;
    let db = Database::connect(bed.app_url()).await.unwrap();
    for statement in [
        "UPDATE audit_events SET mac = ''",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "UPDATE audit_seals SET hash = ''",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "DELETE FROM audit_chains",
        "TRUNCATE audit_chains",
        "UPDATE audit_unsealed SET created_at = now()",
        "TRUNCATE audit_unsealed",
    ] {
        let refused = db.execute_unprepared(statement).await.unwrap_err().to_string();
        assert!(refused.contains("permission denied"), "{statement}: {refused}");
    }
    for statement in [
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_events_unsealed ON audit_events",
        "ALTER TABLE audit_seals NO FORCE ROW LEVEL SECURITY",
        "CREATE OR REPLACE FUNCTION latchkey_queue_unsealed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ] {
        let refused = db.execute_unprepared(statement).await.unwrap_err().to_string();
        let signs = ["must be owner", "permission denied"];
        assert!(
            signs.iter().any(|sign| refused.contains(sign)),
            "{statement}: {refused}"
        );
    }
}
