//! A transaction that says with its very beginning whose rows it sees.
//!
//! SeaORM begins one and is told so in a second round trip. Every operation has a transaction and most of an operation is the
//! way to the database and back; here both are one text. What follows goes to sqlx as SeaORM would give it.
//!
//! What must never happen: that a connection goes back to the pool with a transaction that was begun and that nobody knows of.
//! The next one on it would have the settings of that, and see whatever it saw. sqlx knows of a transaction once its beginning
//! was waited for to the end; so a task of its own waits, whoever has stopped waiting for it.

use metrics::Counter;
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    prelude::async_trait::async_trait,
    sea_query::Values,
    sqlx::{self, AssertSqlSafe, PgPool, Postgres, Transaction, postgres::PgQueryResult, query::Query},
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

/// A transaction. Dropped without a commit, it leaves nothing behind.
pub struct Tx {
    transaction: Mutex<Transaction<'static, Postgres>>,
    statements: Counter,
}

impl Tx {
    /// Begins one with those settings, which end with it: `SET LOCAL` and nothing else.
    pub(super) async fn begin(pool: &PgPool, settings: &str, statements: Counter) -> Result<Self, DbErr> {
        statements.increment(1);
        let (pool, text) = (pool.clone(), format!("BEGIN; {settings}"));
        let beginning = tokio::spawn(async move { pool.begin_with(AssertSqlSafe(text)).await });
        let begun = beginning
            .await
            .map_err(|error| DbErr::Conn(RuntimeErr::Internal(error.to_string())))?;
        let transaction = begun.map_err(|error| match error {
            sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
            sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
            error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
        })?;
        Ok(Self {
            transaction: Mutex::new(transaction),
            statements,
        })
    }

    /// Makes what was done everybody's.
    ///
    /// # Errors
    /// When it cannot be, or the connection breaks off: then nobody knows.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.transaction.into_inner().commit().await.map_err(failed)
    }

    /// Undoes what was done, and waits for that.
    ///
    /// # Errors
    /// When the connection breaks off, which undoes it as well.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.transaction.into_inner().rollback().await.map_err(failed)
    }
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Postgres
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.statements.increment(1);
        let mut transaction = self.transaction.lock().await;
        let done = query(statement).execute(&mut **transaction).await;
        done.map(ExecResult::from).map_err(failed)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.statements.increment(1);
        let mut transaction = self.transaction.lock().await;
        let done: Result<PgQueryResult, _> = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut **transaction)
            .await;
        done.map(ExecResult::from).map_err(failed)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.statements.increment(1);
        let mut transaction = self.transaction.lock().await;
        let row = query(statement).fetch_optional(&mut **transaction).await;
        row.map(|row| row.map(QueryResult::from)).map_err(failed)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.statements.increment(1);
        let mut transaction = self.transaction.lock().await;
        let rows = query(statement).fetch_all(&mut **transaction).await;
        rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
            .map_err(failed)
    }
}

fn query(Statement { sql, values, .. }: Statement) -> Query<'static, Postgres, SqlxValues> {
    let values = values.unwrap_or(Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(sql), SqlxValues(values))
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
