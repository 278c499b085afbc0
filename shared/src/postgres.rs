//! The database, and the only two doors to it.
//!
//! [`Postgres::tenant`] opens a transaction that sees one tenant and nothing else; [`Postgres::cross_tenant`]
//! opens one for the few duties that span tenants, each of which is named in [`CrossTenant`]. Row-level security
//! enforces both: a transaction that states neither sees no row.

use std::{str::FromStr, time::Duration};

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    Statement, TransactionTrait, raw_sql, sqlx::postgres::PgConnectOptions,
};

use crate::{config, id::TenantId};

/// A transaction. Dropped without a commit, it leaves nothing behind.
pub type Tx = DatabaseTransaction;

/// Why work spans tenants. Whoever adds a reason here answers for it.
#[derive(Clone, Copy, Debug)]
pub enum CrossTenant {
    /// A request names a tenant that is yet to be found.
    ResolveTenant,
    /// The platform's administrators manage tenants; each change is audited.
    Administration,
    /// The platform itself is set up.
    Bootstrap,
    /// Many tenants are made for a measurement, in development.
    Seed,
    /// A process reads which sessions have ended, whosesoever they are.
    Signals,
    /// A request brings a key, which names no tenant.
    ResolveKey,
    /// A process writes down when sessions were last seen and keys last used.
    LastSeen,
    /// A process writes down what tenants did.
    Usage,
    /// The worker looks for due work.
    Sweep,
    /// The worker seals the audit trail.
    Seal,
    /// An operator has the audit trail verified.
    Verify,
    /// The worker makes partitions, and drops those whose day is history.
    Partitions,
    /// The worker writes deliveries of events that go to very many endpoints.
    FanOut,
    /// The worker claims and records work of many tenants at once.
    Deliver,
}

/// The role that a URL connects as.
///
/// # Errors
/// When the URL cannot be read.
pub fn role_of(url: &str) -> Result<String, DbErr> {
    // The error may repeat the password.
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| DbErr::Custom("postgres.url cannot be read as PostgreSQL's clients do".to_owned()))?;
    Ok(options.get_username().to_owned())
}

/// The pool of connections.
#[derive(Clone, Debug)]
pub struct Postgres(DatabaseConnection);

impl Postgres {
    /// Connects as the application's role.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connect(settings: &config::Postgres) -> Result<Self, DbErr> {
        let mut options = ConnectOptions::new(settings.url.expose());
        options
            .max_connections(settings.max_connections)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(5))
            .idle_timeout(Duration::from_mins(5))
            .test_before_acquire_if_idle_for(Duration::from_secs(30))
            .statement_timeout(Duration::from_secs(15))
            .record_stmt_in_spans(false)
            .sqlx_logging(false)
            // A process that is stopped amid a transaction keeps its locks from the others no longer than that.
            .map_sqlx_postgres_opts(|options| {
                options.options([("idle_in_transaction_session_timeout", "30s")])
            });
        let mut connections = Database::connect(options).await?;
        // Round trips are what a database costs: an operation that takes more than before shows here.
        let statements = metrics::counter!("latchkey_postgres_statements_total");
        connections.set_metric_callback(move |_| statements.increment(1));
        Ok(Self(connections))
    }

    /// Opens a transaction in one tenant.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Tx, DbErr> {
        let tx = self.0.begin().await?;
        // Prepared once for each connection: as text of its own it would be parsed for every transaction.
        let tenant = tenant.to_string();
        tx.execute_raw(raw_sql!(
            Postgres,
            "SELECT set_config('latchkey.tenant_id', {tenant}, true)"
        ))
        .await?;
        Ok(tx)
    }

    /// Opens a transaction over all tenants.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn cross_tenant(&self, reason: CrossTenant) -> Result<Tx, DbErr> {
        tracing::trace!(?reason, "cross-tenant transaction");
        let tx = self.0.begin().await?;
        let scope = match reason {
            // Planned once for each connection. The planner would rather plan anew for every batch where it sees many days, and
            // come to the same: the statements say which days they look into.
            CrossTenant::Deliver => {
                "SELECT set_config('latchkey.scope', 'cross_tenant', true),
                        set_config('plan_cache_mode', 'force_generic_plan', true)"
            }
            _ => "SELECT set_config('latchkey.scope', 'cross_tenant', true)",
        };
        tx.execute_unprepared(scope).await?;
        Ok(tx)
    }

    /// Whether row-level security holds the role that is signed in: neither a superuser, nor exempt, nor the owner
    /// of a table, who could switch it off.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_held_by_policies(&self) -> Result<bool, DbErr> {
        let question = "SELECT NOT (rolsuper OR rolbypassrls OR EXISTS (
                SELECT 1 FROM pg_class WHERE relowner = pg_roles.oid AND relkind IN ('r', 'p')
            )) AS held FROM pg_roles WHERE rolname = current_user";
        let question = Statement::from_string(DbBackend::Postgres, question);
        let row = self.0.query_one_raw(question).await?;
        row.map_or(Ok(false), |row| row.try_get("", "held"))
    }

    /// The newest migration the database has seen.
    ///
    /// # Errors
    /// When the database does not answer, or was never migrated.
    pub async fn schema_version(&self) -> Result<Option<String>, DbErr> {
        let newest = "SELECT max(version) AS version FROM seaql_migrations";
        let newest = Statement::from_string(DbBackend::Postgres, newest);
        let row = self.0.query_one_raw(newest).await?;
        row.map(|row| row.try_get("", "version")).transpose()
    }

    /// Gives the connections back.
    pub async fn close(self) {
        if let Err(error) = self.0.close().await {
            tracing::warn!(%error, "the connections to PostgreSQL did not close");
        }
    }
}
