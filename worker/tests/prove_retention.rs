//! What history costs: nothing while it grows, and next to nothing when a day of it ends.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use latchkey_shared::{
    page::PageRequest,
    partition, retention,
    webhook::{self, DeliveryFilter, work},
};
use latchkey_testing::{Prove, Receiver};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::json;
use uuid::Uuid;

use crate::world::{DEADLINE, World};

/// The tables' owner, who sees all rows, for as long as it takes.
pub(crate) async fn owner(world: &World) -> DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(&world.bed.owner_url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await.unwrap();
    db.execute_unprepared("SELECT set_config('latchkey.scope', 'cross_tenant', false)")
        .await
        .unwrap();
    db
}

/// A day of so many deliveries, which have ended after ten attempts each.
pub(crate) async fn fill(world: &World, days_ago: i64, deliveries: i64) {
    let at = world.context().clock.now() - TimeDelta::days(days_ago);
    let of_day = format!(
        "SELECT count(*) FROM pg_inherits WHERE right(inhrelid::regclass::text, 8) = '{}'
             AND inhparent IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)",
        at.format("%Y%m%d")
    );
    // A worker may be at it.
    while world.count(&of_day).await < 3 {
        partition::make(world.context(), at, at).await.unwrap();
    }
    let db = owner(world).await;
    for statement in [
        format!(
            "INSERT INTO events (id, tenant_id, type, body, created_at)
             SELECT latchkey_uuid_v7(at), '{}', 'order.placed', repeat('x', 300), at
             FROM generate_series(1, {deliveries}) AS n,
                  LATERAL (SELECT '{at}'::date + n * interval '24 hours' / ({deliveries} + 1)) AS i (at)",
            world.tenant
        ),
        format!(
            "INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state, attempts, sweep_at, created_at,
                                     finished_at)
             SELECT latchkey_uuid_beside(e.id), e.tenant_id, e.id, p.id, e.type, 'failed', 10, e.created_at, e.created_at,
                    e.created_at
             FROM events e JOIN webhook_endpoints p ON p.tenant_id = e.tenant_id WHERE e.created_at::date = '{at}'::date"
        ),
        format!(
            "INSERT INTO attempts (id, tenant_id, delivery_id, number, started_at, duration_ms, outcome, status,
                                   response_headers, response_body)
             SELECT latchkey_uuid_beside(d.id), d.tenant_id, d.id, n, d.created_at, 5, 'failed', 500, '{{}}', repeat('y', 200)
             FROM deliveries d, generate_series(1, 10) AS n WHERE d.created_at::date = '{at}'::date"
        ),
        "ANALYZE events, deliveries, attempts".to_owned(),
    ] {
        db.execute_unprepared(&statement).await.unwrap();
    }
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_a_million_attempts_ends_within_a_second_and_holds_up_no_delivery() {
    let deliveries = Prove::size(3_000, 100_000);
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    // Its own first run finds nothing to drop yet.
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    receiver.next().await;
    fill(&world, 40, deliveries).await;
    let attempts = "SELECT count(*) FROM attempts WHERE started_at < now() - interval '30 days'";
    assert_eq!(world.count(attempts).await, 10 * deliveries);

    let dropping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        retention::end_history(world.context(), 1000).await.unwrap();
        began.elapsed()
    };
    let publishing = async {
        let mut sent = HashMap::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        for number in 0..150 {
            ticks.tick().await;
            let began = Instant::now();
            let event = world.publish("order.placed", json!({ "number": number })).await;
            sent.insert(event.to_string(), began);
        }
        sent
    };
    let (took, sent) = futures::future::join(dropping, publishing).await;
    let mut waits = Vec::new();
    while waits.len() < sent.len() {
        let got = receiver.next().await;
        waits.push(got.at - sent[got.header("webhook-id")]);
    }
    worker.stop().await;
    waits.sort();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!(
        "{} attempts dropped in {took:.1?}; deliveries meanwhile: p50 {median:.1?}, longest {longest:.1?}",
        10 * deliveries
    );
    assert_eq!(world.count(attempts).await, 0);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(longest < Duration::from_millis(500), "{longest:?}");
}

/// Ends all connections to the database: each tells what it has read when it ends at the latest.
async fn alone(world: &World) {
    world.context().postgres.clone().close().await;
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND backend_type = 'client backend'";
    let others = Statement::from_string(DbBackend::Postgres, others);
    let (db, deadline) = (owner(world).await, Instant::now() + DEADLINE);
    loop {
        let row = db.query_one_raw(others.clone()).await.unwrap().unwrap();
        if row.try_get::<i64>("", "count").unwrap() == 0 {
            break;
        }
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    db.close().await.unwrap();
}

/// Of each partition that has a day: the scans from end to end, and those of indexes whose name does not end so.
async fn scans(world: &World, but: &str) -> HashMap<String, (i64, i64)> {
    let db = owner(world).await;
    let sql = format!(
        "SELECT t.relname::text AS name, t.seq_scan, (
             SELECT coalesce(sum(i.idx_scan), 0)::bigint FROM pg_stat_all_indexes i
             WHERE i.relid = t.relid AND i.indexrelname !~ '{but}') AS idx_scan
         FROM pg_stat_user_tables t WHERE t.schemaname = 'latchkey_partitions' AND t.relname ~ '_[0-9]{{8}}$'"
    );
    let rows = db
        .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .unwrap();
    db.close().await.unwrap();
    rows.iter()
        .map(|row| {
            let counts = (
                row.try_get("", "seq_scan").unwrap(),
                row.try_get("", "idx_scan").unwrap(),
            );
            (row.try_get("", "name").unwrap(), counts)
        })
        .collect()
}

/// Nor does a list that begins with a day. Of other days nothing is looked at but what is due and what is to be erased, both by an index that holds nothing else.
/// The planner is kept from reading whole tables wherever an index can serve: days are small here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_of_a_delivery_looks_into_another_day() {
    let (mut world, receiver) = (World::new().await, Receiver::start().await);
    world.endpoint(&receiver.url("/")).await;
    for days_ago in 1..5 {
        fill(&world, days_ago, 50).await;
    }
    let made_ahead = partition::make_ahead(world.context()).await.unwrap();
    alone(&world).await;
    let kept_from = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$";
    owner(&world).await.execute_unprepared(kept_from).await.unwrap();
    let ours = "(next_attempt_at|_id)_idx$";
    let before = scans(&world, ours).await;
    world.bed.context = world.bed.another_process().await;
    let worker = world.worker().await;
    for event in world.publish_many(50).await {
        receiver.next().await;
        assert!(!event.is_empty());
    }
    worker.stop().await;
    let now = world.context().clock.now();
    let since_midnight = DeliveryFilter {
        since: now.date_naive().and_hms_opt(0, 0, 0).map(|at| at.and_utc()),
        ..DeliveryFilter::default()
    };
    let page = PageRequest::new(Some(100), None).unwrap();
    let proof = world.proof();
    let listed = webhook::list_deliveries(world.context(), &proof, &since_midnight, page);
    assert_eq!(listed.await.unwrap().data.len(), 50);
    alone(&world).await;
    let today = now.format("%Y%m%d").to_string();
    let after = scans(&world, ours).await;
    assert!(after.len() >= 4 * 3 + made_ahead as usize, "{after:?}");
    for (name, (scanned, by_index)) in &after {
        let (scanned_before, by_index_before) = before.get(name).copied().unwrap_or_default();
        assert_eq!(scanned - scanned_before, 0, "{name} was read from end to end");
        if !name.ends_with(&today) {
            // Of what is to be erased the planner asks an index where it begins.
            let looks = by_index - by_index_before;
            assert!(looks <= 1, "{name} was looked into {looks} times");
        }
    }
}

/// The median time that a claim of a hundred deliveries takes, and a sweep that finds nothing due.
async fn costs(world: &World, rounds: usize) -> (Duration, Duration) {
    let db = owner(world).await;
    let ids = format!(
        "WITH made AS (
             INSERT INTO events (id, tenant_id, type, body, created_at)
             SELECT latchkey_uuid_v7(now() - n * interval '1 ms'), '{}', 'order.placed', '{{}}', now()
             FROM generate_series(1, {rounds} * 100) AS n RETURNING id, tenant_id)
         INSERT INTO deliveries (id, tenant_id, event_id, endpoint_id, event_type, state, next_attempt_at, sweep_at, created_at)
         SELECT latchkey_uuid_beside(made.id), made.tenant_id, made.id, p.id, 'order.placed', 'pending', now(),
                now() + interval '1 hour', now()
         FROM made, webhook_endpoints p RETURNING id",
        world.tenant
    );
    let rows = db
        .query_all_raw(Statement::from_string(DbBackend::Postgres, ids))
        .await
        .unwrap();
    db.execute_unprepared("ANALYZE events, deliveries").await.unwrap();
    db.close().await.unwrap();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.try_get("", "id").unwrap()).collect();
    // One connection, so that what a statement costs the first time is left out.
    let context = world.bed.another_process().await;
    let (mut claims, mut sweeps) = (Vec::new(), Vec::new());
    for batch in ids.chunks(100) {
        let began = Instant::now();
        let claimed = work::claim(&context, batch.to_vec(), Duration::from_mins(1))
            .await
            .unwrap();
        claims.push(began.elapsed());
        assert_eq!(claimed.len(), batch.len());
        let began = Instant::now();
        work::sweep(&context, false, 1000).await.unwrap();
        sweeps.push(began.elapsed());
    }
    claims.sort();
    sweeps.sort();
    (claims[rounds / 2], sweeps[rounds / 2])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_days_of_history_cost_a_delivery_what_one_day_costs() {
    let rounds = Prove::size(40, 400);
    let settings = [("postgres.max_connections", "1")];
    let (few, many) = (World::with(&settings).await, World::with(&settings).await);
    let now = many.context().clock.now();
    partition::make(
        many.context(),
        now - TimeDelta::days(90),
        now + TimeDelta::days(9),
    )
    .await
    .unwrap();
    for world in [&few, &many] {
        world.endpoint("http://127.0.0.1:9/").await;
    }
    let (claim, sweep) = costs(&few, rounds).await;
    let (claim_of_many, sweep_of_many) = costs(&many, rounds).await;
    let ratio = claim_of_many.as_secs_f64() / claim.as_secs_f64();
    println!(
        "100 deliveries claimed: {claim:.2?} with 3 partitions, {claim_of_many:.2?} with 101: {ratio:.2}; a sweep that finds \
         nothing: {sweep:.2?}, {sweep_of_many:.2?}"
    );
    if Prove::is_full() {
        assert!(ratio < 2.5, "{ratio:.2}");
        assert!(sweep_of_many < sweep * 2, "{sweep_of_many:?}");
    }
}
