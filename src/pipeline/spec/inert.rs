//! Fields that are known but have no effect here: checked, kept, told about.

use serde_json::{Map, Value as Json};

use super::super::document::{Node, Value, plain};
use super::Notice;
use super::fields::{Fields, ReadError, fail, nearest, snake_case};

/// What a field without effect may hold.
pub(super) enum Shape {
    /// Anything; keys stay as written.
    Free,
    /// A string, number or boolean.
    Scalar,
    /// An object with these fields.
    Object(&'static [(&'static str, Shape)]),
    /// A list of these.
    List(&'static Shape),
}

use Shape::{Free, List, Object, Scalar};

const RESOURCES: Shape =
    Object(&[("memory", Scalar), ("cpu", Scalar), ("disk", Scalar), ("gpu", Free)]);

const NOT_HERE: &str = "it has no effect on this server";
const ON_KUBERNETES: &str = "it has no effect outside Kubernetes";
const ALWAYS: &str = "statistics and logs are always kept";
const AUTOMATIC: &str = "this server decides it by itself";

/// Top-level fields without effect: name, shape, and why.
pub(super) const OF_PIPELINE: &[(&str, Shape, &str)] = &[
    ("autoscaling", Scalar, "workers start on demand anyway"),
    ("batch", Scalar, NOT_HERE),
    ("cache_size", Scalar, AUTOMATIC),
    ("chunk_spec", Object(&[("number", Scalar), ("size_bytes", Scalar)]), AUTOMATIC),
    (
        "datum_set_spec",
        Object(&[("number", Scalar), ("size_bytes", Scalar), ("per_worker", Scalar)]),
        AUTOMATIC,
    ),
    ("determined", Object(&[("workspaces", List(&Scalar))]), NOT_HERE),
    ("dry_run", Scalar, NOT_HERE),
    ("enable_stats", Scalar, ALWAYS),
    ("hashtree_spec", Object(&[("constant", Scalar)]), AUTOMATIC),
    ("max_queue_size", Scalar, AUTOMATIC),
    ("maximum_expected_uptime", Scalar, NOT_HERE),
    ("metadata", Object(&[("annotations", Free), ("labels", Free)]), ON_KUBERNETES),
    ("pod_patch", Scalar, ON_KUBERNETES),
    ("pod_spec", Scalar, ON_KUBERNETES),
    ("resource_limits", RESOURCES, ON_KUBERNETES),
    ("resource_requests", RESOURCES, ON_KUBERNETES),
    ("s3_out", Scalar, "results are taken from /pfs/out"),
    (
        "scheduling_spec",
        Object(&[("node_selector", Free), ("priority_class_name", Scalar)]),
        ON_KUBERNETES,
    ),
    ("sidecar_resource_limits", RESOURCES, ON_KUBERNETES),
    ("sidecar_resource_requests", RESOURCES, ON_KUBERNETES),
    ("spec_commit", Free, "it is set when the pipeline is created"),
    ("standby", Scalar, "an idle pipeline holds no processes anyway"),
    ("tolerations", Free, ON_KUBERNETES),
];

/// Fields of a transform without effect.
pub(super) const OF_TRANSFORM: &[(&str, Shape, &str)] = &[
    (
        "build",
        Object(&[("path", Scalar), ("language", Scalar), ("image", Scalar)]),
        "build the image beforehand",
    ),
    ("datum_batching", Scalar, "the program is started once per datum"),
    ("debug", Scalar, NOT_HERE),
    ("dockerfile", Scalar, "build the image beforehand"),
    ("image_pull_secrets", List(&Scalar), ON_KUBERNETES),
    ("memory_volume", Scalar, NOT_HERE),
];

/// Fields of a `pfs` input without effect.
pub(super) const OF_PFS: &[(&str, Shape, &str)] = &[
    ("lazy", Scalar, "files are always read on demand"),
    ("propagation_spec", Object(&[("never", Scalar)]), NOT_HERE),
    ("s3", Scalar, "the files are under /pfs"),
];

/// Takes every field of `table`; those that say something become notices.
pub(super) fn take(
    fields: &mut Fields<'_>,
    table: &'static [(&'static str, Shape, &'static str)],
    notices: &mut Vec<Notice>,
) -> Result<Map<String, Json>, ReadError> {
    let mut kept = Map::new();
    for (name, shape, why) in table {
        let Some(node) = fields.take(name) else { continue };
        let value = checked(node, name, shape)?;
        if says_something(&value) {
            notices.push(Notice { at: node.at, message: format!("{name} is ignored: {why}") });
            kept.insert((*name).to_owned(), value);
        }
    }
    Ok(kept)
}

/// Whether the value differs from leaving the field out.
fn says_something(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(flag) => *flag,
        Json::Number(_) => true,
        // Words stand for flags, too.
        Json::String(text) => !text.is_empty() && text != "false",
        Json::Array(items) => !items.is_empty(),
        Json::Object(fields) => !fields.is_empty(),
    }
}

fn checked(node: &Node, name: &str, shape: &Shape) -> Result<Json, ReadError> {
    match (shape, &node.value) {
        (_, Value::Null) => Ok(Json::Null),
        (Free, _) => Ok(plain(node)),
        (Scalar, Value::Bool(_) | Value::Number(_) | Value::Text(_)) => Ok(plain(node)),
        (List(item), Value::List(nodes)) => {
            nodes.iter().map(|node| checked(node, name, item)).collect()
        }
        (Object(known), Value::Map(entries)) => {
            let mut object = Map::new();
            for (key, node) in entries {
                let field = snake_case(&key.text);
                let Some((_, shape)) = known.iter().find(|(known, _)| *known == field) else {
                    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                    let hint = nearest(&key.text, &names).map(|n| format!("did you mean {n:?}?"));
                    let message = format!("unknown field {:?} in {name}", key.text);
                    return Err(ReadError { at: key.at, message, hint });
                };
                let value = checked(node, &field, shape)?;
                object.insert(field, value);
            }
            Ok(Json::Object(object))
        }
        (Scalar, other) => fail(node.at, format!("{name} must not be {}", other.kind())),
        (List(_), other) => fail(node.at, format!("{name} must be a list, not {}", other.kind())),
        (Object(_), other) => {
            fail(node.at, format!("{name} must be an object, not {}", other.kind()))
        }
    }
}
