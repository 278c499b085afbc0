//! Many tenants with many users each, for whoever measures how the platform carries them.
//!
//! Every user has the same password. It runs in development only: accounts whose password is known to everybody are
//! nothing for any other place. To run it again adds what is missing and changes nothing that is there.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DbErr, raw_sql};

use crate::{
    config::Environment,
    context::Context,
    crypto::pool::{HashPool, PoolError, StartError},
    error::{Internal, internal_variant},
    postgres::{CrossTenant, Tx},
    secret::Secret,
};

/// So many users are written by one statement, roughly.
const BATCH: u32 = 20_000;

/// How many there are to be.
#[derive(Debug)]
pub struct Seed {
    /// Tenants: `seed-000001` and on.
    pub tenants: u32,
    /// Users of each: `user-1@seed-000001.test` and on. The first owns the tenant, the others are members.
    pub users: u32,
    /// Of every user.
    pub password: Secret<String>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Only development takes accounts that everybody knows the password of.
    #[error("server.environment: only development takes seeded accounts")]
    NotDevelopment,
    /// Hashing could not start.
    #[error(transparent)]
    Passwords(#[from] StartError),
    /// Hashing failed.
    #[error(transparent)]
    Hash(#[from] PoolError),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(SeedError: Internal DbErr);

/// Writes the tenants that are missing with all their users, a batch a transaction; how many users were written.
///
/// # Errors
/// [`SeedError::NotDevelopment`]; what was written before a failure stays.
pub async fn seed(context: &Context, request: Seed) -> Result<u64, SeedError> {
    if context.config.server.environment != Environment::Development {
        return Err(SeedError::NotDevelopment);
    }
    let pool = HashPool::start(&context.config.passwords)?;
    let hash = pool.hash(request.password, &*context.random).await?;
    let (now, step) = (context.clock.now(), (BATCH / request.users.max(1)).max(1));
    let mut written = 0;
    let mut from = 1;
    while from <= request.tenants {
        let to = request.tenants.min(from + step - 1);
        let tx = context.postgres.cross_tenant(CrossTenant::Seed).await?;
        written += insert(&tx, [from, to, request.users], &hash, now).await?;
        tx.commit().await?;
        from = to + 1;
    }
    Ok(written)
}

/// Tenants of those numbers with so many users each, unless their slugs are there.
async fn insert(tx: &Tx, [from, to, users]: [u32; 3], hash: &str, now: DateTime<Utc>) -> Result<u64, DbErr> {
    let (from, to, users) = (i64::from(from), i64::from(to), i64::from(users));
    let done = tx
        .execute_raw(raw_sql!(
            Postgres,
            "WITH t AS (
                 INSERT INTO tenants (id, slug, name, status, created_at, updated_at)
                 SELECT latchkey_uuid_v7({now}), 'seed-' || lpad(n::text, 6, '0'), 'Seed ' || n, 'active', {now}, {now}
                 FROM generate_series({from}, {to}) n
                 ON CONFLICT (slug) DO NOTHING
                 RETURNING id, slug),
             r AS (
                 INSERT INTO roles (id, tenant_id, name, name_canonical, builtin, created_at, updated_at)
                 SELECT latchkey_uuid_v7({now}), t.id, b.name, b.name, true, {now}, {now}
                 FROM t CROSS JOIN (VALUES ('owner'), ('admin'), ('member')) b (name)
                 RETURNING id, tenant_id, name),
             u AS (
                 INSERT INTO users (id, tenant_id, email, email_canonical, password_hash, status,
                                    email_verified_at, created_at, updated_at)
                 SELECT latchkey_uuid_v7({now}), t.id, a.address, a.address, {hash}, 'active', {now}, {now}, {now}
                 FROM t CROSS JOIN generate_series(1, {users}) n
                 CROSS JOIN LATERAL (SELECT 'user-' || n || '@' || t.slug || '.test') a (address)
                 RETURNING id, tenant_id, email)
             INSERT INTO role_assignments (tenant_id, user_id, role_id, created_at)
             SELECT u.tenant_id, u.id, r.id, {now}
             FROM u JOIN r ON r.tenant_id = u.tenant_id
                 AND r.name = CASE WHEN u.email LIKE 'user-1@%' THEN 'owner' ELSE 'member' END"
        ))
        .await?;
    Ok(done.rows_affected())
}
