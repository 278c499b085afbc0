//! Waiting for locks, so that nobody else has to wait for long.
//!
//! A change that waits for a table's lock holds up every statement on that table which comes after it. So it waits for a
//! moment only, lets the others go on, and is tried again. What must never happen: that a change is tried again of which a
//! part has stayed. Each runs in a transaction of its own, with the row that says that it was made; one that does not is
//! not tried again.

use std::time::Duration;

use sea_orm_migration::{
    prelude::*,
    sea_orm::{DatabaseConnection, RuntimeErr},
};

use crate::Migrator;

/// `lock_not_available` and `deadlock_detected`.
const GOT_NO_LOCK: [&str; 2] = ["55P03", "40P01"];
/// What comes after the last change.
const GRANTS: &str = "granting the application's role its rights";

/// How long changes wait for the locks that they need.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For each lock: by waiting for one, a change holds nobody up for longer.
    pub lock: Duration,
    /// Between one attempt at a change and the next; after the last one it has failed.
    pub pauses: Vec<Duration>,
}

impl Default for Patience {
    /// 5 s for a lock, six attempts, a minute and a half altogether.
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(5),
            pauses: [2, 5, 10, 20, 30].map(Duration::from_secs).into(),
        }
    }
}

/// Has every statement of the connection wait for a lock so long at most.
pub(crate) async fn set_lock_timeout(db: &DatabaseConnection, patience: &Patience) -> Result<(), DbErr> {
    let set = format!("SET lock_timeout = '{}ms'", patience.lock.as_millis().max(1));
    db.execute_unprepared(&set).await?;
    Ok(())
}

/// Applies all changes, then `grants`; whatever gets no lock is tried again.
pub(crate) async fn apply(db: &DatabaseConnection, grants: &str, patience: &Patience) -> Result<(), DbErr> {
    let (mut pauses, mut waited_for) = (patience.pauses.iter(), String::new());
    loop {
        let Err(error) = try_apply(db, grants).await else {
            return Ok(());
        };
        if !got_no_lock(&error) {
            return Err(error);
        }
        let name = next_change(db).await?.unwrap_or_else(|| GRANTS.to_owned());
        if waited_for != name {
            pauses = patience.pauses.iter();
            waited_for.clone_from(&name);
        }
        let Some(pause) = pauses.next().filter(|_| undone_as_a_whole(&name)) else {
            let fault = format!("{name}: somebody else holds a lock that it needs: {error}");
            return Err(DbErr::Migration(fault));
        };
        // Whoever deploys reads this; no log has been set up.
        println!("{name} waits for a lock that somebody else holds; it is tried again in {pause:?}");
        tokio::time::sleep(*pause).await;
    }
}

async fn try_apply(db: &DatabaseConnection, grants: &str) -> Result<(), DbErr> {
    Migrator::up(db, None).await?;
    // Several statements that are sent as one are one transaction.
    db.execute_unprepared(grants).await?;
    Ok(())
}

/// The name of the first change that is still to be made.
async fn next_change(db: &DatabaseConnection) -> Result<Option<String>, DbErr> {
    let pending = Migrator::get_pending_migrations(db).await?;
    Ok(pending.first().map(|change| change.name().to_owned()))
}

/// Whether nothing stays of the change when it fails: on PostgreSQL that is so unless it says otherwise.
fn undone_as_a_whole(name: &str) -> bool {
    Migrator::migrations()
        .iter()
        .filter(|change| change.name() == name)
        .all(|change| change.use_transaction() != Some(false))
}

fn got_no_lock(error: &DbErr) -> bool {
    let (DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error)) = error else {
        return false;
    };
    let RuntimeErr::SqlxError(error) = error else {
        return false;
    };
    let Some(error) = error.as_database_error() else {
        return false;
    };
    error
        .code()
        .is_some_and(|code| GOT_NO_LOCK.contains(&code.as_ref()))
}
