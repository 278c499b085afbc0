//! Paths of the document, told apart as the router does.

/// A path with parameters.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Segment>);

#[derive(Clone, Debug)]
enum Segment {
    Fixed(String),
    Parameter,
}

impl Template {
    /// As the document writes it.
    pub(super) fn of(path: &str) -> Self {
        let segments = segments(path).map(|segment| {
            if segment.starts_with('{') {
                Segment::Parameter
            } else {
                Segment::Fixed(segment.to_owned())
            }
        });
        Self(segments.collect())
    }

    /// Whether a request's path is of it.
    pub(super) fn fits(&self, path: &str) -> bool {
        let mut asked = segments(path);
        let all = self.0.iter().all(|segment| match (segment, asked.next()) {
            (Segment::Fixed(fixed), Some(part)) => fixed == part,
            (Segment::Parameter, Some(_)) => true,
            (_, None) => false,
        });
        all && asked.next().is_none()
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.trim_matches('/').split('/')
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn a_path_fits_where_each_segment_does() {
        let template = Template::of("/v1/users/{id}/roles");
        assert!(template.fits("/v1/users/7/roles"));
        assert!(template.fits("/v1/users/7/roles/"));
        for other in ["/v1/users/7", "/v1/users/7/roles/8", "/v1/users/7/sessions"] {
            assert!(!template.fits(other), "{other}");
        }
    }
}
