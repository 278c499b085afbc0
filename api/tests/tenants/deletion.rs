//! Deleted tenants: until their grace is over, and after.

use std::time::Duration;

use chrono::TimeDelta;
use futures::future::{join, join_all};
use latchkey_shared::{
    audit::{Verdict, Verification},
    id::TenantId,
    privacy::purge_tenants,
    usage::Counts,
};
use latchkey_testing::TestBed;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{delete, get, lead, login};
use crate::support::{Api, PASSWORD, text};

#[tokio::test]
async fn a_deleted_tenant_comes_back_until_its_grace_is_over() {
    let bed = TestBed::with(&[("tenancy.deletion_grace", "3600")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, owner) = api.tenant(&admin, "acme").await;
    delete(&api, &admin, acme).await.expect(204);
    let deleted = get(&api, &admin, acme).await.expect(200);
    assert_eq!(deleted["status"], "deleting");
    let delete_at = text(&deleted, "delete_at");
    api.get_as(&owner, "/v1/auth/me")
        .await
        .refused(401, "unauthenticated");
    login(&api, "acme", "owner@acme.test")
        .await
        .refused(403, "tenant_suspended");
    lead(&api, &admin, acme, "suspend")
        .await
        .refused(409, "tenant_deleted");
    let again = json!({ "slug": "acme", "name": "Acme" });
    api.post_as(&admin, "/v1/tenants", again)
        .await
        .refused(409, "slug_taken");
    // To delete it again does not prolong the grace.
    bed.clock.advance(TimeDelta::minutes(30));
    let admin = super::admin(&api).await;
    delete(&api, &admin, acme).await.expect(204);
    assert_eq!(
        text(&get(&api, &admin, acme).await.expect(200), "delete_at"),
        delete_at
    );
    assert_eq!(purge_tenants(&api.context, 100, || false).await.unwrap(), 0);

    lead(&api, &admin, acme, "activate").await.expect(204);
    let back = get(&api, &admin, acme).await.expect(200);
    assert_eq!(
        (&back["status"], &back["delete_at"]),
        (&json!("active"), &Value::Null)
    );
    login(&api, "acme", "owner@acme.test").await.expect(200);
    bed.clock.advance(TimeDelta::hours(2));
    assert_eq!(purge_tenants(&api.context, 100, || false).await.unwrap(), 0);
    login(&api, "acme", "owner@acme.test").await.expect(200);
}

/// Rows of a tenant by table, from the catalogue, so that a table that is added tomorrow is counted tomorrow.
async fn rows(api: &Api, tenant: Uuid) -> Vec<(String, i64)> {
    let mut counted = Vec::new();
    for table in crate::isolation::tables(&api.context).await {
        let count = format!("SELECT count(*) FROM {table} WHERE tenant_id = '{tenant}'");
        counted.push((table, api.scalar(&count).await));
    }
    counted
}

/// More rows than one step of a removal takes.
async fn fill(api: &Api, slug: &str) {
    let owner = text(
        &api.login(slug, &format!("owner@{slug}.test")).await,
        "access_token",
    );
    let endpoint = json!({ "url": "http://127.0.0.1:9/hook" });
    api.post_as(&owner, "/v1/webhooks/endpoints", endpoint)
        .await
        .expect(201);
    for number in 0..12 {
        let event = json!({ "type": "invoice.paid", "payload": { "number": number } });
        api.post_as(&owner, "/v1/webhooks/events", event)
            .await
            .expect(202);
        let body = json!({ "email": format!("u{number}@{slug}.test"), "password": PASSWORD });
        api.post(slug, "/v1/auth/register", body).await.expect(202);
    }
}

#[tokio::test]
async fn a_deleted_tenant_is_removed_whole_but_for_its_audit_trail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let (acme, globex) = crate::isolation::furnish(&api).await;
    for slug in ["acme", "globex"] {
        fill(&api, slug).await;
    }
    api.context.usage.flush(&api.context.postgres).await.unwrap();
    for (table, count) in rows(&api, acme).await {
        assert!(count > 0, "{table}: the tenant must have a row in every table");
    }
    let admin = super::admin(&api).await;
    let untouched = rows(&api, globex).await;
    delete(&api, &admin, acme).await.expect(204);
    let there = rows(&api, acme).await;
    let of = |name: &str| there.iter().find(|(table, _)| table == name).unwrap().1;
    let (trail, seals) = (of("audit_events"), of("audit_seals"));
    bed.clock.advance(TimeDelta::days(31));

    // Three workers at once, in steps far smaller than what there is.
    let contexts = join_all((0..3).map(|_| bed.another_process())).await;
    let purges = contexts.iter().map(|context| purge_tenants(context, 5, || false));
    let gone: u64 = join_all(purges).await.into_iter().map(Result::unwrap).sum();
    let left = purge_tenants(&api.context, 5, || false).await.unwrap();
    assert_eq!(gone + left, 1);
    assert_eq!(purge_tenants(&api.context, 5, || false).await.unwrap(), 0);

    for (table, count) in rows(&api, acme).await {
        match table.as_str() {
            // What it went through, its beginning and its end among it.
            "audit_events" => assert_eq!(count, trail + 2),
            // Its seals, and the rest of it to be sealed.
            "audit_seals" => assert_eq!(count, seals),
            "audit_chains" => assert_eq!(count, 1),
            "audit_unsealed" => assert_eq!(count, trail + 2 - seals),
            // Ids, for less than an hour.
            "signals" => {}
            _ => assert_eq!(count, 0, "{table}"),
        }
    }
    let others = |rows: Vec<(String, i64)>| -> Vec<_> {
        rows.into_iter().filter(|(table, _)| table != "signals").collect()
    };
    assert_eq!(others(rows(&api, globex).await), others(untouched));
    crate::audit::seal_all(&api.context).await;
    let verification = Verification::new(&api.context, Duration::ZERO);
    let report = verification.tenant(TenantId(acme), |_, _| Ok(())).await.unwrap();
    assert_eq!((&report.verdict, report.length), (&Verdict::Intact, trail + 2));
    let admin = super::admin(&api).await;
    get(&api, &admin, acme).await.refused(404, "not_found");
    lead(&api, &admin, acme, "activate")
        .await
        .refused(404, "not_found");
    // What is still counted of it harms nobody.
    let events = Counts {
        events: 1,
        ..Default::default()
    };
    let day = api.context.clock.now().date_naive();
    api.context.usage.add(TenantId(acme), day, &events);
    api.context.usage.flush(&api.context.postgres).await.unwrap();
    // The slug is free, and names the new tenant at once.
    login(&api, "acme", "owner@acme.test")
        .await
        .refused(404, "tenant_not_found");
    let (new, _) = api.tenant(&admin, "acme").await;
    assert_ne!(new, acme);
    login(&api, "acme", "owner@acme.test").await.expect(200);
}

#[tokio::test]
async fn a_tenant_is_activated_whole_or_removed_whole() {
    let bed = TestBed::with(&[("tenancy.deletion_grace", "0")]).await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let mut seen = [0; 2];
    for round in 0..8 {
        let slug = format!("acme-{round}");
        let (tenant, _) = api.tenant(&admin, &slug).await;
        let users = format!("SELECT count(*) FROM users WHERE tenant_id = '{tenant}'");
        delete(&api, &admin, tenant).await.expect(204);
        let activate = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            lead(&api, &admin, tenant, "activate").await
        };
        let (activated, gone) = join(activate, purge_tenants(&api.context, 1, || false)).await;
        // A worker that met the activation at the row leaves the rest to its next runs: a refused one still holds the row
        // for the moment that its transaction takes to roll back.
        let mut gone = gone.unwrap() + purge_tenants(&api.context, 1, || false).await.unwrap();
        let purging = format!("SELECT count(*) FROM tenants WHERE id = '{tenant}' AND status = 'purging'");
        while api.scalar(&purging).await > 0 {
            gone += purge_tenants(&api.context, 1, || false).await.unwrap();
        }
        seen[usize::from(gone == 1)] += 1;
        if activated.status == 204 {
            assert_eq!((gone, api.scalar(&users).await), (0, 1));
            login(&api, &slug, &format!("owner@{slug}.test"))
                .await
                .expect(200);
        } else {
            assert!([404, 409].contains(&activated.status.as_u16()), "{activated:?}");
            assert_eq!((gone, api.scalar(&users).await), (1, 0));
        }
    }
    assert_eq!(seen[0] + seen[1], 8);
}

#[tokio::test]
async fn a_tenants_rows_are_found_by_an_index_in_every_table() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    for table in crate::isolation::tables(&api.context).await {
        let indexes = format!(
            "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = '{table}'::regclass AND a.attname = 'tenant_id' AND i.indpred IS NULL"
        );
        assert!(
            api.scalar(&indexes).await > 0,
            "{table}: to remove a tenant would scan it"
        );
    }
}

#[tokio::test]
async fn s34_no_cascade_reaches_the_audit_trail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let references =
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'audit_events'::regclass AND contype = 'f'";
    assert_eq!(api.scalar(references).await, 0);
}
