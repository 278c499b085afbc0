//! The service that is asked whether a new password has leaked, over HTTP.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use latchkey_shared::{
    auth::breach::{BreachRange, NoAnswer},
    config,
};
use reqwest::{Client, redirect};
use url::Url;

/// Someone waits for an answer that can be done without.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A padded answer has some 60 KiB.
const MAX_BYTES: usize = 1024 * 1024;
const USER_AGENT: &str = concat!("Latchkey/", env!("CARGO_PKG_VERSION"));

struct RangeService {
    client: Client,
    url: Url,
}

/// The service that the settings name, if they name one.
///
/// # Errors
/// When no client can be built.
pub fn range_service(settings: &config::Passwords) -> reqwest::Result<Option<Arc<dyn BreachRange>>> {
    let Some(url) = settings.breach_range_url.clone() else {
        return Ok(None);
    };
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .user_agent(USER_AGENT)
        .build()?;
    Ok(Some(Arc::new(RangeService { client, url })))
}

impl BreachRange for RangeService {
    fn suffixes<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<String, NoAnswer>> {
        Box::pin(async move {
            let url = format!("{}/{prefix}", self.url.as_str().trim_end_matches('/'));
            // Padding hides from who watches the line how many hashes begin so.
            let request = self.client.get(url).header("add-padding", "true");
            let mut response = request.send().await?.error_for_status()?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > MAX_BYTES {
                    return Err("the answer is larger than any range".into());
                }
                body.extend_from_slice(&chunk);
            }
            Ok(String::from_utf8(body)?)
        })
    }
}
