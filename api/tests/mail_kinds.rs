//! What mails say: where their links lead, how they look, and in whose words.

use latchkey_shared::mail::Kind;
use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, PASSWORD};

const ORIGIN: &str = "https://id.example.test/";
const FORGED: &str = "evil.example";

/// Every request that causes a mail: who sends it, where, what, and who gets the mail.
const CAUSES: &[(Who, &str, &str, &str)] = &[
    (
        Who::Anyone,
        "/v1/auth/register",
        r#"{"email": "new@example.com", "password": "correct horse battery staple"}"#,
        "new@example.com",
    ),
    (
        Who::Anyone,
        "/v1/auth/register",
        r#"{"email": "ada@example.com", "password": "correct horse battery staple"}"#,
        "ada@example.com",
    ),
    (
        Who::Anyone,
        "/v1/auth/register",
        r#"{"email": "waiting@example.com", "password": "another battery staple"}"#,
        "waiting@example.com",
    ),
    (
        Who::Anyone,
        "/v1/auth/email/verify/resend",
        r#"{"email": "waiting@example.com"}"#,
        "waiting@example.com",
    ),
    (
        Who::Anyone,
        "/v1/auth/password/forgot",
        r#"{"email": "ada@example.com"}"#,
        "ada@example.com",
    ),
    (
        Who::Administrator,
        "/v1/auth/email/change",
        r#"{"new_email": "other@platform.test", "password": "correct horse battery staple"}"#,
        "other@platform.test",
    ),
    (
        Who::Administrator,
        "/v1/tenants",
        r#"{"slug": "globex", "name": "Globex", "owner": {"email": "owner@globex.test"}}"#,
        "owner@globex.test",
    ),
];

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Anyone,
    Administrator,
}

#[tokio::test]
async fn s11_a_forged_host_never_reaches_a_mail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.user("acme", "ada@example.com").await;
    let body = json!({ "email": "waiting@example.com", "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);

    for (who, path, body, recipient) in CAUSES {
        let before = api.mails(recipient).await.len();
        let request = api
            .request(Method::POST, path)
            .header("host", FORGED)
            .header("x-forwarded-host", FORGED)
            .header("x-forwarded-server", FORGED)
            .header("x-original-host", FORGED)
            .header("forwarded", format!("host={FORGED};proto=http"))
            .header("origin", format!("https://{FORGED}"))
            .header("referer", format!("https://{FORGED}/"))
            .header("content-type", "application/json")
            .body(*body);
        let request = match who {
            Who::Anyone => request.header("x-tenant-id", "acme"),
            Who::Administrator => request.bearer_auth(&admin),
        };
        let answer = Api::send(request).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
        let mails = api.mails(recipient).await;
        assert_eq!(mails.len(), before + 1, "{path} sends no mail to {recipient}");
        let mail = mails.last().unwrap();
        for part in [&mail.subject, &mail.text, &mail.html] {
            assert!(!part.contains(FORGED), "{path}: {part}");
        }
        assert!(mail.text.contains(ORIGIN), "{path}: {}", mail.text);
        for (_, after) in mail
            .text
            .match_indices("://")
            .map(|(at, _)| mail.text.split_at(at))
        {
            assert!(after.starts_with(&ORIGIN[5..]), "{path}: {}", mail.text);
        }
    }
}

fn template(subject: &str, text: &str, html: &str) -> Value {
    json!({ "subject": subject, "text": text, "html": html })
}

async fn put(api: &Api, token: &str, kind: &str, body: Value) -> Answer {
    let path = format!("/v1/tenant/mail-templates/{kind}");
    Api::send(api.request(Method::PUT, &path).bearer_auth(token).json(&body)).await
}

async fn register(api: &Api, email: &str) -> latchkey_shared::mail::Message {
    let body = json!({ "email": email, "password": PASSWORD });
    api.post("acme", "/v1/auth/register", body).await.expect(202);
    api.mails(email).await.pop().unwrap()
}

#[tokio::test]
async fn a_tenant_sends_a_kind_of_mail_in_its_own_words_and_goes_back_to_ours() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let (_, stranger) = api.tenant(&admin, "globex").await;
    let ours = register(&api, "first@example.com").await;

    let own = template(
        "Willkommen bei {{ tenant }}",
        "Hallo {{ email }}: {{ link }}",
        "<a href=\"{{ link }}\">Los</a>",
    );
    let kept = put(&api, &owner, "verify_email", own).await.expect(200);
    assert_eq!(
        (&kept["customized"], &kept["link_required"]),
        (&json!(true), &json!(true))
    );
    let mail = register(&api, "second@example.com").await;
    assert_eq!(mail.subject, "Willkommen bei Tenant acme");
    assert!(
        mail.text
            .starts_with(&format!("Hallo second@example.com: {ORIGIN}verify-email?token="))
    );
    let body = json!({ "token": api.mailed_token("second@example.com").await });
    Api::send(api.request(Method::POST, "/v1/auth/email/verify").json(&body))
        .await
        .expect(200);

    let list = |token: String| {
        let api = &api;
        async move { api.get_as(&token, "/v1/tenant/mail-templates").await.expect(200) }
    };
    let customized = |list: &Value| {
        let all = list["data"].as_array().unwrap();
        assert_eq!(all.len(), Kind::ALL.len());
        all.iter()
            .filter(|kind| kind["customized"] == true)
            .map(|kind| kind["kind"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(customized(&list(owner.clone()).await), ["verify_email"]);
    assert!(customized(&list(stranger.clone()).await).is_empty());

    let path = "/v1/tenant/mail-templates/verify_email";
    for _ in 0..2 {
        Api::send(api.request(Method::DELETE, path).bearer_auth(&owner))
            .await
            .expect(204);
    }
    assert_eq!(register(&api, "third@example.com").await.subject, ours.subject);
    assert_eq!(api.get_as(&owner, path).await.expect(200)["text"], Value::Null);
    assert_eq!(
        api.scalar("SELECT count(*) FROM audit_events WHERE action LIKE 'mail_template.%'")
            .await,
        2
    );
}

#[tokio::test]
async fn a_template_at_fault_is_refused_by_part_and_line() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let broken = template("{{ inviter }}", "\n\n{% if %}", "<p>no link</p>");
    let problem = put(&api, &owner, "reset_password", broken)
        .await
        .refused(422, "validation_failed");
    let errors: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["pointer"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        errors,
        [
            ("/subject", "template_evaluation"),
            ("/text", "template_syntax"),
            ("/html", "link_missing")
        ]
    );
    let detail = problem["errors"][1]["detail"].as_str().unwrap();
    assert!(detail.starts_with("Line 3: "), "{detail}");
    assert_eq!(api.scalar("SELECT count(*) FROM mail_templates").await, 0);

    let include = template("x", "{% include 'layout.html' %} {{ link }}", "{{ link }}");
    put(&api, &owner, "reset_password", include)
        .await
        .refused(422, "validation_failed");
    let endless =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}{{ link }}";
    let problem = put(
        &api,
        &owner,
        "reset_password",
        template("x", endless, "{{ link }}"),
    )
    .await
    .refused(422, "validation_failed");
    assert_eq!(problem["errors"][0]["code"], "template_too_large");
    let stolen = template(
        "{{ link }}",
        "https://evil.test/?{{ link }}",
        "<img src=\"https://evil.test/?{{ link }}\">",
    );
    let problem = put(&api, &owner, "reset_password", stolen)
        .await
        .refused(422, "validation_failed");
    for place in 0..3 {
        assert_eq!(problem["errors"][place]["code"], "link_misplaced", "{problem}");
    }
    let smuggled = template(
        "x",
        "{{ link }}\r.\rMAIL FROM:<x>",
        "{{ link }} {{ '\\x0d.\\x0d' }}",
    );
    let problem = put(&api, &owner, "reset_password", smuggled)
        .await
        .refused(422, "validation_failed");
    for place in 0..2 {
        assert_eq!(problem["errors"][place]["code"], "control_character", "{problem}");
    }
    let fine = template("x", "{{ link }}", "{{ link }}");
    put(&api, &owner, "no_such_kind", fine.clone())
        .await
        .refused(404, "not_found");

    api.user("acme", "member@example.com").await;
    let member = api.login("acme", "member@example.com").await;
    let member = member["access_token"].as_str().unwrap();
    put(&api, member, "reset_password", fine)
        .await
        .refused(403, "forbidden");
    api.get_as(member, "/v1/tenant/mail-templates")
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn a_preview_shows_what_would_be_sent_and_sends_nothing() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (_, owner) = api.tenant(&admin, "acme").await;
    let before = api.scalar("SELECT count(*) FROM mails").await;
    let preview = |kind: &'static str, body: Value| {
        let path = format!("/v1/tenant/mail-templates/{kind}/preview");
        let (api, owner) = (&api, &owner);
        async move { api.post_as(owner, &path, body).await }
    };
    for kind in Kind::ALL {
        let ours = preview(kind.as_str(), json!({})).await.expect(200);
        let text = ours["text"].as_str().unwrap();
        assert!(text.contains("Tenant acme"), "{text}");
        assert_eq!(text.contains("token=lko_sample"), kind.needs_link(), "{text}");
    }
    let body = json!({ "subject": "{{ inviter }} asks you in" });
    let mixed = preview("invitation", body).await.expect(200);
    assert_eq!(mixed["subject"], "Ada Lovelace asks you in");
    assert!(mixed["html"].as_str().unwrap().starts_with("<!DOCTYPE html>"));
    let problem = preview("invitation", json!({ "html": "{{ nobody }}" }))
        .await
        .refused(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/html");
    assert_eq!(api.scalar("SELECT count(*) FROM mails").await, before);
}

#[tokio::test]
async fn a_template_that_fails_when_it_is_used_costs_nobody_a_mail() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    for broken in ["{{ gone }}", "{% if", "no link at all"] {
        api.execute(&format!(
            "INSERT INTO mail_templates SELECT id, 'verify_email', 'Own', '{broken}', '{{{{ link }}}}', now()
             FROM tenants WHERE slug = 'acme'
             ON CONFLICT (tenant_id, kind) DO UPDATE SET text = excluded.text"
        ))
        .await;
        let email = format!("{}@example.com", broken.len());
        let mail = register(&api, &email).await;
        assert_eq!(mail.subject, "Confirm your address for Tenant acme", "{broken}");
        assert!(mail.text.contains("token="), "{broken}");
    }
}

#[tokio::test]
async fn a_tenants_branding_reaches_its_mails_and_no_others() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    api.tenant(&admin, "acme").await;
    api.execute(
        r##"UPDATE tenants SET settings = jsonb_set(settings, '{branding}', '{"product_name": "Rocket", "accent_color": "#ffcc00",
            "logo_url": "https://cdn.acme.test/logo.png", "support_email": "help@acme.test"}') WHERE slug = 'acme'"##,
    )
    .await;
    // A process that has not looked the tenant up before.
    let api = Api::start_another(&bed).await;
    let mail = register(&api, "ada@example.com").await;
    assert_eq!(mail.subject, "Confirm your address for Rocket");
    assert_eq!(mail.reply_to.as_deref(), Some("help@acme.test"));
    let html = mail.html.replace("&#x2f;", "/");
    for part in [
        "background: #ffcc00; color: #000000",
        "src=\"https://cdn.acme.test/logo.png\"",
        "mailto:help@acme.test",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    let invited = api.mails("owner@acme.test").await.pop().unwrap();
    assert!(invited.subject.ends_with("Tenant acme") && invited.reply_to.is_none());
}
