//! The shapes of mail templates.

use latchkey_shared::mail::{
    Kind, Rendered,
    custom::{Draft, Kept, Template},
};
use poem_openapi::{Object, types::Example};

use crate::time::Timestamp;

/// A template's parts, in the Jinja language.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct SetMailTemplateRequest {
    /// One line.
    #[oai(validator(min_length = 1, max_length = 500))]
    subject: String,
    /// The plain-text part.
    #[oai(validator(min_length = 1, max_length = 65536))]
    text: String,
    /// The HTML part. Values are escaped in it.
    #[oai(validator(min_length = 1, max_length = 65536))]
    html: String,
}

impl Example for SetMailTemplateRequest {
    fn example() -> Self {
        Self {
            subject: "Welcome to {{ product }}".to_owned(),
            text: "Confirm your address: {{ link }}".to_owned(),
            html: "<p><a href=\"{{ link }}\">Confirm your address</a></p>".to_owned(),
        }
    }
}

impl From<SetMailTemplateRequest> for Template {
    fn from(request: SetMailTemplateRequest) -> Self {
        let SetMailTemplateRequest { subject, text, html } = request;
        Self { subject, text, html }
    }
}

/// A template to be tried. What is missing is taken from the present one.
#[derive(Object)]
#[oai(deny_unknown_fields)]
pub(super) struct PreviewMailTemplateRequest {
    /// One line.
    #[oai(validator(min_length = 1, max_length = 500))]
    subject: Option<String>,
    /// The plain-text part.
    #[oai(validator(min_length = 1, max_length = 65536))]
    text: Option<String>,
    /// The HTML part.
    #[oai(validator(min_length = 1, max_length = 65536))]
    html: Option<String>,
}

impl From<PreviewMailTemplateRequest> for Draft {
    fn from(request: PreviewMailTemplateRequest) -> Self {
        let PreviewMailTemplateRequest { subject, text, html } = request;
        Self { subject, text, html }
    }
}

/// What a mail would say.
#[derive(Object)]
#[oai(rename = "MailPreview")]
pub(super) struct PreviewView {
    subject: String,
    text: String,
    html: String,
}

impl From<Rendered> for PreviewView {
    fn from(rendered: Rendered) -> Self {
        let Rendered { subject, text, html } = rendered;
        Self { subject, text, html }
    }
}

/// A value that a template may name.
#[derive(Object)]
#[oai(rename = "MailVariable")]
struct VariableView {
    /// As it stands in the template: `{{ name }}`.
    name: String,
    /// What it holds.
    description: String,
}

/// A kind of mail and the tenant's own template for it, where there is one.
#[derive(Object)]
#[oai(rename = "MailTemplate")]
pub(super) struct TemplateView {
    kind: String,
    /// When it is sent.
    description: String,
    /// Whether the tenant has words of its own for it.
    customized: bool,
    /// Whether text and HTML must hold `{{ link }}`.
    link_required: bool,
    /// What its template may name.
    variables: Vec<VariableView>,
    /// Null where the words are ours; the preview shows those.
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    updated_at: Option<Timestamp>,
}

impl TemplateView {
    pub(super) fn of(kind: Kind, kept: Option<Kept>) -> Self {
        let variables = kind.variables().map(|(name, description)| VariableView {
            name: name.to_owned(),
            description: description.to_owned(),
        });
        let updated_at = kept.as_ref().map(|kept| kept.updated_at.into());
        let template = kept.map(|kept| kept.template);
        let (customized, parts) = match template {
            Some(Template { subject, text, html }) => (true, [Some(subject), Some(text), Some(html)]),
            None => (false, [None, None, None]),
        };
        let [subject, text, html] = parts;
        Self {
            kind: kind.as_str().to_owned(),
            description: kind.description().to_owned(),
            customized,
            link_required: kind.needs_link(),
            variables: variables.collect(),
            subject,
            text,
            html,
            updated_at,
        }
    }
}

/// Every kind of mail.
#[derive(Object)]
#[oai(rename = "MailTemplates")]
pub(super) struct TemplatesView {
    data: Vec<TemplateView>,
}

impl TemplatesView {
    pub(super) fn of(mut kept: Vec<Kept>) -> Self {
        let mut take = |kind: Kind| {
            let at = kept.iter().position(|kept| kept.kind == kind)?;
            Some(kept.swap_remove(at))
        };
        Self {
            data: Kind::ALL
                .iter()
                .map(|&kind| TemplateView::of(kind, take(kind)))
                .collect(),
        }
    }
}
