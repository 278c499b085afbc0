//! Finds the endpoints that there are, and those that are long gone, without reading one another.

crate::sql_migration!(
    "
CREATE INDEX webhook_endpoints_live ON webhook_endpoints (tenant_id, id) WHERE deleted_at IS NULL;
CREATE INDEX webhook_endpoints_deleted ON webhook_endpoints (deleted_at) WHERE deleted_at IS NOT NULL;
"
);
