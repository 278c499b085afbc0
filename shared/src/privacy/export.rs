//! Everything that is stored about a user, as one JSON document.

use std::fmt::Write;

use serde_json::json;

use super::{
    classification::{Ending, TABLES},
    erase::subject,
    store,
};
use crate::{
    audit::{self, Record},
    clock::Timestamp,
    context::Context,
    error::Internal,
    principal::{Actor, Origin, UserSession},
    tenant::Tenant,
    user,
};

/// So many rows of a table are exported, newest first: a document has to fit into memory, here and at its reader's.
pub const ROWS_PER_TABLE: u32 = 5_000;

/// The document; nothing if the account is gone meanwhile.
///
/// Rows are the database's own, so that the document says what is stored and not what we think of it. Of secrets it
/// says whether they are there.
///
/// # Errors
/// Only failures inside.
pub async fn export(
    context: &Context,
    tenant: &Tenant,
    caller: &UserSession,
    origin: &Origin,
) -> Result<Option<String>, Internal> {
    let change = context.change(tenant.id, Actor::from(caller), origin).await?;
    let Some(user) = user::store::find(&change.tx, tenant.id, caller.user).await? else {
        return Ok(None);
    };
    let record = Record::success("user.export", "user", user.id.0, json!({}));
    audit::record(&change, record).await?;
    let subject = subject(context, &change.tx, tenant, &user).await?;
    let (mut tables, mut kept, mut complete) = (String::new(), serde_json::Map::new(), true);
    for table in TABLES {
        let Some(section) = store::section(&change.tx, &subject, table, ROWS_PER_TABLE).await? else {
            continue;
        };
        complete &= section.total <= i64::from(ROWS_PER_TABLE);
        if let Ending::Stay(reason) = table.ending {
            kept.insert(table.name.to_owned(), reason.into());
        }
        let comma = if tables.is_empty() { "" } else { "," };
        let store::Section { total, rows } = section;
        // Writing into a string cannot fail.
        let _ = write!(
            tables,
            r#"{comma}"{}":{{"total":{total},"rows":{rows}}}"#,
            table.name
        );
    }
    let at = Timestamp(change.now).text();
    change.commit().await?;
    let (user, tenant, kept) = (user.id, tenant.id, serde_json::Value::Object(kept));
    Ok(Some(format!(
        r#"{{"exported_at":"{at}","user_id":"{user}","tenant_id":"{tenant}","complete":{complete},"rows_per_table":{ROWS_PER_TABLE},"kept_after_deletion":{kept},"tables":{{{tables}}}}}"#
    )))
}
