//! The answer to who may do what.

use latchkey_shared::{
    auth::{self, Auth, Question},
    id::UserId,
    permission::AuthzCheck,
};
use poem::web::Data;
use poem_openapi::{Object, OpenApi, types::Example};
use uuid::Uuid;

use super::Tag;
use crate::{
    extract::{Json, Permit},
    problem::{ApiResult, Failure, FieldError, Input, Permitted, ProblemCode},
    reply::Ok as Reply,
};

/// The operations.
pub struct AuthzApi;

/// One question.
#[derive(Object)]
#[oai(rename = "AuthorizationQuestion", deny_unknown_fields)]
struct QuestionRequest {
    /// The `resource:action`.
    #[oai(validator(min_length = 1, max_length = 128))]
    permission: String,
    /// Who; the caller if absent.
    user_id: Option<Uuid>,
}

impl From<QuestionRequest> for Question {
    fn from(question: QuestionRequest) -> Self {
        Self {
            permission: question.permission,
            user: question.user_id.map(UserId),
        }
    }
}

/// One question, as `permission` with or without `user_id`, or several as `checks`.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CheckAuthorizationRequest {
    /// The `resource:action`.
    #[oai(validator(min_length = 1, max_length = 128))]
    permission: Option<String>,
    /// Who; the caller if absent.
    user_id: Option<Uuid>,
    /// Several questions at once.
    #[oai(validator(min_items = 1, max_items = 100))]
    checks: Option<Vec<QuestionRequest>>,
}

impl Example for CheckAuthorizationRequest {
    fn example() -> Self {
        Self {
            permission: Some("invoices:approve".to_owned()),
            user_id: Some(Uuid::from_u128(0x0198_7a5e_3c00_7000_8000_0000_0000_0001)),
            checks: None,
        }
    }
}

impl CheckAuthorizationRequest {
    /// The questions, and whether they came as a list.
    fn read(self) -> Result<(Vec<Question>, bool), Failure> {
        let fault = |pointer, code, detail: &str| {
            let field = FieldError::new(pointer, code, detail);
            Failure::fields(ProblemCode::ValidationFailed, vec![field])
        };
        match (self.permission, self.user_id, self.checks) {
            (Some(permission), user, None) => {
                let user = user.map(UserId);
                Ok((vec![Question { permission, user }], false))
            }
            (None, None, Some(checks)) => Ok((checks.into_iter().map(Into::into).collect(), true)),
            (None, _, None) => Err(fault(
                "/permission",
                "required",
                "permission or checks is required",
            )),
            (_, _, Some(_)) => Err(fault("/checks", "invalid", "checks stands alone")),
        }
    }
}

/// One answer.
#[derive(Object)]
#[oai(rename = "AuthorizationAnswer")]
struct AnswerView {
    allowed: bool,
}

/// The answer.
#[derive(Object)]
#[oai(rename = "Authorization")]
struct CheckView {
    /// Whether all that was asked for is allowed.
    allowed: bool,
    /// The answers to `checks`, in their order.
    #[oai(skip_serializing_if_is_none)]
    results: Option<Vec<AnswerView>>,
}

#[OpenApi(prefix_path = "/v1/authz", tag = "Tag::Roles")]
impl AuthzApi {
    /// Ask who may do what
    ///
    /// About the caller, or about users of the tenant. A permission that does not exist is nobody's, and a user who is
    /// disabled or not there may do nothing: the answer does not tell which. Takes `authz:check`.
    #[oai(path = "/check", method = "post", operation_id = "checkAuthorization")]
    async fn check(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<AuthzCheck>,
        body: Json<CheckAuthorizationRequest>,
    ) -> ApiResult<Reply<CheckView>, (Permitted, Input)> {
        let (questions, is_list) = body.0.read()?;
        let answers = auth::are_allowed(auth, &caller, &questions).await?;
        Ok(Reply(CheckView {
            allowed: answers.iter().all(|allowed| *allowed),
            results: is_list.then(|| {
                answers
                    .into_iter()
                    .map(|allowed| AnswerView { allowed })
                    .collect()
            }),
        }))
    }
}
