//! An export from its first page to its last.

use std::io;

use futures::stream;
use latchkey_shared::{
    audit::{AuditFilter, export_page},
    auth::Auth,
    id::AuditId,
    permission::{AuditRead, Authorized},
};
use poem::Body;
use poem_openapi::types::ToJSON;

use super::model::AuditEventView;

/// All rows that pass the filter, a line each. A page is read when the one before it was sent: nothing piles up. Where
/// one cannot be read the answer breaks off, which no reader takes for its end.
pub(super) fn run(auth: Auth, caller: Authorized<AuditRead>, filter: AuditFilter) -> Body {
    let begin: (Auth, Authorized<AuditRead>, AuditFilter, Option<AuditId>) = (auth, caller, filter, None);
    let pages = stream::try_unfold(begin, |(auth, caller, filter, before)| async move {
        let page = export_page(&auth.context, &caller, &filter, before).await;
        let page = page.map_err(|error| {
            tracing::error!(%error, "an export broke off");
            io::Error::other("the export broke off")
        })?;
        let Some(last) = page.last().map(|event| event.id) else {
            return Ok(None);
        };
        let mut text = String::new();
        for event in page {
            text += &AuditEventView::from(event).to_json_string();
            text.push('\n');
        }
        Ok::<_, io::Error>(Some((text, (auth, caller, filter, Some(last)))))
    });
    Body::from_bytes_stream(pages)
}
