//! The audit trail: that it is whole, who may read it, and what shows that somebody has tampered with it.

mod every;
mod reading;
mod tampering;
mod together;

use std::time::Duration;

use latchkey_api::verify::{Known, Outcome, verify};
use latchkey_shared::{
    audit,
    context::Context,
    id::TenantId,
    principal::{Actor, Origin},
};
use latchkey_testing::TestBed;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::json;
use uuid::Uuid;

fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(number))
}

/// So many rows of a tenant, each in a transaction of its own.
async fn write(context: &Context, tenant: TenantId, rows: u32) {
    let origin = Origin::default();
    for number in 0..rows {
        let change = context.change(tenant, Actor::System, &origin).await.unwrap();
        let record = audit::Record::success(
            "test.done",
            "test",
            Uuid::from_u128(number.into()),
            json!({ "number": number, "words": { "of": "a row" } }),
        );
        audit::record(&change, record).await.unwrap();
        change.commit().await.unwrap();
    }
}

/// Seals whatever waits, as a worker does.
pub(crate) async fn seal_all(context: &Context) {
    loop {
        let waiting = audit::waiting(context, tenant(0), 1000).await.unwrap();
        if waiting.is_empty() {
            return;
        }
        let tenants: Vec<TenantId> = waiting.iter().map(|waiting| waiting.tenant).collect();
        assert!(audit::seal(context, &tenants, 1000).await.unwrap().rows > 0);
    }
}

/// The outcome, and what is printed.
async fn verified(context: &Context, known: Known) -> (Outcome, String) {
    let mut printed = Vec::new();
    let outcome = verify(context, None, Duration::from_mins(1), known, &mut printed).await;
    (outcome.unwrap(), String::from_utf8(printed).unwrap())
}

/// Whoever holds the database, and no key.
async fn superuser(bed: &TestBed) -> DatabaseConnection {
    let mut url = url::Url::parse(&std::env::var("LATCHKEY_TEST_POSTGRES_URL").unwrap()).unwrap();
    url.set_path(url::Url::parse(&bed.owner_url).unwrap().path());
    Database::connect(url.as_str()).await.unwrap()
}

pub(crate) async fn tamper(bed: &TestBed, sql: &str) {
    let db = superuser(bed).await;
    db.execute_unprepared(sql)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
    db.close().await.unwrap();
}
