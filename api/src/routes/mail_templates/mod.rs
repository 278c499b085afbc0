//! Mail in the tenant's own words.

mod model;

use std::sync::Arc;

use latchkey_shared::{
    auth::Auth,
    id::TenantId,
    mail::{
        Kind, TemplateFault, What,
        custom::{self, TemplateError},
    },
    permission::{SettingsRead, SettingsWrite},
    tenant::Tenant,
};
use poem::web::Data;
use poem_openapi::{OpenApi, param::Path};

use self::model::{
    PreviewMailTemplateRequest, PreviewView, SetMailTemplateRequest, TemplateView, TemplatesView,
};
use super::Tag;
use crate::{
    extract::{ClientOrigin, Json, Permit},
    problem::{ApiResult, Failure, FieldError, Input, NotFound, Permitted, ProblemCode},
    reply::{NoContent, Ok as Reply},
};

/// The operations.
pub struct MailTemplatesApi;

#[OpenApi(prefix_path = "/v1/tenant/mail-templates", tag = "Tag::Settings")]
impl MailTemplatesApi {
    /// List the kinds of mail
    ///
    /// All of them, with the tenant's own template where it has one. Takes `settings:read`.
    #[oai(path = "/", method = "get", operation_id = "listMailTemplates")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
    ) -> ApiResult<Reply<TemplatesView>, Permitted> {
        let kept = custom::list(&auth.context, &caller).await?;
        Ok(Reply(TemplatesView::of(kept)))
    }

    /// Get a kind of mail
    ///
    /// Takes `settings:read`.
    #[oai(path = "/:kind", method = "get", operation_id = "getMailTemplate")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
        /// The kind, as the list has it
        kind: Path<String>,
    ) -> ApiResult<Reply<TemplateView>, (Permitted, NotFound)> {
        let kind = read(&kind)?;
        let kept = custom::get(&auth.context, &caller, kind).await?;
        Ok(Reply(TemplateView::of(kind, kept)))
    }

    /// Send a kind of mail in one's own words
    ///
    /// The template is tried first: a fault is answered with its line. `{{ link }}` stands only by itself, in HTML as the
    /// whole `href` of an `<a>` or in text that is read, in plain text as a word of its own: anywhere else it could be sent to
    /// somebody who did not get the mail. Takes `settings:write`.
    #[oai(path = "/:kind", method = "put", operation_id = "setMailTemplate")]
    async fn set(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsWrite>,
        origin: ClientOrigin,
        /// The kind, as the list has it
        kind: Path<String>,
        body: Json<SetMailTemplateRequest>,
    ) -> ApiResult<Reply<TemplateView>, (Permitted, NotFound, Input)> {
        let kind = read(&kind)?;
        let kept = custom::set(&auth.context, &caller, &origin, kind, body.0.into()).await?;
        Ok(Reply(TemplateView::of(kind, Some(kept))))
    }

    /// Go back to the words that come with Latchkey
    ///
    /// Takes `settings:write`.
    #[oai(path = "/:kind", method = "delete", operation_id = "resetMailTemplate")]
    async fn reset(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsWrite>,
        origin: ClientOrigin,
        /// The kind, as the list has it
        kind: Path<String>,
    ) -> ApiResult<NoContent, (Permitted, NotFound)> {
        custom::reset(&auth.context, &caller, &origin, read(&kind)?).await?;
        Ok(NoContent)
    }

    /// See what a mail would look like
    ///
    /// With values made up, and without sending anything. Takes `settings:read`.
    #[oai(
        path = "/:kind/preview",
        method = "post",
        operation_id = "previewMailTemplate"
    )]
    async fn preview(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
        /// The kind, as the list has it
        kind: Path<String>,
        body: Json<PreviewMailTemplateRequest>,
    ) -> ApiResult<Reply<PreviewView>, (Permitted, NotFound, Input)> {
        let tenant = tenant(auth, caller.principal().tenant).await?;
        let (kind, draft) = (read(&kind)?, body.0.into());
        let rendered = custom::preview(&auth.context, &caller, tenant.brand(), kind, draft).await?;
        Ok(Reply(rendered.into()))
    }
}

fn read(kind: &str) -> Result<Kind, Failure> {
    let unknown = || Failure::new(ProblemCode::NotFound, "There is no such kind of mail.");
    Kind::parse(kind).ok_or_else(unknown)
}

async fn tenant(auth: &Auth, id: TenantId) -> Result<Arc<Tenant>, Failure> {
    let gone = || Failure::new(ProblemCode::TenantNotFound, "The tenant is gone.");
    auth.tenants.get(id).await?.ok_or_else(gone)
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::Faulty(faults) => {
                let fields = faults.iter().map(field).collect();
                Self::fields(ProblemCode::ValidationFailed, fields)
            }
            TemplateError::Internal(error) => error.into(),
        }
    }
}

fn field(fault: &TemplateFault) -> FieldError {
    let TemplateFault { part, line, what } = fault;
    let code = match what {
        What::Syntax(_) => "template_syntax",
        What::Evaluation(_) => "template_evaluation",
        What::TooLarge => "template_too_large",
        What::Empty => "template_empty",
        What::LinkMissing => "link_missing",
        What::LinkMisplaced => "link_misplaced",
        What::ControlCharacter => "control_character",
    };
    let detail = match line {
        Some(line) => format!("Line {line}: {what}"),
        None => what.to_string(),
    };
    FieldError::new(format!("/{}", part.as_str()), code, detail)
}
