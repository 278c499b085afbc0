//! Uses the generated Rust client as a customer's service would. `./dev prove sdk` runs it.
//!
//! cargo run --example smoke RUN_JSON

use std::{collections::BTreeSet, env, error::Error, fs, num::NonZeroU32};

use latchkey_client::{ByteStream, Client, types};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let run = env::args().nth(1).ok_or("usage: smoke RUN_JSON")?;
    let run: Value = serde_json::from_str(&fs::read_to_string(run)?)?;
    let base_url = run["base_url"].as_str().ok_or("no base_url")?;
    let (tenant, admin) = (run["admin"]["tenant"].as_str(), &run["admin"]);

    let anonymous = Client::new(base_url);
    let wrong = serde_json::from_value(json!({ "email": admin["email"], "password": "not the password" }))?;
    let refused = anonymous.login(tenant, &wrong).await.err().ok_or("signed in with a wrong password")?;
    assert_eq!(code(&refused), Some(types::ProblemCode::InvalidCredentials));
    let right = serde_json::from_value(json!({ "email": admin["email"], "password": admin["password"] }))?;
    let types::Login::SessionTokens(tokens) = anonymous.login(tenant, &right).await?.into_inner() else {
        return Err("a second factor was asked for".into());
    };
    let client = with_credential(base_url, &tokens.access_token)?;
    assert_eq!(client.get_me().await?.user.email, admin["email"]);

    let name = format!("Rust {}", uuid::Uuid::new_v4());
    let wanted = types::CreateRoleRequest {
        name: name.parse()?,
        description: Some("Of a test".parse()?),
        permissions: vec!["users:read".to_owned()],
    };
    let role = client.create_role(None, &wanted).await?;
    let again = client.create_role(None, &wanted).await.err().ok_or("a role was made twice")?;
    assert_eq!(code(&again), Some(types::ProblemCode::NameTaken));
    let patch = types::UpdateRoleRequest {
        name: None,
        description: Some("Changed".parse()?),
        permissions: None,
    };
    let changed = client.update_role(&role.id, etag(role.headers())?, &patch).await?;
    assert_eq!(changed.description.as_deref(), Some("Changed"));

    let (mut found, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = client.list_roles(cursor.as_deref(), NonZeroU32::new(2)).await?.into_inner();
        found.extend(page.data.into_iter().map(|role| role.name));
        cursor = page.next_cursor;
        if !page.has_more {
            break;
        }
    }
    assert!([&*name, "owner", "member"].iter().all(|name| found.contains(*name)), "{found:?}");

    let wanted = types::CreateApiKeyRequest {
        name: name.parse()?,
        environment: types::ApiKeyEnvironment::Test,
        scopes: vec!["users:read".parse()?],
        owner: None,
        expires_at: None,
        allowed_cidrs: None,
        rate_limit: None,
        metadata: None,
    };
    let created = client.create_api_key(None, &wanted).await?;
    let machine = with_credential(base_url, &created.key)?;
    assert_eq!(machine.get_own_api_key().await?.id, created.api_key.id);
    client.revoke_api_key(&created.api_key.id).await?;
    assert!(machine.get_own_api_key().await.is_err());

    let event = types::PublishEventRequest {
        type_: "invoice.paid".parse()?,
        payload: Map::from_iter([("invoice".to_owned(), json!(name))]),
    };
    let key = uuid::Uuid::new_v4().to_string().parse()?;
    let first = client.publish_event(Some(&key), &event).await?;
    let second = client.publish_event(Some(&key), &event).await?;
    assert_eq!(first.event_id, second.event_id);

    let asked = serde_json::from_value(json!({ "token": tokens.access_token }))?;
    let introspection = client.introspect_token(&asked).await?.into_inner();
    assert!(matches!(introspection, types::Introspection::ActiveToken(_)));

    let audit = client.export_audit_events(None, None, None, None, None).await?;
    assert!(lines(audit.into_inner()).await?.iter().any(|line| line["action"] == "api_key.revoke"));
    let person = json!({ "email": format!("{}@example.com", uuid::Uuid::new_v4()), "name": "Ada" });
    let report = client.import_users(person.to_string()).await?;
    assert_eq!(lines(report.into_inner()).await?.last().map(|line| line["created"].clone()), Some(json!(1)));

    client.delete_role(&role.id, etag(changed.headers())?).await?;
    println!("The Rust client signed in, called and was answered as the document says.");
    Ok(())
}

fn with_credential(base_url: &str, credential: &str) -> Outcome<Client> {
    let headers = [(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {credential}"))?)];
    let client = reqwest::Client::builder()
        .default_headers(HeaderMap::from_iter(headers))
        .build()?;
    Ok(Client::new_with_client(base_url, client))
}

fn code(error: &latchkey_client::Error<types::Problem>) -> Option<types::ProblemCode> {
    match error {
        latchkey_client::Error::ErrorResponse(problem) => Some(problem.code),
        _ => None,
    }
}

fn etag(headers: &HeaderMap) -> Outcome<&str> {
    Ok(headers.get("etag").ok_or("no ETag")?.to_str()?)
}

async fn lines(body: ByteStream) -> Outcome<Vec<Value>> {
    use futures_core::Stream;
    let (mut body, mut text) = (Box::pin(body.into_inner()), Vec::new());
    while let Some(chunk) = std::future::poll_fn(|context| body.as_mut().poll_next(context)).await {
        text.extend_from_slice(&chunk?);
    }
    let lines = std::str::from_utf8(&text)?.lines();
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}
