//! An export from its first page to its last.

use std::io;

use futures::stream;
use latchkey_shared::{
    auth::Auth,
    error::Internal,
    permission::{Authorized, Permission},
};
use poem::Body;
use poem_openapi::types::ToJSON;
use uuid::Uuid;

use crate::extract::Credential;

/// What follows the row of an id, or is first: rows with their ids.
type Page<View> = Result<Vec<(Uuid, View)>, Internal>;

/// All rows, a line each. A page is read when the one before it was sent: nothing piles up. Where one cannot be read, or
/// whoever asked may read no more, the answer breaks off, which no reader takes for its end.
pub(super) fn run<P, View, Reading>(
    auth: Auth,
    credential: Credential,
    read: impl Fn(Auth, Authorized<P>, Option<Uuid>) -> Reading + Send + 'static,
) -> Body
where
    P: Permission,
    View: ToJSON + Send,
    Reading: Future<Output = Page<View>> + Send,
{
    let pages = stream::try_unfold(
        (auth, credential, read, None),
        async |(auth, credential, read, last)| {
            // The reader may take long, and have lost the right since it began.
            let caller = credential.permit::<P>(&auth).await.map_err(|refused| {
                tracing::info!(%refused, "an export ends with the right to it");
                broken_off()
            })?;
            let page = read(auth.clone(), caller, last).await.map_err(|error| {
                tracing::error!(%error, "an export broke off");
                broken_off()
            })?;
            let Some((last, _)) = page.last() else {
                return Ok(None);
            };
            let last = Some(*last);
            let mut text = String::new();
            for (_, row) in page {
                text += &row.to_json_string();
                text.push('\n');
            }
            Ok::<_, io::Error>(Some((text, (auth, credential, read, last))))
        },
    );
    Body::from_bytes_stream(pages)
}

fn broken_off() -> io::Error {
    io::Error::other("the export broke off")
}
