//! How large the fields of a request may be, as the specification says.

use std::collections::BTreeMap;

use crate::refusal::{Refusal, Result};

/// Bytes of a string.
const TEXT_MAX: usize = 128;
/// Bytes of a path, its end included.
const PATH_MAX: usize = 4096;
/// Bytes of a map: of its keys and values.
const MAP_MAX: usize = 4096;

/// A text that must be there.
pub(crate) fn required<'t>(field: &str, text: &'t str) -> Result<&'t str> {
    match text.is_empty() {
        true => Err(Refusal::Invalid(format!("the request has no {field}"))),
        false => optional(field, text),
    }
}

/// A text that may be missing.
pub(crate) fn optional<'t>(field: &str, text: &'t str) -> Result<&'t str> {
    bounded(field, text, TEXT_MAX)
}

/// A path that must be there.
pub(crate) fn path<'t>(field: &str, text: &'t str) -> Result<&'t str> {
    match text.is_empty() {
        true => Err(Refusal::Invalid(format!("the request has no {field}"))),
        false => bounded(field, text, PATH_MAX - 1),
    }
}

/// A map of texts.
pub(crate) fn map(field: &str, map: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    match bytes > MAP_MAX {
        true => Err(too_long(field, bytes, MAP_MAX)),
        false => Ok(()),
    }
}

/// A list of texts.
pub(crate) fn list(field: &str, list: &[String]) -> Result<()> {
    let bytes: usize = list.iter().map(String::len).sum();
    match bytes > MAP_MAX {
        true => Err(too_long(field, bytes, MAP_MAX)),
        false => list.iter().try_for_each(|text| optional(field, text).map(drop)),
    }
}

fn bounded<'t>(field: &str, text: &'t str, max: usize) -> Result<&'t str> {
    match text.len() > max {
        true => Err(too_long(field, text.len(), max)),
        false => Ok(text),
    }
}

fn too_long(field: &str, bytes: usize, max: usize) -> Refusal {
    Refusal::Invalid(format!("{field} has {bytes} bytes, at most {max} are allowed"))
}
