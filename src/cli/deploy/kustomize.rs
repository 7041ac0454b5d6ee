//! What our own manifests use of kustomize, so that printing them needs no
//! kubectl. Anything else in a kustomization is an error, which a test finds.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Objects of Kubernetes, in the order in which they are applied.
pub(super) type Objects = Vec<Value>;

/// Kinds that are in no namespace.
const CLUSTER_WIDE: [&str; 9] = [
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CSIDriver",
    "StorageClass",
    "VolumeSnapshotClass",
    "PriorityClass",
    "PersistentVolume",
    "CustomResourceDefinition",
];

/// Text that is no manifest of ours.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub(super) struct Unreadable {
    path: String,
    reason: String,
}

/// `kustomization.yaml`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _version: String,
    #[serde(rename = "kind")]
    _kind: String,
    namespace: Option<String>,
    #[serde(default)]
    labels: Vec<Labels>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default)]
    config_map_generator: Vec<ConfigMap>,
    #[serde(default)]
    generator_options: Generator,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Labels {
    pairs: Map<String, Value>,
    #[serde(default)]
    include_selectors: bool,
    #[serde(default)]
    include_templates: bool,
}

/// Another name or tag for an image.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Image {
    pub name: String,
    pub new_name: Option<String>,
    pub new_tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigMap {
    name: String,
    #[serde(default)]
    files: Vec<String>,
}

/// Names with hashes of their content are not made here.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Generator {
    #[serde(default)]
    disable_name_suffix_hash: bool,
}

/// The texts of files by their path from the root of the tree.
pub(super) type Files<'f> = [(&'f str, &'f str)];

/// What the kustomization in `dir` comes to.
pub(super) fn build(files: &Files<'_>, dir: &str) -> Result<Objects, Unreadable> {
    let path = join(dir, "kustomization.yaml");
    let unreadable = |reason: String| Unreadable { path: path.clone(), reason };
    let kustomization: Kustomization = serde_yaml_ng::from_str(text(files, &path)?)
        .map_err(|error| unreadable(error.to_string()))?;
    let mut objects = Objects::new();
    for resource in &kustomization.resources {
        let path = join(dir, resource);
        match resource.ends_with(".yaml") {
            true => objects.extend(documents(files, &path)?),
            false => objects.extend(build(files, &path)?),
        }
    }
    if !kustomization.config_map_generator.is_empty()
        && !kustomization.generator_options.disable_name_suffix_hash
    {
        return Err(unreadable("names of ConfigMaps with hashes are not made here".to_owned()));
    }
    for map in &kustomization.config_map_generator {
        let mut data = Map::new();
        for file in &map.files {
            let text = text(files, &join(dir, file))?;
            data.insert(file.clone(), Value::String(text.to_owned()));
        }
        objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map.name}, "data": data,
        }));
    }
    for object in &mut objects {
        if let Some(namespace) = &kustomization.namespace {
            place(object, namespace);
        }
        kustomization.labels.iter().for_each(|labels| label(object, labels));
        kustomization.images.iter().for_each(|image| take_image(object, image));
    }
    Ok(objects)
}

fn documents(files: &Files<'_>, path: &str) -> Result<Objects, Unreadable> {
    let unreadable = |reason: String| Unreadable { path: path.to_owned(), reason };
    let mut objects = Objects::new();
    for document in serde_yaml_ng::Deserializer::from_str(text(files, path)?) {
        let object = Value::deserialize(document).map_err(|error| unreadable(error.to_string()))?;
        match &object {
            Value::Null => {}
            Value::Object(_) => objects.push(object),
            other => return Err(unreadable(format!("no object: {other}"))),
        }
    }
    Ok(objects)
}

fn text<'f>(files: &Files<'f>, path: &str) -> Result<&'f str, Unreadable> {
    let found = files.iter().find(|(name, _)| *name == path);
    let missing = || Unreadable { path: path.to_owned(), reason: "is not there".to_owned() };
    found.map(|(_, text)| *text).ok_or_else(missing)
}

/// `path` from `dir`.
fn join(dir: &str, path: &str) -> String {
    let mut parts: Vec<&str> = dir.split('/').collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Puts an object into a namespace, where it belongs into one.
pub(super) fn place(object: &mut Value, namespace: &str) {
    let kind = object["kind"].as_str().unwrap_or_default();
    if !CLUSTER_WIDE.contains(&kind) {
        object["metadata"]["namespace"] = namespace.into();
    }
    let subjects = object.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        if subject["kind"] == "ServiceAccount" {
            subject["namespace"] = namespace.into();
        }
    }
}

fn label(object: &mut Value, labels: &Labels) {
    add(object, &["metadata", "labels"], labels);
    let selects = match object["kind"].as_str().unwrap_or_default() {
        "Service" if labels.include_selectors => &["spec", "selector"][..],
        "Deployment" | "DaemonSet" | "StatefulSet" if labels.include_selectors => {
            &["spec", "selector", "matchLabels"]
        }
        _ => &[],
    };
    if !selects.is_empty() {
        add(object, selects, labels);
    }
    let templates = labels.include_selectors || labels.include_templates;
    if templates && object["spec"]["template"].is_object() {
        add(object, &["spec", "template", "metadata", "labels"], labels);
    }
}

fn add(object: &mut Value, path: &[&str], labels: &Labels) {
    let mut at = object;
    for name in path {
        at = &mut at[*name];
    }
    for (name, value) in &labels.pairs {
        at[name.as_str()] = value.clone();
    }
}

/// Has every container of image `image.name` take the other one.
pub(super) fn take_image(object: &mut Value, image: &Image) {
    each_container(object, |container| {
        let taken = container["image"].as_str().and_then(|text| renamed(text, image));
        if let Some(taken) = taken {
            container["image"] = taken.into();
        }
    });
}

/// Shows every container of the pods that an object makes, if it makes any.
pub(super) fn each_container(object: &mut Value, mut show: impl FnMut(&mut Value)) {
    for list in ["/spec/template/spec/initContainers", "/spec/template/spec/containers"] {
        let containers = object.pointer_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(&mut show);
    }
}

fn renamed(text: &str, image: &Image) -> Option<String> {
    let rest = text.strip_prefix(&image.name)?;
    if !rest.is_empty() && !rest.starts_with([':', '@']) {
        return None;
    }
    let name = image.new_name.as_deref().unwrap_or(&image.name);
    Some(match &image.new_tag {
        Some(tag) => format!("{name}:{tag}"),
        None => format!("{name}{rest}"),
    })
}
