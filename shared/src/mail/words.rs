//! The words of one kind: a subject, paragraphs, and the label of the button that carries its link. Pure.
//!
//! A file of `templates/` has the subject on its first line and then paragraphs with empty lines between them;
//! the one that begins with `-> ` is the button. It is taken apart before any value is filled in, so that no
//! value can add a paragraph or become a button.

/// A kind's words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words<'a> {
    pub(super) subject: &'a str,
    pub(super) blocks: Vec<Block<'a>>,
}

/// A part of what a mail says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block<'a> {
    /// Text.
    Paragraph(&'a str),
    /// The button, by its label.
    Action(&'a str),
}

impl<'a> Words<'a> {
    pub(super) fn read(source: &'a str) -> Self {
        let mut parts = source
            .split("\n\n")
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let subject = parts.next().unwrap_or_default();
        let blocks = parts
            .map(|part| {
                part.strip_prefix("-> ")
                    .map_or(Block::Paragraph(part), Block::Action)
            })
            .collect();
        Self { subject, blocks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Kind;

    #[test]
    fn a_file_is_a_subject_and_blocks() {
        let words = Words::read("Subject\n\nOne.\n\n-> Go\n\nTwo.\n");
        let blocks = vec![
            Block::Paragraph("One."),
            Block::Action("Go"),
            Block::Paragraph("Two."),
        ];
        let expected = Words {
            subject: "Subject",
            blocks,
        };
        assert_eq!(words, expected);
    }

    #[test]
    fn every_kind_that_needs_its_link_has_one_button() {
        for &kind in Kind::ALL {
            let words = Words::read(kind.source());
            let buttons = words
                .blocks
                .iter()
                .filter(|block| matches!(block, Block::Action(_)))
                .count();
            assert!(!words.subject.contains('\n'), "{kind:?}");
            assert!(buttons <= 1 && (buttons == 1 || !kind.needs_link()), "{kind:?}");
        }
    }
}
