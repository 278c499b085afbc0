//! A named set of permissions.

use sea_orm::entity::prelude::*;

use crate::{
    id::{RoleId, TenantId},
    version::Version,
};

/// A named set of permissions.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "roles")]
pub struct Model {
    /// Its id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: RoleId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// The form that is unique in the tenant.
    pub name_canonical: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its permissions follow from the catalogue in code.
    pub builtin: bool,
    /// Of a role of the tenant's own.
    pub permissions: Vec<String>,
    /// How many changes it has seen.
    pub version: Version,
    /// When it was made.
    pub created_at: DateTimeUtc,
    /// When it last changed.
    pub updated_at: DateTimeUtc,
}

impl ActiveModelBehavior for ActiveModel {}
