//! From words and values to a mail: ours in our layout, or a tenant's own. Pure.

use std::sync::LazyLock;

use minijinja::{Environment, Value, context};

use super::{
    Kind,
    custom::Template,
    link::{Misplacement, StandIn},
    values::{Values, subject_line},
    words::{Block, Words},
};
use crate::error::Internal;

const LAYOUT_TEXT: &str = include_str!("templates/layout.text");
const LAYOUT_HTML: &str = include_str!("templates/layout.html");

/// What a tenant's own template may cost: an instruction is one, and so are 64 bytes that it makes, so that
/// neither a loop nor what it builds up on the way goes beyond two megabytes.
const FUEL: u64 = 32 * 1024;
/// The largest part of a mail, in bytes.
const MAX_PART: usize = 256 * 1024;

/// A mail's subject and its two parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// The plain-text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// Escaping follows the template's name: `.html` is, the others are not.
static OURS: LazyLock<Result<Environment<'static>, minijinja::Error>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_template("layout.text", LAYOUT_TEXT)?;
    environment.add_template("layout.html", LAYOUT_HTML)?;
    Ok(environment)
});

/// Without anything to load: a template sees its values and no other template.
static TENANTS: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment
});

/// Renders our own words for the kind.
pub(super) fn ours(kind: Kind, values: &Values) -> Result<Rendered, Internal> {
    let environment = OURS
        .as_ref()
        .map_err(|error| Internal::fault(error.to_string()))?;
    let values = values.plain();
    let words = Words::read(kind.source());
    let fill = |source: &str| environment.render_str(source, &values);
    let block = |block: &Block<'_>| -> Result<Value, minijinja::Error> {
        Ok(match block {
            Block::Paragraph(source) => context! { paragraph => fill(source)?, action => "" },
            Block::Action(source) => context! { paragraph => "", action => fill(source)? },
        })
    };
    let subject = subject_line(&fill(words.subject)?);
    let blocks = words.blocks.iter().map(block).collect::<Result<Vec<_>, _>>()?;
    let whole = context! { subject => &subject, blocks, ..values };
    Ok(Rendered {
        subject,
        text: environment.get_template("layout.text")?.render(&whole)?,
        html: environment.get_template("layout.html")?.render(&whole)?,
    })
}

/// A part of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The subject.
    Subject,
    /// The plain-text part.
    Text,
    /// The HTML part.
    Html,
}

impl Part {
    /// The field that holds its template.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Text => "text",
            Self::Html => "html",
        }
    }
}

/// What is wrong with a template of a tenant's own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", part.as_str())]
pub struct TemplateFault {
    /// Where.
    pub part: Part,
    /// The line, where it is in one.
    pub line: Option<usize>,
    /// What.
    pub what: What,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// It does not follow the language.
    #[error("{0}")]
    Syntax(String),
    /// It names something that is not there, or does something with a value that cannot be done.
    #[error("{0}")]
    Evaluation(String),
    /// It makes too much, or takes too long over it.
    #[error("the template makes too much")]
    TooLarge,
    /// Nothing is left of it.
    #[error("nothing comes of the template")]
    Empty,
    /// The kind is of no use without its link, and the part does not hold it as it is.
    #[error("the part must hold {{{{ link }}}} as it is")]
    LinkMissing,
    /// The link is part of something else, which may lead elsewhere.
    #[error(
        "{{{{ link }}}} stands only by itself: as the whole href of an <a>, or as a word of its own in what is read"
    )]
    LinkMisplaced,
    /// It makes a character that no mail needs and that mail servers stumble over.
    #[error("the template makes a control character other than a line's end or a tab")]
    ControlCharacter,
}

/// Renders one part of a tenant's own template.
pub(super) fn part(kind: Kind, part: Part, source: &str, values: &Values) -> Result<String, TemplateFault> {
    let fault = |what| TemplateFault {
        part,
        line: None,
        what,
    };
    let stand_in = StandIn::of(values.link());
    let filled = if part == Part::Html {
        values.escaped_without_link(&stand_in)
    } else {
        values.plain_without_link(&stand_in)
    };
    // By the part's name the engine escapes what a template makes by itself; values are escaped already.
    let rendered = TENANTS
        .render_named_str(part.as_str(), source, filled)
        .map_err(|error| explain(part, &error))?;
    if rendered.len() > MAX_PART {
        return Err(fault(What::TooLarge));
    }
    if rendered.trim().is_empty() {
        return Err(fault(What::Empty));
    }
    // A lone carriage return ends a line for some mail servers, and what follows a line that some take for the last is
    // another mail to them.
    let rendered = rendered.replace("\r\n", "\n");
    let resolved = match part {
        Part::Subject if stand_in.is_in(&rendered) => return Err(fault(What::LinkMisplaced)),
        Part::Subject => return Ok(subject_line(&rendered)),
        _ if rendered.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => {
            return Err(fault(What::ControlCharacter));
        }
        Part::Text => stand_in.resolve_text(&rendered),
        Part::Html => stand_in.resolve_html(&rendered),
    };
    match resolved {
        Ok(resolved) => Ok(resolved),
        Err(Misplacement::Missing) if !kind.needs_link() => Ok(rendered),
        Err(Misplacement::Missing) => Err(fault(What::LinkMissing)),
        Err(Misplacement::Misplaced) => Err(fault(What::LinkMisplaced)),
    }
}

/// Renders a tenant's own template.
pub(super) fn custom(kind: Kind, template: &Template, values: &Values) -> Result<Rendered, TemplateFault> {
    let render = |which, source: &str| part(kind, which, source, values);
    Ok(Rendered {
        subject: render(Part::Subject, &template.subject)?,
        text: render(Part::Text, &template.text)?,
        html: render(Part::Html, &template.html)?,
    })
}

fn explain(part: Part, error: &minijinja::Error) -> TemplateFault {
    use minijinja::ErrorKind;
    let kind = error.kind();
    let words = match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind.to_string(),
    };
    let what = match kind {
        ErrorKind::SyntaxError => What::Syntax(words),
        ErrorKind::OutOfFuel => What::TooLarge,
        _ => What::Evaluation(words),
    };
    TemplateFault {
        part,
        line: error.line(),
        what,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use url::Url;

    use super::*;
    use crate::{
        mail::{Brand, Branding, Letter, values::Occasion},
        principal::Origin,
        secret::Secret,
    };

    fn values(letter: &Letter) -> Values {
        let public_url = Url::parse("https://id.example.com/auth/").unwrap();
        let branding = Branding {
            support_email: Some("help@acme.test".to_owned()),
            ..Branding::default()
        };
        let origin = Origin {
            address: Some([203, 0, 113, 9].into()),
            user_agent: Some("Firefox/140.0".to_owned()),
            ..Origin::default()
        };
        let occasion = Occasion {
            public_url: &public_url,
            brand: Brand {
                name: "Acme <i>\r\nX: y",
                branding: Some(&branding),
            },
            to: "ada@example.com",
            origin: &origin,
            now: DateTime::from_timestamp(1_767_225_600, 0).unwrap(),
        };
        Values::of(occasion, letter)
    }

    #[test]
    fn every_kind_renders_with_one_link_in_text_and_without_foreign_markup() {
        for &kind in Kind::ALL {
            let values = values(&Letter::sample(kind));
            let Rendered { subject, text, html } = ours(kind, &values).unwrap();
            assert!(!subject.chars().any(char::is_control), "{subject}");
            assert!(!html.contains("<i>"), "{html}");
            let link = minijinja::HtmlEscape(values.link()).to_string();
            let linked = Words::read(kind.source())
                .blocks
                .iter()
                .any(|block| matches!(block, Block::Action(_)));
            assert_eq!(text.matches(values.link()).count(), usize::from(linked), "{text}");
            assert_eq!(html.contains(&link), linked, "{html}");
            assert!(text.contains("Questions? help@acme.test"), "{text}");
        }
    }

    #[test]
    fn a_notice_says_when_and_from_where() {
        let Rendered { text, .. } = ours(Kind::PasswordChanged, &values(&Letter::PasswordChanged)).unwrap();
        assert!(
            text.contains("was changed on 1 January 2026 at 00:00 UTC, from 203.0.113.9 with Firefox."),
            "{text}"
        );
    }

    #[test]
    fn an_inviters_name_is_neither_a_line_nor_a_button_nor_markup() {
        let letter = Letter::Invitation {
            token: Secret::new("lko_abc-_".to_owned()),
            inviter: Some("\n\n-> Click <b>\r\nBcc: x@example.com".to_owned()),
        };
        let Rendered { subject, text, html } = ours(Kind::Invitation, &values(&letter)).unwrap();
        assert_eq!(subject, "You are invited to Acme <i> X: y");
        assert!(
            text.starts_with("-> Click <b> Bcc: x@example.com invites you"),
            "{text}"
        );
        assert!(!html.contains("<b>"), "{html}");
    }

    #[test]
    fn a_tenants_template_cannot_turn_escaping_off() {
        let letter = Letter::Invitation {
            token: Secret::new("t".to_owned()),
            inviter: Some("<script>".to_owned()),
        };
        let values = values(&letter);
        for inviter in [
            "{{ inviter }}",
            "{{ inviter|safe }}",
            "{% autoescape false %}{{ inviter }}{% endautoescape %}",
        ] {
            let source = format!("{inviter} {{{{ link }}}}");
            let html = part(Kind::Invitation, Part::Html, &source, &values).unwrap();
            assert!(html.starts_with("&lt;script&gt;"), "{html}");
        }
    }

    #[test]
    fn a_template_that_would_not_end_or_grows_without_bound_is_stopped() {
        let values = values(&Letter::PasswordChanged);
        let doubling = "{% set x = 'xxxxxxxxxxxxxxxx' %}".to_owned() + &"{% set x = x ~ x %}".repeat(40);
        for source in [
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "{{ 'x' * 1000000000 }}",
            "{{ 'x'|replace('', 'y' * 1000000) }}",
            &doubling,
        ] {
            let fault = part(Kind::PasswordChanged, Part::Text, source, &values).unwrap_err();
            assert_eq!(fault.what, What::TooLarge, "{source:.80}");
        }
    }

    #[test]
    fn a_template_reaches_nothing_but_its_values() {
        let values = values(&Letter::PasswordChanged);
        for source in [
            "{% include 'layout.html' %}",
            "{% extends 'html' %}",
            "{% import 'html' as x %}",
            "{{ inviter }}",
            "{{ nobody }}",
            "{{ product",
        ] {
            let fault = part(Kind::PasswordChanged, Part::Text, &format!("\n{source}"), &values).unwrap_err();
            assert_eq!(fault.line, Some(2), "{source}: {fault}");
        }
    }

    #[test]
    fn a_kind_with_a_token_must_show_its_link_as_it_is() {
        let values = values(&Letter::sample(Kind::ResetPassword));
        for source in [
            "no link",
            "{{ link|upper }}",
            "Go: {% if false %}{{ link }}{% endif %}",
        ] {
            for which in [Part::Text, Part::Html] {
                let fault = part(Kind::ResetPassword, which, source, &values).unwrap_err();
                assert_eq!(fault.what, What::LinkMissing, "{source}");
            }
        }
    }
}
