//! Bodies of many lines, each JSON of its own (NDJSON): read as they come, so that memory does not grow with them.

use std::{io, marker::PhantomData, time::Duration};

use latchkey_shared::auth::Auth;
use poem::{Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, Registry},
    types::ParseFromJSON,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    time::timeout,
};

use super::json::typed;
use crate::problem::{Failure, FieldError, ProblemCode};

/// What the body is declared as, of requests and of responses.
pub const NDJSON: &str = "application/x-ndjson";
/// What else the body may be declared as.
pub const BYTES: &str = "application/octet-stream";
/// A longer line is refused by itself.
const MAX_LINE: usize = 64 * 1024;
/// A client that sends nothing for so long has gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// A body of lines, each of them a `T`.
pub struct Lines<T> {
    body: BufReader<Box<dyn AsyncRead + Unpin + Send>>,
    left: u64,
    number: u64,
    of: PhantomData<fn() -> T>,
}

/// A line, and what it says or what is wrong with it.
pub struct Line<T> {
    /// From 1; empty lines count.
    pub number: u64,
    /// What it says.
    pub content: Result<T, Vec<FieldError>>,
}

/// Why there are no more lines, though the body has not ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenOff {
    /// It is larger than the server takes.
    #[error("the body is larger than this server takes")]
    TooLarge,
    /// The client has gone, or stopped sending.
    #[error("the body broke off")]
    Interrupted,
}

/// The bytes between two line breaks.
enum Raw {
    Whole(Vec<u8>),
    TooLong,
}

impl<T: ParseFromJSON + 'static> Lines<T> {
    /// The next line that is not empty; nothing at the end.
    ///
    /// # Errors
    /// When the body is too large or breaks off.
    pub async fn next(&mut self) -> Result<Option<Line<T>>, BrokenOff> {
        loop {
            let raw = timeout(PATIENCE, self.raw()).await;
            let Some(raw) = raw.map_err(|_| BrokenOff::Interrupted)?? else {
                return Ok(None);
            };
            self.number += 1;
            let content = match raw {
                Raw::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => continue,
                Raw::Whole(bytes) => read(&bytes),
                Raw::TooLong => {
                    let detail = format!("A line has at most {MAX_LINE} bytes.");
                    Err(vec![FieldError::new("", "too_long", detail)])
                }
            };
            let number = self.number;
            return Ok(Some(Line { number, content }));
        }
    }

    async fn raw(&mut self) -> Result<Option<Raw>, BrokenOff> {
        let (mut line, mut too_long, mut begun) = (Vec::new(), false, false);
        loop {
            let interrupted = |_: io::Error| BrokenOff::Interrupted;
            let bytes = self.body.fill_buf().await.map_err(interrupted)?;
            if bytes.is_empty() {
                break;
            }
            begun = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            too_long |= line.len() + part.len() > MAX_LINE;
            if !too_long {
                line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.left = self.left.checked_sub(used as u64).ok_or(BrokenOff::TooLarge)?;
            self.body.consume(used);
            if end.is_some() {
                break;
            }
        }
        Ok(begun.then_some(if too_long { Raw::TooLong } else { Raw::Whole(line) }))
    }
}

fn read<T: ParseFromJSON + 'static>(bytes: &[u8]) -> Result<T, Vec<FieldError>> {
    let value = serde_json::from_slice(bytes).map_err(|_| {
        let detail = "The line is not JSON.";
        vec![FieldError::new("", "malformed_json", detail)]
    })?;
    typed(value).map_err(Failure::into_errors)
}

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for Lines<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: Some("NDJSON: each line is JSON, as `x-itemSchema` says"),
            content: vec![MetaMediaType {
                content_type: NDJSON,
                schema: T::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let declared = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        if !declared(header::CONTENT_TYPE).is_some_and(is_ndjson) {
            let failure = Failure::new(
                ProblemCode::UnsupportedMediaType,
                format!("Send the body as {NDJSON}."),
            );
            return Err(failure.into());
        }
        let left = request
            .data::<Auth>()
            .map_or(0, |auth| auth.context.config.server.max_import_bytes);
        let length = declared(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if length.is_some_and(|length| length > left) {
            let failure = Failure::new(ProblemCode::BodyTooLarge, BrokenOff::TooLarge.to_string());
            return Err(failure.into());
        }
        Ok(Self {
            body: BufReader::new(Box::new(body.take()?.into_async_read())),
            left,
            number: 0,
            of: PhantomData,
        })
    }
}

/// No media type for it is registered; these are in use. Generated clients that know none of them send bytes.
fn is_ndjson(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    [NDJSON, "application/ndjson", "application/jsonl", BYTES]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static [u8], left: u64) -> Lines<Vec<i32>> {
        Lines {
            body: BufReader::with_capacity(7, Box::new(text)),
            left,
            number: 0,
            of: PhantomData,
        }
    }

    async fn all(mut lines: Lines<Vec<i32>>) -> Vec<(u64, Result<Vec<i32>, String>)> {
        let mut found = Vec::new();
        while let Some(Line { number, content }) = lines.next().await.unwrap() {
            found.push((number, content.map_err(|errors| errors[0].code.clone())));
        }
        found
    }

    #[tokio::test]
    async fn lines_are_counted_with_those_that_are_empty() {
        let text = b"[1]\n\r\n[2, 3]\r\n{\n  \n[4]";
        let malformed = Err("malformed_json".to_owned());
        assert_eq!(
            all(lines(text, 100)).await,
            [
                (1, Ok(vec![1])),
                (3, Ok(vec![2, 3])),
                (4, malformed),
                (6, Ok(vec![4]))
            ]
        );
        assert!(all(lines(b"", 100)).await.is_empty());
        assert!(all(lines(b"\n\n", 100)).await.is_empty());
    }

    #[tokio::test]
    async fn a_long_line_is_refused_by_itself() {
        let text = format!("{}\n[1]\n", "9".repeat(MAX_LINE + 1)).leak();
        assert_eq!(
            all(lines(text.as_bytes(), u64::MAX)).await,
            [(1, Err("too_long".to_owned())), (2, Ok(vec![1]))]
        );
    }

    #[tokio::test]
    async fn a_body_ends_where_it_is_too_large() {
        let mut few = lines(b"[1]\n[2]\n[3]\n", 9);
        assert!(few.next().await.unwrap().is_some());
        assert!(few.next().await.unwrap().is_some());
        assert_eq!(few.next().await.err(), Some(BrokenOff::TooLarge));
    }
}
