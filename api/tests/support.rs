//! A server on a port of its own, and people who use it.

use std::{borrow::Borrow, fmt::Write, process::Command, sync::Arc, time::Duration};

use latchkey_api::{
    app::app,
    breach::range_service,
    connections::{self, Patience},
    routes::health::Draining,
};
use latchkey_shared::{
    auth::{Auth, bootstrap::bootstrap, upkeep},
    context::Context,
    mail::Message,
    postgres::{CrossTenant, Tx},
    secret::Secret,
    signal,
    user::Email,
};
use latchkey_testing::TestBed;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::conformance;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const ADMIN: &str = "admin@platform.test";

/// An API process's worth of server inside the test.
pub(crate) struct Api {
    pub(crate) base_url: String,
    pub(crate) client: Client,
    pub(crate) context: Context,
    _stop: DropGuard,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The `code` of a problem, if it is one.
    pub(crate) fn problem(&self) -> Option<String> {
        let of_problem = self.headers.get("content-type")? == "application/problem+json";
        of_problem.then(|| self.code())
    }

    /// The `code` of a problem, after its form was looked at.
    pub(crate) fn code(&self) -> String {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{self:?}");
        assert_eq!(
            problem["request_id"],
            self.headers["x-request-id"].to_str().unwrap(),
            "{self:?}"
        );
        problem["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    pub(crate) fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(
            (self.status.as_u16(), self.code().as_str()),
            (status, code),
            "{self:?}"
        );
        self.json()
    }
}

impl Api {
    pub(crate) async fn start(bed: &TestBed) -> Self {
        Self::serve(bed.context.clone()).await
    }

    /// A second process: the same database and Redis, a memory of its own.
    pub(crate) async fn start_another(bed: &TestBed) -> Self {
        Self::serve(bed.another_process().await).await
    }

    /// A server on whatever the context holds.
    pub(crate) async fn serve(context: Context) -> Self {
        let stop = CancellationToken::new();
        let api = Self::serve_deaf(context, stop.clone()).await;
        api.hear(stop).await;
        api
    }

    /// A server that hears of no signals before it is told to.
    pub(crate) async fn serve_deaf(context: Context, stop: CancellationToken) -> Self {
        let leaked = range_service(&context.config.passwords).unwrap();
        let auth = Auth::start(context.clone(), leaked).unwrap();
        tokio::spawn(upkeep(auth.clone(), stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let app = app(auth, Draining::default()).unwrap();
        let stopped = stop.clone().cancelled_owned();
        let patience = Patience::from(&context.config.server);
        tokio::spawn(connections::serve(listener, app, stopped, patience));
        let client = Client::builder().pool_max_idle_per_host(200).build().unwrap();
        Self {
            base_url,
            client,
            context,
            _stop: stop.drop_guard(),
        }
    }

    /// Follows the signals until `stop`.
    pub(crate) async fn hear(&self, stop: CancellationToken) {
        let context = &self.context;
        signal::tail(
            Arc::clone(&context.signals),
            context.postgres.clone(),
            context.redis.clone(),
            Arc::clone(&context.clock),
            stop,
        )
        .await
        .unwrap();
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base_url))
    }

    /// What the server answers, which is as the document says.
    pub(crate) async fn send(request: RequestBuilder) -> Answer {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await.unwrap();
        let answer = Answer {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        };
        conformance::check(&method, &path, &answer);
        answer
    }

    /// Before sign-in, in a tenant.
    pub(crate) async fn post(&self, tenant: &str, path: &str, body: Value) -> Answer {
        Self::send(
            self.request(Method::POST, path)
                .header("x-tenant-id", tenant)
                .json(&body),
        )
        .await
    }

    pub(crate) async fn get_as(&self, token: &str, path: &str) -> Answer {
        Self::send(self.request(Method::GET, path).bearer_auth(token)).await
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: Value) -> Answer {
        Self::send(self.request(Method::POST, path).bearer_auth(token).json(&body)).await
    }

    pub(crate) async fn login(&self, tenant: &str, email: &str) -> Value {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post(tenant, "/v1/auth/login", body).await.expect(200)
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        let body = json!({ "refresh_token": token });
        Self::send(self.request(Method::POST, "/v1/auth/refresh").json(&body)).await
    }

    /// The platform's administrator, signed in.
    pub(crate) async fn admin(&self) -> String {
        let email = Email::parse(ADMIN).unwrap();
        bootstrap(&self.context, email, Secret::new(PASSWORD.to_owned()))
            .await
            .unwrap();
        text(&self.login("platform", ADMIN).await, "access_token")
    }

    /// A tenant with an owner, who is signed in: the tenant's id and the owner's token.
    pub(crate) async fn tenant(&self, admin: &str, slug: &str) -> (Uuid, String) {
        let owner = format!("owner@{slug}.test");
        let body = json!({ "slug": slug, "name": format!("Tenant {slug}"), "owner": { "email": owner } });
        let tenant = self.post_as(admin, "/v1/tenants", body).await.expect(201);
        let body = json!({ "token": self.mailed_token(&owner).await, "password": PASSWORD });
        let accept = self.request(Method::POST, "/v1/invitations/accept").json(&body);
        Self::send(accept).await.expect(201);
        let token = text(&self.login(slug, &owner).await, "access_token");
        (tenant["id"].as_str().unwrap().parse().unwrap(), token)
    }

    /// A user who has registered and verified.
    pub(crate) async fn user(&self, tenant: &str, email: &str) {
        let body = json!({ "email": email, "password": PASSWORD });
        self.post(tenant, "/v1/auth/register", body).await.expect(202);
        let body = json!({ "token": self.mailed_token(email).await });
        Self::send(self.request(Method::POST, "/v1/auth/email/verify").json(&body))
            .await
            .expect(200);
    }

    /// Everything that was mailed to the address, oldest first. Read where it waits for the worker.
    pub(crate) async fn mails(&self, to: &str) -> Vec<Message> {
        let tx = self
            .context
            .postgres
            .cross_tenant(CrossTenant::Deliver)
            .await
            .unwrap();
        let select = Statement::from_string(
            DbBackend::Postgres,
            "SELECT id, sealed FROM mails ORDER BY created_at",
        );
        let rows = tx.query_all_raw(select).await.unwrap();
        let keys = &self.context.config.secrets.data_keys;
        let open = |row: sea_orm::QueryResult| {
            let (id, sealed): (Uuid, Vec<u8>) =
                (row.try_get("", "id").unwrap(), row.try_get("", "sealed").unwrap());
            Message::open(keys, id, &sealed).unwrap()
        };
        rows.into_iter().map(open).filter(|mail| mail.to == to).collect()
    }

    /// The token of the newest mail to the address.
    pub(crate) async fn mailed_token(&self, to: &str) -> String {
        let mails = self.mails(to).await;
        let text = &mails.last().unwrap_or_else(|| panic!("no mail to {to}")).text;
        let (_, after) = text.split_once("token=").unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    /// One value of one row, over all tenants.
    pub(crate) async fn scalar(&self, sql: &str) -> i64 {
        let tx = self
            .context
            .postgres
            .cross_tenant(CrossTenant::Deliver)
            .await
            .unwrap();
        let select = Statement::from_string(DbBackend::Postgres, format!("SELECT ({sql})::bigint AS value"));
        tx.query_one_raw(select)
            .await
            .unwrap()
            .unwrap()
            .try_get("", "value")
            .unwrap()
    }

    /// As [`Self::scalar`], of what is written as text.
    pub(crate) async fn scalar_text(&self, sql: &str) -> String {
        let tx = self
            .context
            .postgres
            .cross_tenant(CrossTenant::Deliver)
            .await
            .unwrap();
        let select = Statement::from_string(DbBackend::Postgres, format!("SELECT ({sql})::text AS value"));
        tx.query_one_raw(select)
            .await
            .unwrap()
            .unwrap()
            .try_get("", "value")
            .unwrap()
    }

    /// Until so many transactions wait for rows that others hold.
    pub(crate) async fn until_waiting(&self, count: i64) {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let waiting = async {
            while self.scalar(waits).await < count {
                tokio::task::yield_now().await;
            }
        };
        assert!(
            timeout(Duration::from_secs(20), waiting).await.is_ok(),
            "nobody waits"
        );
    }

    /// A transaction behind the server's back that has gone so far and not ended.
    pub(crate) async fn under_way(&self, sql: &str) -> Tx {
        let tx = self
            .context
            .postgres
            .cross_tenant(CrossTenant::Deliver)
            .await
            .unwrap();
        tx.execute_unprepared(sql).await.unwrap();
        tx
    }

    /// Changes rows behind the server's back.
    pub(crate) async fn execute(&self, sql: &str) {
        self.under_way(sql).await.commit().await.unwrap();
    }
}

/// The program as an operator calls it, with the bed's settings.
pub(crate) fn command(bed: &TestBed, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latchkey-api"));
    command.args(arguments).env_clear().envs(bed.environment());
    command
}

/// Its exit code, and all that it printed.
pub(crate) fn code_and_text(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// A field that is text.
pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
        .to_owned()
}

/// One JSON value a line.
pub(crate) fn ndjson<Line: Borrow<Value>>(lines: impl IntoIterator<Item = Line>) -> String {
    lines.into_iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{}", line.borrow()).unwrap();
        text
    })
}
