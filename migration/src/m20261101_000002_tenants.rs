//! Tenants and the domains that name them.

use sea_orm_migration::{prelude::*, sea_orm::ConnectionTrait};

const UP: &str = "
CREATE TABLE tenants (
    id          uuid PRIMARY KEY,
    slug        text NOT NULL UNIQUE,
    name        text NOT NULL,
    status      text NOT NULL CHECK (status IN ('active', 'suspended')),
    settings    jsonb NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE tenant_domains (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    domain      text NOT NULL,
    verified_at timestamptz,
    created_at  timestamptz NOT NULL
);
-- Anyone may claim a domain; one tenant at most has proven it.
CREATE UNIQUE INDEX tenant_domains_verified ON tenant_domains (domain) WHERE verified_at IS NOT NULL;
CREATE INDEX tenant_domains_tenant ON tenant_domains (tenant_id);
";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared(UP).await?;
        db.execute_unprepared(&crate::isolate_by("tenants", "id")).await?;
        db.execute_unprepared(&crate::isolate("tenant_domains")).await?;
        Ok(())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(DbErr::Migration(
            "changes are not undone; restore a backup".to_owned(),
        ))
    }
}
