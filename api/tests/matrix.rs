//! Who may call what: every operation of the document by everyone who might try.

use std::collections::BTreeMap;

use latchkey_testing::TestBed;
use reqwest::header;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    document::{Operation, operations},
    support::{Answer, Api, text},
};

/// Whom an operation lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// Anyone.
    Open,
    /// A signed-in user: it is about that user.
    User,
    /// Whoever holds the permission in the tenant.
    Takes(&'static str),
    /// A signed-in user who holds the permission in the tenant.
    TakesInPerson(&'static str),
    /// Whoever holds the permission in the platform's tenant.
    Platform(&'static str),
    /// An API key: it is about that key.
    Key,
}

use Door::{Key, Open, Platform, Takes, TakesInPerson, User};

/// Every operation. One that is missing here fails the test below: whoever adds it says who may call it.
const DOORS: &[(&str, Door)] = &[
    ("getKeys", Open),
    ("getLiveness", Open),
    ("getReadiness", Open),
    ("listApiKeys", Takes("api_keys:read")),
    ("createApiKey", Takes("api_keys:write")),
    ("reportLeakedApiKeys", Open),
    ("revokeApiKeys", Takes("api_keys:write")),
    ("getOwnApiKey", Key),
    ("verifyApiKey", Takes("api_keys:verify")),
    ("revokeApiKey", Takes("api_keys:write")),
    ("getApiKey", Takes("api_keys:read")),
    ("updateApiKey", Takes("api_keys:write")),
    ("rotateApiKey", Takes("api_keys:write")),
    ("getApiKeyUsage", Takes("api_keys:read")),
    ("listAuditEvents", Takes("audit:read")),
    ("exportAuditEvents", Takes("audit:read")),
    ("changeEmail", User),
    ("verifyEmail", Open),
    ("resendVerification", Open),
    ("introspectToken", Takes("tokens:introspect")),
    ("login", Open),
    ("logout", User),
    ("logoutAll", User),
    ("deleteMe", User),
    ("getMe", User),
    ("updateMe", User),
    ("exportMe", User),
    ("verifyMfa", Open),
    ("changePassword", User),
    ("forgotPassword", Open),
    ("resetPassword", Open),
    ("reauthenticate", User),
    ("refresh", Open),
    ("register", Open),
    ("unlock", Open),
    ("checkAuthorization", Takes("authz:check")),
    ("listDevices", User),
    ("forgetDevice", User),
    ("listInvitations", Takes("invitations:read")),
    ("createInvitation", Takes("invitations:write")),
    ("acceptInvitation", Open),
    ("revokeInvitation", Takes("invitations:write")),
    ("getMfa", User),
    ("replaceRecoveryCodes", User),
    ("confirmTotp", User),
    ("disableTotp", User),
    ("setUpTotp", User),
    ("listPermissions", Takes("roles:read")),
    ("createPermission", Takes("roles:write")),
    ("deletePermission", Takes("roles:write")),
    ("listRoles", Takes("roles:read")),
    ("createRole", Takes("roles:write")),
    ("deleteRole", Takes("roles:write")),
    ("getRole", Takes("roles:read")),
    ("updateRole", Takes("roles:write")),
    ("listServiceAccounts", Takes("service_accounts:read")),
    ("createServiceAccount", Takes("service_accounts:write")),
    ("deleteServiceAccount", Takes("service_accounts:write")),
    ("getServiceAccount", Takes("service_accounts:read")),
    ("updateServiceAccount", Takes("service_accounts:write")),
    ("listSessions", User),
    ("endSession", User),
    ("getCurrentTenant", Takes("settings:read")),
    ("listDomains", Takes("settings:read")),
    ("createDomain", Takes("settings:write")),
    ("deleteDomain", Takes("settings:write")),
    ("getDomain", Takes("settings:read")),
    ("verifyDomain", Takes("settings:write")),
    ("listMailTemplates", Takes("settings:read")),
    ("resetMailTemplate", Takes("settings:write")),
    ("getMailTemplate", Takes("settings:read")),
    ("setMailTemplate", Takes("settings:write")),
    ("previewMailTemplate", Takes("settings:read")),
    ("updateTenantSettings", Takes("settings:write")),
    ("getCurrentTenantUsage", Takes("settings:read")),
    ("listTenants", Platform("tenants:read")),
    ("createTenant", Platform("tenants:write")),
    ("deleteTenant", Platform("tenants:write")),
    ("getTenant", Platform("tenants:read")),
    ("updateTenant", Platform("tenants:write")),
    ("activateTenant", Platform("tenants:write")),
    ("suspendTenant", Platform("tenants:write")),
    ("getTenantUsage", Platform("tenants:read")),
    ("listUsers", Takes("users:read")),
    ("createUser", Takes("users:write")),
    ("listUserRoles", Takes("users:read")),
    ("assignRole", Takes("roles:write")),
    ("unassignRole", Takes("roles:write")),
    ("exportUsers", Takes("users:read")),
    ("importUsers", Takes("users:write")),
    ("deleteUser", Takes("users:write")),
    ("getUser", Takes("users:read")),
    ("updateUser", Takes("users:write")),
    ("disableUser", Takes("users:write")),
    ("enableUser", Takes("users:write")),
    ("requireNewPassword", Takes("users:write")),
    ("resetMfa", TakesInPerson("users:write")),
    ("endUserSessions", Takes("users:write")),
    ("listUserSessions", Takes("users:read")),
    ("endUserSession", Takes("users:write")),
    ("unlockUser", Takes("users:write")),
    ("listDeliveries", Takes("webhooks:read")),
    ("getDelivery", Takes("webhooks:read")),
    ("listDeliveryAttempts", Takes("webhooks:read")),
    ("listEndpointAttempts", Takes("webhooks:read")),
    ("listWebhookEndpoints", Takes("webhooks:read")),
    ("createWebhookEndpoint", Takes("webhooks:write")),
    ("deleteWebhookEndpoint", Takes("webhooks:write")),
    ("getWebhookEndpoint", Takes("webhooks:read")),
    ("updateWebhookEndpoint", Takes("webhooks:write")),
    ("getWebhookEndpointHealth", Takes("webhooks:read")),
    ("recoverWebhookEndpoint", Takes("webhooks:write")),
    ("rotateWebhookSecret", Takes("webhooks:write")),
    ("testWebhookEndpoint", Takes("webhooks:write")),
    ("retryDelivery", Takes("webhooks:write")),
    ("listEventTypes", Takes("webhooks:read")),
    ("createEventType", Takes("webhooks:write")),
    ("deleteEventType", Takes("webhooks:write")),
    ("updateEventType", Takes("webhooks:write")),
    ("listEvents", Takes("webhooks:read")),
    ("publishEvent", Takes("events:publish")),
    ("getEvent", Takes("webhooks:read")),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Anonymous,
    Member,
    Admin,
    /// With the name of the tenant that all the others are of.
    OtherTenantsAdmin,
    PlatformAdmin,
    KeyWithScope,
    KeyWithoutScope,
    ExpiredKey,
    SuspendedTenant,
    SuspendedTenantsKey,
    SuspendedTenantsMachine,
}

const CALLERS: [Caller; 11] = [
    Caller::Anonymous,
    Caller::Member,
    Caller::Admin,
    Caller::OtherTenantsAdmin,
    Caller::PlatformAdmin,
    Caller::KeyWithScope,
    Caller::KeyWithoutScope,
    Caller::ExpiredKey,
    Caller::SuspendedTenant,
    Caller::SuspendedTenantsKey,
    Caller::SuspendedTenantsMachine,
];

/// The status and the code that a caller is refused with; nothing for who is let in.
fn refusal(door: Door, caller: Caller) -> Option<(u16, &'static str)> {
    let forbidden = Some((403, "forbidden"));
    let unauthenticated = Some((401, "unauthenticated"));
    match (door, caller) {
        (Open, _) => None,
        (
            _,
            Caller::Anonymous
            | Caller::ExpiredKey
            | Caller::SuspendedTenant
            | Caller::SuspendedTenantsKey
            | Caller::SuspendedTenantsMachine,
        ) => unauthenticated,
        (_, Caller::OtherTenantsAdmin) => Some((403, "tenant_mismatch")),
        (User | TakesInPerson(_), Caller::KeyWithScope | Caller::KeyWithoutScope) => {
            Some((403, "session_required"))
        }
        (Key, Caller::Member | Caller::Admin | Caller::PlatformAdmin)
        | (Takes(_), Caller::Member | Caller::KeyWithoutScope)
        | (TakesInPerson(_), Caller::Member) => forbidden,
        (Platform(_), caller) if caller != Caller::PlatformAdmin => forbidden,
        (User | Takes(_) | TakesInPerson(_) | Key | Platform(_), _) => None,
    }
}

#[test]
fn s24_every_operation_has_an_entry_and_every_entry_an_operation() {
    let operations = operations();
    for operation in &operations {
        let entries = DOORS.iter().filter(|(id, _)| *id == operation.id).count();
        assert_eq!(entries, 1, "{} has {entries} entries", operation.id);
    }
    for (id, door) in DOORS {
        let operation = operations.iter().find(|operation| operation.id == *id);
        let operation = operation.unwrap_or_else(|| panic!("there is no operation {id}"));
        assert_eq!(operation.secured, *door != Open, "{id}: what the document says");
        if let Takes(permission) | TakesInPerson(permission) | Platform(permission) = door {
            let said = format!("Takes `{permission}`");
            let description: Vec<&str> = operation.description.split_whitespace().collect();
            assert!(description.join(" ").contains(&said), "{id} does not say: {said}");
        }
    }
}

/// A user of acme with the roles named, who has not signed in.
async fn user(api: &Api, owner: &str, email: &str, role: Option<&str>) {
    api.user("acme", email).await;
    let Some(role) = role else { return };
    let found = api
        .get_as(owner, &format!("/v1/users?email={email}"))
        .await
        .expect(200);
    let user = text(&found["data"][0], "id");
    let roles = api.get_as(owner, "/v1/roles").await.expect(200);
    let of_name = |row: &&Value| row["name"] == role;
    let role = text(
        roles["data"].as_array().unwrap().iter().find(of_name).unwrap(),
        "id",
    );
    let body = json!({ "role_id": role });
    api.post_as(owner, &format!("/v1/users/{user}/roles"), body)
        .await
        .expect(204);
}

async fn key(api: &Api, owner: &str, scopes: &[&str], expires_at: Option<&str>) -> String {
    let body = json!({
        "name": "matrix", "environment": "live", "scopes": scopes, "expires_at": expires_at,
    });
    text(&api.post_as(owner, "/v1/api-keys", body).await.expect(201), "key")
}

/// A key of initech's own and one of a machine of its, both good.
async fn initechs_keys(api: &Api, owner: &str) -> [String; 2] {
    let role = crate::service_accounts::role(api, "initech", "admin").await;
    let machine = json!({ "name": "matrix", "role_ids": [role] });
    let machine = api
        .post_as(owner, "/v1/service-accounts", machine)
        .await
        .expect(201);
    let made = async |of: Value| {
        let body = json!({ "name": "matrix", "environment": "live", "scopes": ["users:read"], "owner": of });
        let key = text(&api.post_as(owner, "/v1/api-keys", body).await.expect(201), "key");
        api.get_as(&key, "/v1/users").await.expect(200);
        key
    };
    [
        made(json!({ "type": "tenant" })).await,
        made(json!({ "type": "service_account", "id": machine["id"] })).await,
    ]
}

/// The request of whoever holds the credential: with nothing in its body, and the names of nothing in its path.
async fn call(api: &Api, operation: &Operation, credential: Option<&str>, tenant: &str) -> Answer {
    let path = operation.path_with(|name| match name {
        "kind" => "verify_email".to_owned(),
        "name" => "reports:read".to_owned(),
        _ => Uuid::from_u128(0xfeed).to_string(),
    });
    let mut request = api
        .request(operation.method.clone(), &path)
        .header("x-tenant-id", tenant)
        .header(header::IF_MATCH, "\"1\"");
    if let Some(credential) = credential {
        request = request.bearer_auth(credential);
    }
    if let Some((media, _)) = &operation.body {
        let body = if media == "application/json" { "{}" } else { "" };
        request = request.header(header::CONTENT_TYPE, media).body(body);
    }
    Api::send(request).await
}

#[tokio::test]
async fn s24_everyone_is_let_in_where_they_may_and_nowhere_else() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let platform = api.admin().await;
    let (acme, owner) = api.tenant(&platform, "acme").await;
    api.tenant(&platform, "globex").await;
    let (initech, _) = api.tenant(&platform, "initech").await;
    user(&api, &owner, "member@acme.test", None).await;
    user(&api, &owner, "admin@acme.test", Some("admin")).await;
    let in_an_hour = bed.context.clock.now() + chrono::TimeDelta::hours(1);
    let expired = key(&api, &owner, &["users:read"], Some(&in_an_hour.to_rfc3339())).await;
    bed.clock.advance(chrono::TimeDelta::hours(2));
    let owner = text(&api.login("acme", "owner@acme.test").await, "access_token");
    let platform = text(
        &api.login("platform", crate::support::ADMIN).await,
        "access_token",
    );
    let suspended = text(&api.login("initech", "owner@initech.test").await, "access_token");
    let [own_key, machines_key] = initechs_keys(&api, &suspended).await;
    api.post_as(&platform, &format!("/v1/tenants/{initech}/suspend"), json!({}))
        .await
        .expect(204);

    let mut keys: BTreeMap<&str, String> = BTreeMap::new();
    let mut faults = Vec::new();
    for operation in operations() {
        let (_, door) = DOORS.iter().find(|(id, _)| *id == operation.id).unwrap();
        for caller in CALLERS {
            // What an operation ends must not be missing in the next one.
            let login =
                async |tenant: &str, email: &str| text(&api.login(tenant, email).await, "access_token");
            let (credential, tenant) = match caller {
                Caller::Anonymous => (None, "acme"),
                Caller::Member => (Some(login("acme", "member@acme.test").await), "acme"),
                Caller::Admin => (Some(login("acme", "admin@acme.test").await), "acme"),
                Caller::OtherTenantsAdmin => (Some(login("globex", "owner@globex.test").await), "acme"),
                Caller::PlatformAdmin if matches!(door, Platform(_)) => {
                    (Some(login("platform", crate::support::ADMIN).await), "platform")
                }
                Caller::PlatformAdmin => continue,
                Caller::KeyWithScope | Caller::KeyWithoutScope => {
                    let needed = if let Takes(permission) | TakesInPerson(permission) = door {
                        permission
                    } else {
                        "users:read"
                    };
                    let scope = match caller {
                        Caller::KeyWithScope => needed,
                        _ if needed == "users:read" => "roles:read",
                        _ => "users:read",
                    };
                    if !keys.contains_key(scope) {
                        keys.insert(scope, key(&api, &owner, &[scope], None).await);
                    }
                    (Some(keys[scope].clone()), "acme")
                }
                Caller::ExpiredKey => (Some(expired.clone()), "acme"),
                Caller::SuspendedTenant => (Some(suspended.clone()), "initech"),
                Caller::SuspendedTenantsKey => (Some(own_key.clone()), "initech"),
                Caller::SuspendedTenantsMachine => (Some(machines_key.clone()), "initech"),
            };
            let answer = call(&api, &operation, credential.as_deref(), tenant).await;
            let code = answer.problem();
            let got = match (answer.status.as_u16(), code.as_deref()) {
                (status @ (401 | 403), Some(code)) => Some((status, code.to_owned())),
                _ => None,
            };
            let expected = refusal(*door, caller).map(|(status, code)| (status, code.to_owned()));
            // What is open asks for credentials of its own, and knows suspended tenants.
            let of_its_own = *door == Open
                && got
                    .as_ref()
                    .is_none_or(|(_, code)| code != "unauthenticated" && code != "forbidden");
            if answer.status.is_server_error() || (got != expected && !of_its_own) {
                faults.push(format!(
                    "{} by {caller:?}: {got:?}, not {expected:?}: {}",
                    operation.id, answer.text
                ));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{acme}: {} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}
