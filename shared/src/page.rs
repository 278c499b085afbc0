//! Keyset paging: newest first, by id.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// The most rows a page may hold.
pub const MAX_LIMIT: u32 = 100;
/// The rows of a page when the caller does not say.
pub const DEFAULT_LIMIT: u32 = 20;

/// What a caller asks for: at most `limit` rows older than `before`.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest {
    /// 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// The last id of the page before this one.
    pub before: Option<Uuid>,
}

/// The cursor was not one of ours.
#[derive(Debug, thiserror::Error)]
#[error("the cursor is not one that a list returned")]
pub struct InvalidCursor;

impl PageRequest {
    /// Reads the query's values; the limit is clamped into its range by the caller's validation.
    ///
    /// # Errors
    /// When the cursor cannot be read.
    pub fn new(limit: Option<u32>, cursor: Option<&str>) -> Result<Self, InvalidCursor> {
        let before = cursor.map(decode).transpose()?;
        Ok(Self {
            limit: limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT),
            before,
        })
    }

    /// One row more than the page holds: its presence says that another page follows.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The upper bound, exclusive: every id is smaller than the default.
    #[must_use]
    pub fn before_or_max(&self) -> Uuid {
        self.before.unwrap_or(Uuid::max())
    }
}

/// A page of rows, newest first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Names the next page; absent on the last.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts what [`PageRequest::fetch`] brought down to a page.
    pub fn cut(mut rows: Vec<T>, request: PageRequest, id: impl Fn(&T) -> Uuid) -> Self {
        let limit = request.limit as usize;
        let next_cursor = (rows.len() > limit).then(|| encode(id(&rows[limit - 1])));
        rows.truncate(limit);
        Self {
            data: rows,
            next_cursor,
        }
    }

    /// The same page of other things.
    pub fn map<U>(self, view: impl FnMut(T) -> U) -> Page<U> {
        Page {
            data: self.data.into_iter().map(view).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

fn encode(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

fn decode(cursor: &str) -> Result<Uuid, InvalidCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    Uuid::from_slice(&bytes).map_err(|_| InvalidCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_next_one_only_when_there_is_one() {
        let ids: Vec<Uuid> = (1..=3).rev().map(Uuid::from_u128).collect();
        let request = PageRequest::new(Some(2), None).unwrap();
        let page = Page::cut(ids.clone(), request, |id| *id);
        assert_eq!(page.data, ids[..2]);
        let next = PageRequest::new(Some(2), page.next_cursor.as_deref()).unwrap();
        assert_eq!(next.before, Some(ids[1]));
        assert!(Page::cut(vec![ids[2]], next, |id| *id).next_cursor.is_none());
    }

    #[test]
    fn a_foreign_cursor_is_refused() {
        assert!(PageRequest::new(None, Some("not a cursor")).is_err());
        assert!(PageRequest::new(None, Some("AAAA")).is_err());
    }
}
