//! The days of the history: made ahead, found by ids, dropped when they are old.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_shared::{
    context::Context,
    page::PageRequest,
    partition,
    postgres::CrossTenant,
    principal::Origin,
    retention,
    webhook::{self, DeliveryFilter, work},
};
use latchkey_testing::Receiver;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use serde_json::json;

use crate::world::World;

const DAY: i64 = 24 * 60 * 60;
const PARTITIONS: &str = "SELECT count(*) FROM pg_inherits
    WHERE inhparent IN ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)";
const ROWS: &str = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM deliveries)
    + (SELECT count(*) FROM attempts) AS count";

/// Makes the partitions of the day that it is by the test's clock.
async fn make_today(context: &Context) -> u32 {
    let now = context.clock.now();
    partition::make(context, now, now).await.unwrap()
}

async fn end_deliveries(world: &World) {
    let end = "UPDATE deliveries SET state = 'succeeded', next_attempt_at = NULL, finished_at = now()";
    world.execute(end).await;
}

#[tokio::test]
async fn what_belongs_to_an_event_lies_in_the_partitions_of_its_day() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    make_today(world.context()).await;
    world.endpoint(&receiver.url("/")).await;
    let worker = world.worker().await;
    world.publish("order.placed", json!({})).await;
    world.attempted(1).await;
    worker.stop().await;
    for (table, instant) in [
        ("events", "created_at"),
        ("deliveries", "created_at"),
        (
            "attempts",
            "(SELECT created_at FROM deliveries WHERE id = delivery_id)",
        ),
    ] {
        let rows = format!(
            "SELECT count(*) FROM {table} WHERE tableoid::regclass::text =
                 'latchkey_partitions.{table}_' || to_char({instant} AT TIME ZONE 'UTC', 'YYYYMMDD')"
        );
        assert_eq!(world.count(&rows).await, 1, "{table}");
    }
    assert_eq!(partition::rows_outside(world.context()).await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_asked_for_every_batch_is_planned_once_however_many_days_there_are() {
    let world = World::with(&[("postgres.max_connections", "1")]).await;
    let context = world.context();
    let now = context.clock.now();
    partition::make(context, now - TimeDelta::days(30), now)
        .await
        .unwrap();
    world.endpoint("http://127.0.0.1:9/").await;
    world.backlog(5, 0).await;
    for delivery in world.deliveries().await {
        work::sweep(context, false, 1_000).await.unwrap();
        let claimed = work::claim(context, vec![delivery.id.0], Duration::from_mins(1)).await;
        assert_eq!(claimed.unwrap().len(), 1);
    }
    let plans = "SELECT sum(generic_plans)::bigint AS kept, sum(custom_plans)::bigint AS anew
        FROM pg_prepared_statements WHERE statement LIKE 'WITH due AS%'";
    let tx = context.postgres.cross_tenant(CrossTenant::Deliver).await.unwrap();
    let plans = Statement::from_string(DbBackend::Postgres, plans);
    let plans = tx.query_one_raw(plans).await.unwrap().unwrap();
    let [kept, anew] = ["kept", "anew"].map(|column| plans.try_get::<i64>("", column).unwrap());
    assert_eq!((kept, anew), (10, 0));
}

#[tokio::test]
async fn deliveries_of_an_event_are_looked_for_in_its_day_alone() {
    let world = World::new().await;
    let context = world.context();
    world.endpoint("http://127.0.0.1:9/").await;
    let mut events = Vec::new();
    for days_ago in [3, 2, 1] {
        world.advance(-days_ago * DAY);
        make_today(context).await;
        let day = context.clock.now().format("%Y%m%d").to_string();
        events.push((world.publish("order.placed", json!({})).await, day));
        world.advance(days_ago * DAY);
    }
    let (event, day) = events.swap_remove(1);
    // Whoever looks into another day waits until its time is over.
    let hold = format!(
        "DO $$ DECLARE part regclass; BEGIN
             FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'deliveries'::regclass
                 AND inhrelid::regclass::text <> 'latchkey_partitions.deliveries_{day}'
             LOOP EXECUTE format('LOCK TABLE %s', part); END LOOP;
         END $$"
    );
    let owner = Database::connect(&world.bed.owner_url).await.unwrap();
    let holding = owner.begin().await.unwrap();
    holding.execute_unprepared(&hold).await.unwrap();
    let filter = DeliveryFilter {
        event_id: Some(event),
        ..DeliveryFilter::default()
    };
    let page = PageRequest::new(None, None).unwrap();
    let proof = world.proof();
    let found = webhook::list_deliveries(context, &proof, &filter, page).await;
    let [delivery] = found.unwrap().data.try_into().unwrap();
    assert_eq!(delivery.event_id, event);
    holding.rollback().await.unwrap();
}

#[tokio::test]
async fn partitions_are_made_a_week_ahead_and_once_whoever_makes_them() {
    let world = World::new().await;
    let before = world.count(PARTITIONS).await;
    let contexts = join_all((0..4).map(|_| world.bed.another_process())).await;
    let made = join_all(contexts.iter().map(partition::make_ahead)).await;
    let made: u32 = made.into_iter().map(Result::unwrap).sum();
    // Who came while another was at it has left it to that one.
    let made = made + partition::make_ahead(world.context()).await.unwrap();
    assert_eq!(world.count(PARTITIONS).await, before + i64::from(made));
    assert_eq!(partition::make_ahead(world.context()).await.unwrap(), 0);
    let ahead = format!(
        "{PARTITIONS} AND right(inhrelid::regclass::text, 8) = to_char(now() + '7 days', 'YYYYMMDD')"
    );
    assert_eq!(world.count(&ahead).await, 3);
}

#[tokio::test]
async fn rows_of_a_day_without_a_partition_work_and_end_like_others() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let context = world.context();
    world.endpoint(&receiver.url("/")).await;
    world.advance(-32 * DAY);
    world.publish("order.placed", json!({})).await;
    end_deliveries(&world).await;
    let waiting = world.publish("order.placed", json!({})).await;
    assert_eq!(partition::rows_outside(context).await.unwrap(), 4);
    // A day of which rows lie elsewhere already gets no partition.
    assert_eq!(make_today(context).await, 0);
    world.advance(32 * DAY);

    assert_eq!(retention::end_history(context, 10).await.unwrap(), 1);
    assert_eq!(retention::end_history(context, 10).await.unwrap(), 0);
    assert_eq!(world.count(ROWS).await, 2);
    let worker = world.worker().await;
    world.advance(60);
    assert_eq!(receiver.next().await.header("webhook-id"), waiting.to_string());
    world.attempted(1).await;
    worker.stop().await;
    assert_eq!(world.count(ROWS).await, 3);
    assert_eq!(retention::end_history(context, 10).await.unwrap(), 1);
    assert_eq!(world.count(ROWS).await, 0);
}

#[tokio::test]
async fn a_day_is_dropped_whole_unless_a_delivery_of_it_waits() {
    let world = World::new().await;
    let context = world.context();
    world.endpoint("http://127.0.0.1:9/").await;
    let before = world.count(PARTITIONS).await;
    for (day, ended) in [(40, true), (20, true), (1, true), (32, false)] {
        world.advance(-day * DAY);
        assert_eq!(make_today(context).await, 3);
        world.publish("order.placed", json!({})).await;
        if ended {
            end_deliveries(&world).await;
        }
        world.advance(day * DAY);
    }
    assert_eq!(partition::rows_outside(context).await.unwrap(), 0);
    assert_eq!(world.count(PARTITIONS).await, before + 12);

    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(PARTITIONS).await, before + 9);
    assert_eq!(world.count(ROWS).await, 6);
    end_deliveries(&world).await;
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(PARTITIONS).await, before + 6);
    assert_eq!(world.count(ROWS).await, 4);

    // Yesterday stays, whatever is asked for.
    let far = context.clock.now() + TimeDelta::days(1_000);
    assert_eq!(partition::drop_before(context, far).await.unwrap(), 3);
    assert_eq!(world.count(ROWS).await, 2);
}

/// What is never called never fails for good, and would keep everybody's history.
#[tokio::test]
async fn a_delivery_that_has_waited_for_longer_than_all_attempts_take_ends_with_its_day() {
    let world = World::new().await;
    let context = world.context();
    world.endpoint("http://127.0.0.1:9/").await;
    let before = world.count(PARTITIONS).await;
    for day in [40, 32] {
        world.advance(-day * DAY);
        make_today(context).await;
        world.publish("order.placed", json!({})).await;
        world.advance(day * DAY);
    }
    // One is being called at this moment.
    let now = context.clock.now();
    let leased = format!(
        "UPDATE deliveries SET lease_until = '{}'",
        now + TimeDelta::seconds(30)
    );
    world.execute(&leased).await;
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(PARTITIONS).await, before + 6);
    world.execute("UPDATE deliveries SET lease_until = NULL").await;
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(PARTITIONS).await, before + 3);
    let waiting = "SELECT count(*) FROM deliveries WHERE state = 'pending'";
    assert_eq!(world.count(waiting).await, 1, "that one may still be delivered");
}

#[tokio::test]
async fn a_deleted_endpoint_goes_with_the_last_of_its_deliveries() {
    let world = World::new().await;
    let context = world.context();
    world.advance(-40 * DAY);
    let endpoint = world.endpoint("http://127.0.0.1:9/").await.endpoint;
    world.endpoint("http://127.0.0.1:9/").await;
    make_today(context).await;
    world.publish("order.placed", json!({})).await;
    webhook::delete_endpoint(context, &world.proof(), &Origin::default(), endpoint.id)
        .await
        .unwrap();
    let endpoints = "SELECT count(*) FROM webhook_endpoints";
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(
        world.count(endpoints).await,
        2,
        "its deliveries are history still"
    );
    end_deliveries(&world).await;
    world.advance(40 * DAY);
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(endpoints).await, 1);
}

#[tokio::test]
async fn a_day_that_is_being_spread_stays() {
    let world = World::new().await;
    let context = world.context();
    world.advance(-40 * DAY);
    make_today(context).await;
    let event = world.publish("order.placed", json!({})).await;
    world
        .execute(&format!(
            "INSERT INTO fanouts (id, tenant_id, event_ids, event_type, endpoint_ids, created_at, touched_at)
             SELECT latchkey_uuid_beside(id), tenant_id, ARRAY[id], type, ARRAY[id], created_at, created_at
             FROM events WHERE id = '{event}'"
        ))
        .await;
    world.advance(40 * DAY);
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(ROWS).await, 1);
    world.execute("DELETE FROM fanouts").await;
    retention::end_history(context, 10).await.unwrap();
    assert_eq!(world.count(ROWS).await, 0);
}

#[tokio::test]
async fn a_table_that_somebody_holds_is_left_alone_and_nobody_waits_behind_it() {
    let world = World::new().await;
    let context = world.context();
    world.advance(-40 * DAY);
    make_today(context).await;
    world.advance(40 * DAY);
    let reader = Database::connect(world.bed.app_url()).await.unwrap();
    let reading = reader.begin().await.unwrap();
    reading
        .execute_unprepared("SELECT count(*) FROM events")
        .await
        .unwrap();
    let before = world.count(PARTITIONS).await;
    let dropping = retention::end_history(context, 10);
    let publishing = async {
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            let began = Instant::now();
            world.publish("order.placed", json!({})).await;
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        longest
    };
    let (dropped, longest) = futures::future::join(dropping, publishing).await;
    assert!(dropped.unwrap_err().to_string().contains("lock timeout"));
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    reading.rollback().await.unwrap();
    retention::end_history(context, 10).await.unwrap();
    // Deliveries and attempts were nobody's.
    assert!(world.count(PARTITIONS).await < before);
    let old = format!(
        "{PARTITIONS} AND right(inhrelid::regclass::text, 8) < to_char(now() - '30 days'::interval, 'YYYYMMDD')"
    );
    assert_eq!(world.count(&old).await, 0);
}

#[tokio::test]
async fn s26_partitions_are_out_of_the_applications_reach() {
    let world = World::new().await;
    world.publish("order.placed", json!({})).await;
    let before = world.count(PARTITIONS).await;
    let db = Database::connect(world.bed.app_url()).await.unwrap();
    let refusals = [
        (
            "SELECT * FROM latchkey_partitions.events_default",
            "permission denied",
        ),
        ("CREATE TABLE latchkey_partitions.mine ()", "permission denied"),
        ("ALTER TABLE events DISABLE ROW LEVEL SECURITY", "must be owner"),
        ("DROP TABLE events", "must be owner"),
        (
            "SELECT latchkey_is_under_way(gen_random_uuid(), gen_random_uuid())",
            "permission denied",
        ),
        // Who sees no row of them must not drop them.
        (
            "SELECT latchkey_drop_partition(now())",
            "transactions over all tenants",
        ),
        (
            "SELECT latchkey_make_partition(now(), now())",
            "transactions over all tenants",
        ),
    ];
    for (statement, refusal) in refusals {
        let refused = db.execute_unprepared(statement).await.unwrap_err().to_string();
        assert!(refused.contains(refusal), "{statement}: {refused}");
    }
    let context = world.context();
    let now = context.clock.now();
    for (since, until) in [(41, 100), (-600, -401), (3, 1)] {
        let (since, until) = (now + TimeDelta::days(since), now + TimeDelta::days(until));
        assert_eq!(partition::make(context, since, until).await.unwrap(), 0);
    }
    assert_eq!(world.count(PARTITIONS).await, before);
    // As their owner sees it: each is held by forced policies, should anybody ever be given a right to it.
    let owner = Database::connect(&world.bed.owner_url).await.unwrap();
    let open = "SELECT count(*) FROM pg_class WHERE relnamespace = 'latchkey_partitions'::regnamespace AND relkind = 'r'
        AND NOT (relrowsecurity AND relforcerowsecurity
                 AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid) AND relacl IS NULL)";
    let open = Statement::from_string(DbBackend::Postgres, open);
    let open = owner.query_one_raw(open).await.unwrap().unwrap();
    assert_eq!(open.try_get::<i64>("", "count").unwrap(), 0);
}

#[tokio::test]
async fn payloads_are_erased_when_their_tenant_wants_them_gone() {
    let world = World::new().await;
    let context = world.context();
    world.endpoint("http://127.0.0.1:9/").await;
    world
        .execute(r#"UPDATE tenants SET settings = '{"webhooks": {"payload_retention_days": 7}}'"#)
        .await;
    world.advance(-10 * DAY);
    for _ in 0..5 {
        world.publish("order.placed", json!({ "name": "Ada" })).await;
    }
    end_deliveries(&world).await;
    world
        .execute(
            "INSERT INTO attempts (id, tenant_id, delivery_id, number, started_at, duration_ms, outcome, response_headers,
                                   response_body)
             SELECT gen_random_uuid(), tenant_id, id, 1, now(), 5, 'succeeded', '{\"x-echo\": \"Ada\"}', 'Ada' FROM deliveries",
        )
        .await;
    world.publish("order.placed", json!({ "name": "Ada" })).await;
    world.advance(10 * DAY);
    world.publish("order.placed", json!({ "name": "Ada" })).await;

    let clear = async || while retention::delete_expired(context, 2).await.unwrap() >= 2 {};
    let events = "SELECT count(*) FROM events WHERE body LIKE '%Ada%'";
    let answers = "SELECT count(*) FROM attempts t WHERE t::text LIKE '%Ada%'";
    clear().await;
    // The one that waits, and the one of today.
    assert_eq!((world.count(events).await, world.count(answers).await), (2, 0));
    end_deliveries(&world).await;
    clear().await;
    assert_eq!(world.count(events).await, 1);
    assert_eq!(world.count("SELECT count(*) FROM events WHERE erase").await, 0);
    world.advance(8 * DAY);
    clear().await;
    assert_eq!(world.count(events).await, 0);
}
