//! The database, and the only two doors to it.
//!
//! [`Postgres::tenant`] opens a transaction that sees one tenant and nothing else; [`Postgres::cross_tenant`]
//! opens one for the few duties that span tenants, each of which is named in [`CrossTenant`]. Row-level security
//! enforces both: a transaction that states neither sees no row.

mod tx;

use std::{str::FromStr, time::Duration};

use metrics::Counter;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement,
    sqlx::postgres::PgConnectOptions,
};

pub use self::tx::Tx;
use crate::{config, id::TenantId};

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
    /// An operator has everything sealed anew that another data key has sealed.
    Reseal,
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
pub struct Postgres {
    connections: DatabaseConnection,
    statements: Counter,
}

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
        Ok(Self {
            connections: Database::connect(options).await?,
            // Round trips are what a database costs: an operation that takes more than before shows here.
            statements: metrics::counter!("latchkey_postgres_statements_total"),
        })
    }

    /// Opens a transaction in one tenant.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn tenant(&self, tenant: TenantId) -> Result<Tx, DbErr> {
        self.begin(&format!(
            "SET LOCAL latchkey.scope = ''; SET LOCAL latchkey.tenant_id = '{}'",
            tenant.0
        ))
        .await
    }

    /// Opens a transaction over all tenants.
    ///
    /// # Errors
    /// When no connection is to be had.
    pub async fn cross_tenant(&self, reason: CrossTenant) -> Result<Tx, DbErr> {
        tracing::trace!(?reason, "cross-tenant transaction");
        // Each door says both, whatever was said before.
        self.begin(match reason {
            // Planned once for each connection. The planner would rather plan anew for every batch where it sees many days, and
            // come to the same: the statements say which days they look into.
            CrossTenant::Deliver => {
                "SET LOCAL latchkey.tenant_id = ''; SET LOCAL latchkey.scope = 'cross_tenant';
                 SET LOCAL plan_cache_mode = force_generic_plan"
            }
            _ => "SET LOCAL latchkey.tenant_id = ''; SET LOCAL latchkey.scope = 'cross_tenant'",
        })
        .await
    }

    async fn begin(&self, settings: &str) -> Result<Tx, DbErr> {
        let pool = self.connections.get_postgres_connection_pool();
        Tx::begin(pool, settings, self.statements.clone()).await
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
        let row = self.connections.query_one_raw(question).await?;
        row.map_or(Ok(false), |row| row.try_get("", "held"))
    }

    /// The newest migration the database has seen.
    ///
    /// # Errors
    /// When the database does not answer, or was never migrated.
    pub async fn schema_version(&self) -> Result<Option<String>, DbErr> {
        let newest = "SELECT max(version) AS version FROM seaql_migrations";
        let newest = Statement::from_string(DbBackend::Postgres, newest);
        let row = self.connections.query_one_raw(newest).await?;
        row.map(|row| row.try_get("", "version")).transpose()
    }

    /// Gives the connections back.
    pub async fn close(self) {
        if let Err(error) = self.connections.close().await {
            tracing::warn!(%error, "the connections to PostgreSQL did not close");
        }
    }
}
