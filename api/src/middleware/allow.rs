//! The methods of each path: a 405 has to name them (RFC 9110 section 15.5.6).

use std::sync::Arc;

use poem::http::HeaderValue;
use serde_json::Value;

use super::template::Template;

/// Methods by path.
#[derive(Clone)]
pub struct AllowedMethods(Arc<Vec<(Template, HeaderValue)>>);

impl AllowedMethods {
    /// Those of the document's paths, and of those beside it that are only read.
    #[must_use]
    pub fn of(document: &Value, read_only: &[&str]) -> Self {
        let paths = document["paths"].as_object().into_iter().flatten();
        let read = |(path, operations): (&String, &Value)| {
            let methods: Vec<String> = operations
                .as_object()?
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            let methods = HeaderValue::from_str(&methods.join(", ")).ok()?;
            Some((Template::of(path), methods))
        };
        let get = HeaderValue::from_static("GET");
        let beside = read_only.iter().map(|path| (Template::of(path), get.clone()));
        Self(Arc::new(paths.filter_map(read).chain(beside).collect()))
    }

    /// The value of `Allow` for a path.
    pub(super) fn get(&self, path: &str) -> Option<&HeaderValue> {
        self.0
            .iter()
            .find(|(template, _)| template.fits(path))
            .map(|(_, methods)| methods)
    }
}
