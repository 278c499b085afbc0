//! The shapes of one's own account.

use std::{collections::HashMap, sync::Arc};

use latchkey_shared::{
    auth::{Account, ProfilePatch},
    entity::TenantStatus,
};
use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse, Enum, Object,
    payload::Payload,
    registry::{MetaResponses, Registry},
    types::{Example, MaybeUndefined, ToJSON},
};
use uuid::Uuid;

use crate::{
    extract::Json,
    json_object::JsonObject,
    reply::Ok as Reply,
    routes::{auth::UserView, changed},
    time::Timestamp,
};

/// The caller's tenant, in short.
#[derive(Object)]
struct TenantRef {
    id: Uuid,
    slug: String,
    name: String,
    status: TenantStatusRef,
}

#[derive(Enum)]
#[oai(rename_all = "snake_case")]
enum TenantStatusRef {
    Active,
    Suspended,
}

/// The caller.
#[derive(Object)]
#[oai(rename = "Me")]
struct MeView {
    user: UserView,
    tenant: TenantRef,
    /// The names of the roles held.
    roles: Vec<String>,
    /// What they grant together.
    permissions: Vec<String>,
}

impl From<&Account> for MeView {
    fn from(account: &Account) -> Self {
        let tenant = &account.tenant;
        Self {
            user: account.user.clone().into(),
            tenant: TenantRef {
                id: tenant.id.0,
                slug: tenant.slug.clone(),
                name: tenant.name.clone(),
                status: match tenant.status {
                    TenantStatus::Active => TenantStatusRef::Active,
                    // Nobody is let in to see it.
                    TenantStatus::Suspended | TenantStatus::Deleting | TenantStatus::Purging => {
                        TenantStatusRef::Suspended
                    }
                },
            },
            roles: account.roles.clone(),
            permissions: account.permissions.iter().map(str::to_owned).collect(),
        }
    }
}

/// 200 with [`MeView`], which is written once for as long as the account is remembered: most services ask for it with
/// each of their own requests.
pub(super) struct MeReply(pub(super) Arc<Account>);

impl IntoResponse for MeReply {
    fn into_response(self) -> Response {
        let Self(account) = self;
        let shown = account
            .shown
            .get_or_init(|| MeView::from(&*account).to_json_string());
        Response::builder()
            .content_type(Json::<MeView>::CONTENT_TYPE)
            .body(shown.clone())
    }
}

impl ApiResponse for MeReply {
    fn meta() -> MetaResponses {
        Reply::<MeView>::meta()
    }

    fn register(registry: &mut Registry) {
        Reply::<MeView>::register(registry);
    }
}

/// What to change of one's own account.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct UpdateMeRequest {
    /// What the user goes by; null removes it.
    #[oai(validator(min_length = 1, max_length = 200))]
    name: MaybeUndefined<String>,
}

impl Example for UpdateMeRequest {
    fn example() -> Self {
        Self {
            name: MaybeUndefined::Value("Ada Lovelace".to_owned()),
        }
    }
}

impl From<UpdateMeRequest> for ProfilePatch {
    fn from(request: UpdateMeRequest) -> Self {
        let UpdateMeRequest { name } = request;
        Self { name: changed(name) }
    }
}

/// The password, once more.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct DeleteMeRequest {
    /// Of the account that is to go.
    #[oai(validator(max_length = 1024))]
    pub(super) password: String,
}

impl Example for DeleteMeRequest {
    fn example() -> Self {
        Self {
            password: "correct horse battery staple".to_owned(),
        }
    }
}

/// Everything that is stored about the caller.
#[derive(Object)]
#[oai(rename = "AccountExport")]
struct ExportView {
    exported_at: Timestamp,
    user_id: Uuid,
    tenant_id: Uuid,
    /// Whether every row is in it. Where not, `total` of a table is larger than `rows_per_table`.
    complete: bool,
    /// So many rows of a table are exported, newest first.
    rows_per_table: u32,
    /// What stays when the account is deleted: for each table the reason, and for how long.
    kept_after_deletion: HashMap<String, String>,
    /// The caller's rows by table.
    tables: HashMap<String, ExportedTable>,
}

/// The caller's rows of one table.
#[derive(Object)]
struct ExportedTable {
    /// How many there are.
    total: i64,
    /// The rows as they are stored. Of a secret it says `present`, and no more.
    rows: Vec<JsonObject>,
}

/// 200 with the document as the database wrote it.
pub(super) struct ExportReply(pub(super) String);

impl IntoResponse for ExportReply {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(<Json<ExportView> as Payload>::CONTENT_TYPE)
            .body(self.0)
    }
}

impl ApiResponse for ExportReply {
    fn meta() -> MetaResponses {
        Reply::<ExportView>::meta()
    }

    fn register(registry: &mut Registry) {
        Reply::<ExportView>::register(registry);
    }
}
