//! Ten thousand tenants cost a request no more than one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use latchkey_shared::{
    secret::Secret,
    seed::{Seed, seed},
};
use latchkey_testing::{Prove, RealProcess, TestBed};
use reqwest::{Client, Method};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use serde_json::{Value, json};

use crate::support::{PASSWORD, text};

/// A server over a database with so many tenants, and someone of one of them.
struct World {
    api: RealProcess,
    client: Client,
    slug: String,
    token: String,
    key: String,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    SignIn,
    Me,
    ListUsers,
    VerifyKey,
    CheckPermission,
}

const ALL: [Asked; 5] = [
    Asked::SignIn,
    Asked::Me,
    Asked::ListUsers,
    Asked::VerifyKey,
    Asked::CheckPermission,
];

impl World {
    async fn open(bed: &TestBed, tenants: u32, users: u32) -> Self {
        let request = Seed {
            tenants,
            users,
            password: Secret::new(PASSWORD.to_owned()),
        };
        let (started, written) = (Instant::now(), seed(&bed.context, request).await.unwrap());
        assert_eq!(written, u64::from(tenants * users));
        println!(
            "{written} users in {tenants} tenants, made in {:.1?}",
            started.elapsed()
        );
        owner(bed, "ANALYZE").await;
        let mut world = Self {
            api: RealProcess::api(bed).await,
            client: Client::builder().build().unwrap(),
            slug: format!("seed-{:06}", tenants.div_ceil(2)),
            token: String::new(),
            key: String::new(),
        };
        let session = world.sign_in(1).await;
        world.token = text(&session, "access_token");
        let body = json!({ "name": "scale", "environment": "live", "scopes": ["users:read"] });
        let created = world.post("/v1/api-keys", &body, true).await;
        world.key = text(&created, "key");
        world
    }

    async fn post(&self, path: &str, body: &Value, signed_in: bool) -> Value {
        let url = format!("{}{path}", self.api.base_url);
        let mut request = self.client.post(url).header("x-tenant-id", &self.slug).json(body);
        if signed_in {
            request = request.bearer_auth(&self.token);
        }
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.api.base_url);
        let request = self.client.request(Method::GET, url).bearer_auth(&self.token);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json().await.unwrap()
    }

    async fn sign_in(&self, user: usize) -> Value {
        let email = format!("user-{user}@{}.test", self.slug);
        let body = json!({ "email": email, "password": PASSWORD });
        self.post("/v1/auth/login", &body, false).await
    }

    async fn ask(&self, asked: Asked, round: usize) -> Duration {
        let started = Instant::now();
        match asked {
            Asked::SignIn => self.sign_in(round % 10 + 1).await,
            Asked::Me => self.get("/v1/auth/me").await,
            Asked::ListUsers => self.get("/v1/users?limit=50&status=active").await,
            Asked::VerifyKey => {
                self.post("/v1/api-keys/verify", &json!({ "key": self.key }), true)
                    .await
            }
            Asked::CheckPermission => {
                let body = json!({ "permission": "users:read" });
                self.post("/v1/authz/check", &body, true).await
            }
        };
        started.elapsed()
    }
}

async fn owner(bed: &TestBed, sql: &str) {
    let db = Database::connect(&bed.owner_url).await.unwrap();
    db.execute_unprepared(sql).await.unwrap();
    db.close().await.unwrap();
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tenants_cost_a_request_no_more_than_one() {
    let (tenants, users) = Prove::size((20, 10), (10_000, 100));
    let rounds = Prove::size(20, 500);
    let (small, large) = (TestBed::new().await, TestBed::new().await);
    let alone = World::open(&small, 1, users).await;
    let among = World::open(&large, tenants, users).await;
    let mut took: BTreeMap<Asked, [Vec<Duration>; 2]> = BTreeMap::new();
    for round in 0..rounds {
        for asked in ALL {
            let both = took.entry(asked).or_default();
            both[0].push(alone.ask(asked, round).await);
            both[1].push(among.ask(asked, round).await);
        }
    }
    for (asked, [alone, among]) in took {
        let (alone, among) = (median(alone), median(among));
        let ratio = among.as_secs_f64() / alone.as_secs_f64();
        println!("{asked:?}: {alone:.2?} alone, {among:.2?} among {tenants} tenants: {ratio:.2}");
        if Prove::is_full() {
            assert!(ratio <= 1.2, "{asked:?}: {ratio:.2}");
        }
    }
}

/// How often each table was read from end to end, and how many rows its indexes have named.
async fn reads(bed: &TestBed) -> BTreeMap<String, (i64, i64)> {
    let db = Database::connect(&bed.owner_url).await.unwrap();
    let sql = "SELECT relname::text AS name, seq_scan, coalesce(idx_tup_fetch, 0) AS fetched
        FROM pg_stat_user_tables WHERE relname NOT IN ('seaql_migrations')";
    let rows = db
        .query_all_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .unwrap();
    let read = |row: &sea_orm::QueryResult| {
        let counts = (
            row.try_get("", "seq_scan").unwrap(),
            row.try_get("", "fetched").unwrap(),
        );
        (row.try_get("", "name").unwrap(), counts)
    };
    let reads = rows.iter().map(read).collect();
    db.close().await.unwrap();
    reads
}

/// The planner is kept from reading whole tables wherever an index can serve: what is read whole all the same has none.
/// And no index is read from end to end in the name of one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_of_a_hot_path_scans() {
    const ROUNDS: usize = 10;
    let (tenants, users) = Prove::size((20, 100), (1_000, 100));
    let bed = TestBed::new().await;
    owner(
        &bed,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$",
    )
    .await;
    let mut world = World::open(&bed, tenants, users).await;
    let closing = bed.context.postgres.clone();
    closing.close().await;
    // A connection tells what it has read when it ends at the latest.
    assert!(world.api.terminate().await);
    let before = reads(&bed).await;
    world.api = RealProcess::api(&bed).await;
    for round in 0..ROUNDS {
        for asked in ALL {
            world.ask(asked, round).await;
        }
    }
    assert!(world.api.terminate().await);
    let after = reads(&bed).await;
    for (table, (scans, fetched)) in after {
        let (scans_before, fetched_before) = before.get(&table).copied().unwrap_or_default();
        assert_eq!(scans - scans_before, 0, "{table} was read from end to end");
        let of_one = (fetched - fetched_before) / i64::try_from(ROUNDS * ALL.len()).unwrap();
        assert!(of_one <= 100, "{table}: {of_one} rows for one request");
    }
}
