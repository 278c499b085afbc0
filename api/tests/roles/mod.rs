//! Roles and permissions: what they grant, who may hand them on, and how soon that holds.

mod assignment;
mod authz;
mod definitions;
mod escalation;
mod everywhere;
mod permissions;

use latchkey_testing::TestBed;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, text};

/// A server with the tenant `acme`.
pub(crate) struct World {
    pub(crate) bed: TestBed,
    pub(crate) api: Api,
    /// The platform's administrator's token.
    pub(crate) admin: String,
    /// The token of the owner of `acme`.
    pub(crate) owner: String,
}

/// Somebody of `acme`.
pub(crate) struct Person {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let bed = TestBed::with(settings).await;
        let api = Api::start(&bed).await;
        let admin = api.admin().await;
        let (_, owner) = api.tenant(&admin, "acme").await;
        Self {
            bed,
            api,
            admin,
            owner,
        }
    }

    /// The owner of another tenant, and a role of that tenant's own.
    pub(crate) async fn globex(&self) -> (String, String) {
        let (_, owner) = self.api.tenant(&self.admin, "globex").await;
        let role = create_role(&self.api, &owner, "Theirs", &["users:read"]).await;
        (owner, role)
    }

    /// A user of `acme` who holds `member`.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        self.api.user("acme", &email).await;
        let login = self.api.login("acme", &email).await;
        Person {
            id: text(&login["user"], "id"),
            token: text(&login, "access_token"),
        }
    }

    /// A user of `acme` who holds these permissions by a role of their own.
    pub(crate) async fn holder(&self, name: &str, permissions: &[&str]) -> Person {
        let person = self.person(name).await;
        let role = self.role(&format!("role of {name}"), permissions).await;
        self.assign(&self.owner, &person.id, &role).await.expect(204);
        person
    }

    /// A user of `acme` with that built-in role.
    pub(crate) async fn builtin_holder(&self, name: &str, role: &str) -> Person {
        let person = self.person(name).await;
        let role = self.builtin(role).await;
        self.assign(&self.owner, &person.id, &role).await.expect(204);
        person
    }

    /// The id of a new role of `acme`.
    pub(crate) async fn role(&self, name: &str, permissions: &[&str]) -> String {
        create_role(&self.api, &self.owner, name, permissions).await
    }

    /// The id of a built-in role of `acme`.
    pub(crate) async fn builtin(&self, name: &str) -> String {
        let roles = self
            .api
            .get_as(&self.owner, "/v1/roles?limit=100")
            .await
            .expect(200);
        let roles = roles["data"].as_array().unwrap();
        text(roles.iter().find(|role| role["name"] == name).unwrap(), "id")
    }

    pub(crate) async fn assign(&self, token: &str, user: &str, role: &str) -> Answer {
        let path = format!("/v1/users/{user}/roles");
        self.api.post_as(token, &path, json!({ "role_id": role })).await
    }

    pub(crate) async fn unassign(&self, token: &str, user: &str, role: &str) -> Answer {
        let path = format!("/v1/users/{user}/roles/{role}");
        Api::send(self.api.request(Method::DELETE, &path).bearer_auth(token)).await
    }

    /// Changes or deletes a role of that version.
    pub(crate) async fn change_role(
        &self,
        method: Method,
        token: &str,
        role: &str,
        tag: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = self
            .api
            .request(method, &format!("/v1/roles/{role}"))
            .bearer_auth(token)
            .header("if-match", tag);
        Api::send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    }

    /// The names of the roles that somebody holds.
    pub(crate) async fn roles_of(&self, person: &Person) -> Value {
        self.api.get_as(&person.token, "/v1/auth/me").await.expect(200)["roles"].clone()
    }

    /// Whether somebody holds the permission.
    pub(crate) async fn holds(&self, token: &str, permission: &str) -> bool {
        holds(&self.api, token, permission).await
    }
}

pub(crate) async fn holds(api: &Api, token: &str, permission: &str) -> bool {
    let me = api.get_as(token, "/v1/auth/me").await.expect(200);
    me["permissions"].as_array().unwrap().contains(&json!(permission))
}

pub(crate) async fn create_role(api: &Api, token: &str, name: &str, permissions: &[&str]) -> String {
    let body = json!({ "name": name, "permissions": permissions });
    text(&api.post_as(token, "/v1/roles", body).await.expect(201), "id")
}

/// The names of the rows of a list.
fn names(list: &Value) -> Vec<String> {
    let rows = list["data"].as_array().unwrap();
    rows.iter().map(|row| text(row, "name")).collect()
}

/// A problem without what is different in each answer.
pub(crate) fn problem(answer: Answer) -> Value {
    let Answer { text, .. } = answer;
    let mut problem: Value = serde_json::from_str(&text).unwrap();
    problem.as_object_mut().unwrap().remove("request_id");
    problem
}
