//! Who reads the trail, and which rows.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use latchkey_testing::TestBed;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};

use super::{superuser, tamper};
use crate::{
    roles::World,
    support::{Answer, text},
};

const EVENTS: &str = "/v1/audit-events";

fn rows(answer: Answer) -> Vec<Value> {
    answer.expect(200)["data"].as_array().unwrap().clone()
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines = answer.text.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_row_is_on_one_page_newest_first() {
    let world = World::new().await;
    for number in 0..7 {
        world.person(&format!("person{number}")).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{EVENTS}?limit=4{cursor}");
        let page = world.api.get_as(&world.owner, &path).await.expect(200);
        seen.extend(page["data"].as_array().unwrap().iter().map(|row| text(row, "id")));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.reverse();
    assert_eq!(seen, sorted);
    let all = "SELECT count(*) FROM audit_events a JOIN tenants t ON t.id = a.tenant_id WHERE slug = 'acme'";
    assert_eq!(i64::try_from(seen.len()).unwrap(), world.api.scalar(all).await);
    world
        .api
        .get_as(&world.owner, &format!("{EVENTS}?cursor=nonsense"))
        .await
        .refused(400, "invalid_cursor");
}

#[tokio::test]
async fn each_filter_and_all_of_them_together_find_what_they_say() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    world.person("bob").await;
    let changed = json!({ "name": "Ada" });
    let path = format!("/v1/users/{}", ada.id);
    let rename = || {
        world
            .api
            .request(reqwest::Method::PATCH, &path)
            .bearer_auth(&world.owner)
            .json(&changed)
    };
    crate::support::Api::send(rename()).await.expect(200);
    let before = world
        .bed
        .context
        .clock
        .now()
        .to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    world.bed.clock.advance(TimeDelta::seconds(1));
    let key = json!({ "name": "k", "environment": "live", "scopes": ["users:read"] });
    world
        .api
        .post_as(&world.owner, "/v1/api-keys", key)
        .await
        .expect(201);

    let get = async |query: &str| rows(world.api.get_as(&world.owner, &format!("{EVENTS}?{query}")).await);
    let all = get("limit=100").await;
    let matching =
        |so: &dyn Fn(&Value) -> bool| -> Vec<Value> { all.iter().filter(|row| so(row)).cloned().collect() };
    let owner = text(
        &world.api.get_as(&world.owner, "/v1/auth/me").await.expect(200)["user"],
        "id",
    );
    let by_owner = matching(&|row| row["actor_id"] == owner.as_str());
    assert!(!by_owner.is_empty());
    assert_eq!(get(&format!("actor_id={owner}")).await, by_owner);
    let on_ada = matching(&|row| row["target_id"] == ada.id.as_str());
    assert!(on_ada.len() > 1);
    assert_eq!(get(&format!("target_id={}", ada.id)).await, on_ada);
    let updates = matching(&|row| row["action"] == "user.update");
    assert_eq!(updates.len(), 1);
    assert_eq!(get("action=user.update").await, updates);
    let late = matching(&|row| row["action"] == "api_key.create");
    assert_eq!(late.len(), 1);
    assert_eq!(get(&format!("since={before}")).await, late);
    assert_eq!(get(&format!("until={before}")).await.len(), all.len() - 1);
    let together = format!(
        "actor_id={owner}&action=user.update&target_id={}&since=2020-01-01T00:00:00Z&until={before}",
        ada.id
    );
    assert_eq!(get(&together).await, updates);
    assert!(get("action=no.such").await.is_empty());
    let update = &updates[0];
    assert_eq!(
        (
            &update["actor_kind"],
            &update["outcome"],
            &update["target_kind"],
            &update["detail"]
        ),
        (
            &json!("user"),
            &json!("success"),
            &json!("user"),
            &json!({ "fields": ["name"] })
        )
    );
    assert_eq!(update["address"], "127.0.0.1");
    assert!(update["request_id"].is_string());

    // What is exported is what is listed.
    for query in ["", &together] {
        let exported = lines(
            &world
                .api
                .get_as(&world.owner, &format!("{EVENTS}/export?{query}"))
                .await,
        );
        let exported: Vec<Value> = exported
            .into_iter()
            .filter(|row| row["action"] != "audit.export")
            .collect();
        let listed = get(&format!("{query}&limit=100")).await;
        let listed: Vec<Value> = listed
            .into_iter()
            .filter(|row| row["action"] != "audit.export")
            .collect();
        assert_eq!(exported, listed);
    }
    assert_eq!(get("action=audit.export").await.len(), 2);
    for query in ["actor_id=x", "since=yesterday", "limit=0", "limit=101"] {
        let path = format!("{EVENTS}?{query}");
        world
            .api
            .get_as(&world.owner, &path)
            .await
            .refused(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn the_trail_is_read_by_who_may_and_of_their_own_tenant() {
    let world = World::new().await;
    let (globex, _) = world.globex().await;
    let member = world.person("member").await;
    for path in [EVENTS, "/v1/audit-events/export"] {
        world
            .api
            .get_as(&member.token, path)
            .await
            .refused(403, "forbidden");
    }
    let of = async |token: &str| -> BTreeSet<String> {
        let path = format!("{EVENTS}?limit=100");
        rows(world.api.get_as(token, &path).await)
            .iter()
            .map(|row| text(row, "id"))
            .collect()
    };
    let (ours, theirs) = (of(&world.owner).await, of(&globex).await);
    assert!(!theirs.is_empty() && ours.is_disjoint(&theirs));
    let exported = lines(&world.api.get_as(&globex, "/v1/audit-events/export").await);
    assert!(exported.iter().all(|row| !ours.contains(&text(row, "id"))));
}

#[tokio::test]
async fn an_export_has_every_row_of_many_pages_once() {
    let world = World::new().await;
    world
        .api
        .execute(
            "INSERT INTO audit_events (id, tenant_id, created_at, actor_kind, action, outcome, detail)
             SELECT gen_random_uuid(), id, now(), 'system', 'test.done', 'success', jsonb_build_object('n', n)
             FROM tenants, generate_series(1, 1777) n WHERE slug = 'acme'",
        )
        .await;
    let path = format!("{EVENTS}/export?action=test.done");
    let numbers: BTreeSet<i64> = lines(&world.api.get_as(&world.owner, &path).await)
        .iter()
        .map(|row| row["detail"]["n"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers.len(), 1777);
}

/// One tenant among many with far more rows: each filter is answered by an index that begins with the tenant.
#[tokio::test]
async fn no_filter_reads_another_tenants_rows() {
    let bed = TestBed::new().await;
    tamper(
        &bed,
        "INSERT INTO audit_events (id, tenant_id, created_at, actor_kind, actor_id, action, target_kind, target_id, outcome, detail)
         SELECT gen_random_uuid(), uuid_in(md5(t::text)::cstring), now(), 'user', uuid_in(md5((n % 7)::text)::cstring),
                'test.' || n % 5, 'test', uuid_in(md5((n % 11)::text)::cstring), 'success', '{}'
         FROM generate_series(1, 50) t, generate_series(1, 400) n;
         ANALYZE audit_events",
    )
    .await;
    let db = superuser(&bed).await;
    let tenant = "uuid_in(md5('7')::cstring)";
    for filter in [
        "true",
        "actor_id = uuid_in(md5('3')::cstring)",
        "action = 'test.3'",
        "target_id = uuid_in(md5('3')::cstring)",
        "created_at >= now() AND id >= '0199aaaa-0000-0000-0000-000000000000'",
        "created_at < now() AND id < '0199aaaa-0000-0000-0000-000000000000'",
    ] {
        let sql = format!(
            "EXPLAIN SELECT * FROM audit_events WHERE tenant_id = {tenant} AND id < 'ffffffff-ffff-ffff-ffff-ffffffffffff'
                 AND {filter} ORDER BY id DESC LIMIT 21"
        );
        let plan = db
            .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
            .await
            .unwrap();
        let plan: Vec<String> = plan
            .iter()
            .map(|row| row.try_get("", "QUERY PLAN").unwrap())
            .collect();
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index Cond: ((tenant_id =") && !plan.contains("Seq Scan"),
            "{filter}: {plan}"
        );
    }
}
