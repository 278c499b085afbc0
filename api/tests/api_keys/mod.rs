//! API keys: what they open, for whom, and when no more.

mod batch;
mod everywhere;
mod lifecycle;
mod limits;
mod outliving;
mod reports;
mod rotation;
mod scopes;
mod verification;
mod warm;

use latchkey_testing::TestBed;
use serde_json::{Value, json};

use crate::support::{Api, text};

/// A tenant `acme` and its owner, signed in.
struct World {
    bed: TestBed,
    api: Api,
    owner: String,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let bed = TestBed::with(settings).await;
        let api = Api::start(&bed).await;
        let admin = api.admin().await;
        let (_, owner) = api.tenant(&admin, "acme").await;
        Self { bed, api, owner }
    }

    /// A key of the owner's with those scopes: its text and what is shown of it.
    async fn key(&self, scopes: &[&str]) -> (String, Value) {
        self.key_with(scopes, json!({})).await
    }

    /// As [`Self::key`], with more said.
    async fn key_with(&self, scopes: &[&str], more: Value) -> (String, Value) {
        let created = self
            .api
            .post_as(&self.owner, "/v1/api-keys", request(scopes, more))
            .await;
        let created = created.expect(201);
        (text(&created, "key"), created["api_key"].clone())
    }

    async fn verify(&self, body: Value) -> Value {
        self.api
            .post_as(&self.owner, "/v1/api-keys/verify", body)
            .await
            .expect(200)
    }

    /// The code of a verification by itself.
    async fn code(&self, key: &str) -> String {
        text(&self.verify(json!({ "key": key })).await, "code")
    }
}

fn request(scopes: &[&str], more: Value) -> Value {
    let mut body = json!({ "name": "Export", "environment": "live", "scopes": scopes });
    let (Value::Object(body), Value::Object(more)) = (&mut body, more) else {
        panic!("not objects");
    };
    body.extend(more);
    json!(body)
}

fn path(key: &Value) -> String {
    format!("/v1/api-keys/{}", text(key, "id"))
}
