//! The methods of each path: a 405 has to name them (RFC 9110 section 15.5.6).

use std::sync::Arc;

use poem::http::HeaderValue;
use serde_json::Value;

/// Methods by path, read from the published document.
#[derive(Clone)]
pub struct AllowedMethods(Arc<Vec<(Vec<Segment>, HeaderValue)>>);

#[derive(PartialEq)]
enum Segment {
    Fixed(String),
    Parameter,
}

impl AllowedMethods {
    /// Reads the document's paths.
    #[must_use]
    pub fn of(document: &Value) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let read = |(path, operations): (&String, &Value)| {
            let methods: Vec<String> = operations
                .as_object()?
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            Some((
                segments(path).collect(),
                HeaderValue::from_str(&methods.join(", ")).ok()?,
            ))
        };
        Self(Arc::new(paths.filter_map(read).collect()))
    }

    /// The value of `Allow` for a path.
    pub(super) fn get(&self, path: &str) -> Option<&HeaderValue> {
        let asked: Vec<&str> = path.trim_matches('/').split('/').collect();
        let fits = |template: &[Segment]| {
            template.len() == asked.len()
                && template.iter().zip(&asked).all(|(segment, part)| match segment {
                    Segment::Fixed(fixed) => fixed == part,
                    Segment::Parameter => true,
                })
        };
        self.0
            .iter()
            .find(|(template, _)| fits(template))
            .map(|(_, methods)| methods)
    }
}

fn segments(path: &str) -> impl Iterator<Item = Segment> {
    path.trim_matches('/').split('/').map(|part| {
        if part.starts_with('{') {
            Segment::Parameter
        } else {
            Segment::Fixed(part.to_owned())
        }
    })
}
