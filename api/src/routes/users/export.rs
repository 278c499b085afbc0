//! An export from its first page to its last.

use std::io;

use futures::stream;
use latchkey_shared::{
    administration::export_page,
    auth::Auth,
    id::UserId,
    permission::{Authorized, UsersRead},
};
use poem::Body;
use poem_openapi::types::ToJSON;

use super::model::ManagedUserView;

/// All users, a line each. A page is read when the one before it was sent: nothing piles up. Where one cannot be read
/// the answer breaks off, which no reader takes for its end.
pub(super) fn run(auth: Auth, caller: Authorized<UsersRead>) -> Body {
    let begin: (Auth, Authorized<UsersRead>, Option<UserId>) = (auth, caller, None);
    let pages = stream::try_unfold(begin, |(auth, caller, before)| async move {
        let page = export_page(&auth.context, &caller, before).await;
        let page = page.map_err(|error| {
            tracing::error!(%error, "an export broke off");
            io::Error::other("the export broke off")
        })?;
        let Some(last) = page.last().map(|user| user.user.id) else {
            return Ok(None);
        };
        let mut text = String::new();
        for user in page {
            text += &ManagedUserView::from(user).to_json_string();
            text.push('\n');
        }
        Ok::<_, io::Error>(Some((text, (auth, caller, Some(last)))))
    });
    Body::from_bytes_stream(pages)
}
