//! Mail in a tenant's own words.
//!
//! A tenant may replace each kind of mail by a template of its own: subject, text and HTML in the Jinja language,
//! which see the kind's values and nothing else. A template is rendered before it is kept, with every value there
//! and with every optional one missing, and it is kept only if that went well.
//!
//! What must never happen: a template that reaches another template, a file, or more memory and time than a mail
//! is worth; a name that becomes markup; a security mail that is lost because its template is at fault, for which
//! ours is sent instead.

pub(super) mod store;

use chrono::{DateTime, Utc};
use serde_json::json;
use url::Url;

use super::{
    Brand, Branding, Kind, Letter,
    render::{self, Part, Rendered, TemplateFault},
    values::{Occasion, Values},
};
use crate::{
    audit::{self, Record},
    context::Context,
    error::{Internal, internal_variant},
    permission::{Authorized, SettingsRead, SettingsWrite},
    principal::Origin,
};

/// The parts of a template, as a tenant wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// One line.
    pub subject: String,
    /// The plain-text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// A tenant's own template and when it was written.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Which.
    pub kind: Kind,
    /// What it says.
    pub template: Template,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A template that is tried. What is missing is taken from the one that is kept, or else from ours.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// One line.
    pub subject: Option<String>,
    /// The plain-text part.
    pub text: Option<String>,
    /// The HTML part.
    pub html: Option<String>,
}

impl Draft {
    fn over(self, kept: Option<Template>) -> Self {
        let Some(Template { subject, text, html }) = kept else {
            return self;
        };
        Self {
            subject: self.subject.or(Some(subject)),
            text: self.text.or(Some(text)),
            html: self.html.or(Some(html)),
        }
    }
}

/// Why a template was not kept or shown.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It has faults: at most one for each part.
    #[error("the template is at fault")]
    Faulty(Vec<TemplateFault>),
    /// A failure inside.
    #[error(transparent)]
    Internal(Internal),
}

internal_variant!(TemplateError: Internal sea_orm::DbErr);

/// The tenant's own templates.
///
/// # Errors
/// Only failures inside.
pub async fn list(context: &Context, caller: &Authorized<SettingsRead>) -> Result<Vec<Kept>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    Ok(store::list(&tx, tenant).await?)
}

/// The tenant's own template for the kind, if it has one.
///
/// # Errors
/// Only failures inside.
pub async fn get(
    context: &Context,
    caller: &Authorized<SettingsRead>,
    kind: Kind,
) -> Result<Option<Kept>, Internal> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    Ok(store::find(&tx, tenant, kind).await?)
}

/// Puts a template in the place of ours, or of the one before.
///
/// # Errors
/// [`TemplateError::Faulty`]; the one before stays then.
pub async fn set(
    context: &Context,
    caller: &Authorized<SettingsWrite>,
    origin: &Origin,
    kind: Kind,
    template: Template,
) -> Result<Kept, TemplateError> {
    judge(kind, &template)?;
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    store::upsert(&change.tx, tenant, kind, &template, change.now).await?;
    let detail = json!({ "kind": kind.as_str() });
    audit::record(
        &change,
        Record::success("mail_template.set", "tenant", tenant.0, detail),
    )
    .await?;
    let updated_at = change.now;
    change.commit().await?;
    Ok(Kept {
        kind,
        template,
        updated_at,
    })
}

/// Goes back to ours. Where there is no other, nothing changes.
///
/// # Errors
/// Only failures inside.
pub async fn reset(
    context: &Context,
    caller: &Authorized<SettingsWrite>,
    origin: &Origin,
    kind: Kind,
) -> Result<(), Internal> {
    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    if store::delete(&change.tx, tenant, kind).await? {
        let detail = json!({ "kind": kind.as_str() });
        audit::record(
            &change,
            Record::success("mail_template.reset", "tenant", tenant.0, detail),
        )
        .await?;
        change.commit().await?;
    }
    Ok(())
}

/// What a mail of the kind would look like, with values made up.
///
/// # Errors
/// [`TemplateError::Faulty`].
pub async fn preview(
    context: &Context,
    caller: &Authorized<SettingsRead>,
    brand: Brand<'_>,
    kind: Kind,
    draft: Draft,
) -> Result<Rendered, TemplateError> {
    let kept = get(context, caller, kind).await?.map(|kept| kept.template);
    let draft = draft.over(kept);
    let origin = sample_origin();
    let occasion = Occasion {
        public_url: &context.config.server.public_url,
        brand,
        to: SAMPLE_ADDRESS,
        origin: &origin,
        now: context.clock.now(),
    };
    let values = Values::of(occasion, &Letter::sample(kind));
    let ours = render::ours(kind, &values)?;
    let mut faults = Vec::new();
    let mut render = |part, source: Option<String>, ours: String| match source {
        None => ours,
        Some(source) => render::part(kind, part, &source, &values).unwrap_or_else(|fault| {
            faults.push(fault);
            String::new()
        }),
    };
    let rendered = Rendered {
        subject: render(Part::Subject, draft.subject, ours.subject),
        text: render(Part::Text, draft.text, ours.text),
        html: render(Part::Html, draft.html, ours.html),
    };
    if faults.is_empty() {
        Ok(rendered)
    } else {
        Err(TemplateError::Faulty(faults))
    }
}

const SAMPLE_ADDRESS: &str = "grace@example.com";

/// As if someone did it from a documentation address (RFC 5737).
fn sample_origin() -> Origin {
    Origin {
        address: Some([203, 0, 113, 9].into()),
        user_agent: Some("Firefox/1.0".to_owned()),
        ..Origin::default()
    }
}

/// Renders each part with all values and then with those alone that are always there.
fn judge(kind: Kind, template: &Template) -> Result<(), TemplateError> {
    let public_url = Url::parse("https://id.example.com").map_err(Internal::fault)?;
    let branding = Branding {
        product_name: Some("Example".to_owned()),
        accent_color: Some("#663399".to_owned()),
        logo_url: Some("https://example.com/logo.png".to_owned()),
        support_email: Some("help@example.com".to_owned()),
    };
    let bare = match Letter::sample(kind) {
        Letter::Invitation { token, .. } => Letter::Invitation { token, inviter: None },
        other => other,
    };
    let full = (Letter::sample(kind), Some(&branding), sample_origin());
    let bare = (bare, None, Origin::default());
    let mut faults: Vec<TemplateFault> = Vec::new();
    for (letter, branding, origin) in [full, bare] {
        let brand = Brand {
            name: "Example",
            branding,
        };
        let occasion = Occasion {
            public_url: &public_url,
            brand,
            to: SAMPLE_ADDRESS,
            origin: &origin,
            now: DateTime::UNIX_EPOCH,
        };
        let values = Values::of(occasion, &letter);
        let parts = [
            (Part::Subject, &template.subject),
            (Part::Text, &template.text),
            (Part::Html, &template.html),
        ];
        for (part, source) in parts {
            let known = faults.iter().any(|fault| fault.part == part);
            match render::part(kind, part, source, &values) {
                Err(fault) if !known => faults.push(fault),
                _ => {}
            }
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(TemplateError::Faulty(faults))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template {
            subject: "Join {{ product }}".to_owned(),
            text: text.to_owned(),
            html: "<a href=\"{{ link }}\">Join</a>".to_owned(),
        }
    }

    #[test]
    fn a_template_must_do_without_what_may_be_missing() {
        assert!(judge(Kind::Invitation, &template("{{ inviter }} {{ link }}")).is_ok());
        let when_invited = "{% if inviter %}{{ link }}{% else %}hello{% endif %}";
        let Err(TemplateError::Faulty(faults)) = judge(Kind::Invitation, &template(when_invited)) else {
            panic!("it was kept");
        };
        assert_eq!(
            (faults.len(), faults[0].part, &faults[0].what),
            (1, Part::Text, &render::What::LinkMissing)
        );
    }

    #[test]
    fn each_part_at_fault_is_named_once() {
        let template = Template {
            subject: "{{ nobody }}".to_owned(),
            text: "{% if %}".to_owned(),
            html: String::new(),
        };
        let Err(TemplateError::Faulty(faults)) = judge(Kind::PasswordChanged, &template) else {
            panic!("it was kept");
        };
        let parts: Vec<Part> = faults.iter().map(|fault| fault.part).collect();
        assert_eq!(parts, [Part::Subject, Part::Text, Part::Html]);
    }
}
