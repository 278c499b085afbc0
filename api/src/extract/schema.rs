//! Judging JSON by the schema we publish, so that every fault is found and named by its pointer.

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef, Registry},
    types::Type,
};
use serde_json::Value;

use super::NEVER_NULL;
use crate::problem::FieldError;

/// So many faults are named; who sends more is not helped by a longer list.
const MAX_FAULTS: usize = 32;
/// Deeper nesting than any schema of ours has.
const MAX_DEPTH: usize = 16;

/// The schema of one type, with all that it refers to.
pub(super) struct Schema {
    root: MetaSchemaRef,
    registry: Registry,
}

impl Schema {
    pub(super) fn of<T: Type>() -> Self {
        let mut registry = Registry::new();
        T::register(&mut registry);
        Self {
            root: T::schema_ref(),
            registry,
        }
    }

    /// Every fault of the value.
    pub(super) fn judge(&self, value: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.visit(&self.root, value, &mut String::new(), &mut errors);
        errors
    }

    /// Whether it is an object's, with a field of that name.
    pub(super) fn names(&self, field: &str) -> bool {
        let schema = self.resolve(&self.root);
        schema.is_some_and(|schema| schema.properties.iter().any(|(name, _)| *name == field))
    }

    fn resolve<'a>(&'a self, schema: &'a MetaSchemaRef) -> Option<&'a MetaSchema> {
        match schema {
            MetaSchemaRef::Inline(schema) => Some(schema),
            MetaSchemaRef::Reference(name) => self.registry.schemas.get(name),
        }
    }

    fn visit(&self, schema: &MetaSchemaRef, value: &Value, at: &mut String, errors: &mut Vec<FieldError>) {
        if errors.len() >= MAX_FAULTS {
            return;
        }
        let Some(schema) = self.resolve(schema) else {
            return;
        };
        for part in &schema.all_of {
            self.visit(part, value, at, errors);
        }
        if !schema.enum_items.is_empty() && !schema.enum_items.contains(value) {
            let known: Vec<String> = schema.enum_items.iter().map(Value::to_string).collect();
            errors.push(FieldError::new(
                &**at,
                "unknown_value",
                format!("must be one of {}", known.join(", ")),
            ));
            return;
        }
        match schema.ty {
            "object" => self.object(schema, value, at, errors),
            "array" => self.array(schema, value, at, errors),
            "string" => string(schema, value, at, errors),
            "integer" => integer(schema, value, at, errors),
            "number" if !value.is_number() => errors.push(wrong_type(at, "a number")),
            "boolean" if !value.is_boolean() => errors.push(wrong_type(at, "true or false")),
            _ => {}
        }
    }

    fn object(&self, schema: &MetaSchema, value: &Value, at: &mut String, errors: &mut Vec<FieldError>) {
        let Value::Object(fields) = value else {
            return errors.push(wrong_type(at, "an object"));
        };
        for name in &schema.required {
            if !fields.contains_key(*name) {
                errors.push(FieldError::new(
                    pointer(at, name),
                    "required",
                    format!("{name} is required"),
                ));
            }
        }
        for (name, field) in fields {
            if errors.len() >= MAX_FAULTS {
                return;
            }
            let length = at.len();
            at.push('/');
            at.push_str(&escape(name));
            match schema.properties.iter().find(|(known, _)| known == name) {
                Some((_, property)) if field.is_null() && is_never_null(property) => {
                    let detail = "cannot be cleared: send a value, or leave it out";
                    errors.push(FieldError::new(&**at, "not_nullable", detail));
                }
                // An optional field says "nothing" by null as well as by its absence.
                Some((known, _)) if field.is_null() && !schema.required.contains(known) => {}
                Some((_, property)) => self.visit(property, field, at, errors),
                None => self.other(schema, name, field, at, errors),
            }
            at.truncate(length);
        }
    }

    /// A field that the schema does not name.
    fn other(
        &self,
        schema: &MetaSchema,
        name: &str,
        field: &Value,
        at: &mut String,
        errors: &mut Vec<FieldError>,
    ) {
        if name.contains('\0') {
            return errors.push(FieldError::new(
                &**at,
                "invalid_character",
                "must not contain NUL",
            ));
        }
        match &schema.additional_properties {
            Some(others) => self.visit(others, field, at, errors),
            None if schema.properties.is_empty() => free(field, at, errors, 0),
            None => errors.push(FieldError::new(
                &**at,
                "unknown_field",
                "is not a field of this object",
            )),
        }
    }

    fn array(&self, schema: &MetaSchema, value: &Value, at: &mut String, errors: &mut Vec<FieldError>) {
        let Value::Array(items) = value else {
            return errors.push(wrong_type(at, "a list"));
        };
        if schema.max_items.is_some_and(|max| items.len() > max) {
            let max = schema.max_items.unwrap_or_default();
            errors.push(FieldError::new(
                &**at,
                "too_many",
                format!("must hold at most {max}"),
            ));
            return;
        }
        if schema.min_items.is_some_and(|min| items.len() < min) {
            let min = schema.min_items.unwrap_or_default();
            let detail = format!("must hold at least {min}");
            return errors.push(FieldError::new(&**at, "too_few", detail));
        }
        let Some(of) = &schema.items else { return };
        for (index, item) in items.iter().enumerate() {
            let length = at.len();
            at.push('/');
            at.push_str(&index.to_string());
            self.visit(of, item, at, errors);
            at.truncate(length);
        }
    }
}

fn is_never_null(schema: &MetaSchemaRef) -> bool {
    match schema {
        MetaSchemaRef::Inline(schema) => schema.title.as_deref() == Some(NEVER_NULL),
        MetaSchemaRef::Reference(_) => false,
    }
}

/// JSON of the caller's own shape: any value, but not any depth, and no character that the database cannot keep.
fn free(value: &Value, at: &str, errors: &mut Vec<FieldError>, depth: usize) {
    if errors.len() >= MAX_FAULTS {
        return;
    }
    if depth > MAX_DEPTH {
        return errors.push(FieldError::new(
            at,
            "too_deep",
            format!("must not nest deeper than {MAX_DEPTH}"),
        ));
    }
    match value {
        Value::String(text) if text.contains('\0') => {
            errors.push(FieldError::new(at, "invalid_character", "must not contain NUL"));
        }
        Value::Array(items) => items.iter().for_each(|item| free(item, at, errors, depth + 1)),
        Value::Object(fields) => {
            for (name, field) in fields {
                if name.contains('\0') {
                    errors.push(FieldError::new(at, "invalid_character", "must not contain NUL"));
                }
                free(field, at, errors, depth + 1);
            }
        }
        _ => {}
    }
}

fn string(schema: &MetaSchema, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let Value::String(text) = value else {
        return errors.push(wrong_type(at, "text"));
    };
    let chars = text.chars().count();
    if let Some(min) = schema.min_length.filter(|min| chars < *min) {
        errors.push(FieldError::new(
            at,
            "too_short",
            format!("must have at least {min} characters"),
        ));
    }
    if let Some(max) = schema.max_length.filter(|max| chars > *max) {
        errors.push(FieldError::new(
            at,
            "too_long",
            format!("must have at most {max} characters"),
        ));
    }
    if text.contains('\0') {
        errors.push(FieldError::new(at, "invalid_character", "must not contain NUL"));
    }
    let (valid, expected) = match schema.format {
        Some("uuid") => (uuid::Uuid::parse_str(text).is_ok(), "a UUID"),
        Some("date-time") => (
            chrono::DateTime::parse_from_rfc3339(text).is_ok(),
            "an RFC 3339 time",
        ),
        Some("uri" | "url") => (url::Url::parse(text).is_ok(), "an absolute URL"),
        _ => (true, ""),
    };
    if !valid {
        errors.push(FieldError::new(
            at,
            "invalid_format",
            format!("must be {expected}"),
        ));
    }
}

fn integer(schema: &MetaSchema, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let Some(number) = value
        .as_i64()
        .or_else(|| value.as_u64().and_then(|n| i64::try_from(n).ok()))
    else {
        return errors.push(wrong_type(at, "a whole number"));
    };
    #[expect(clippy::cast_precision_loss, reason = "bounds in our schemas are small")]
    let number = number as f64;
    if let Some(min) = schema.minimum.filter(|min| number < *min) {
        errors.push(FieldError::new(
            at,
            "too_small",
            format!("must be at least {min}"),
        ));
    }
    if let Some(max) = schema.maximum.filter(|max| number > *max) {
        errors.push(FieldError::new(at, "too_large", format!("must be at most {max}")));
    }
}

fn wrong_type(at: &str, expected: &str) -> FieldError {
    FieldError::new(at, "wrong_type", format!("must be {expected}"))
}

fn pointer(at: &str, name: &str) -> String {
    format!("{at}/{}", escape(name))
}

/// RFC 6901 section 3.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
