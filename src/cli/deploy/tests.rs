use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn asked(namespace: &str, image: Option<&str>) -> Objects {
    let args = Args {
        provider: "local".to_owned(),
        namespace: namespace.to_owned(),
        image: image.map(str::to_owned),
        apply: false,
        dry_run: false,
    };
    args.objects().unwrap()
}

fn find<'o>(objects: &'o Objects, kind: &str, name: &str) -> &'o Value {
    let is = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects.iter().find(is).unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Every string in a value.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        Value::Bool(_) | Value::Number(_) => {}
        Value::Null => panic!("a null, which the API server refuses: looked for and made"),
    }
}

#[test]
fn the_manifests_are_printed_as_kustomize_builds_them() {
    let objects = asked("pfs", None);
    let server = find(&objects, "Deployment", "pfs-server");
    assert_eq!(server["metadata"]["namespace"], "pfs");
    let labels = json!({
        "app.kubernetes.io/name": "pfs-server", "app.kubernetes.io/part-of": "pfs",
    });
    assert_eq!(server["metadata"]["labels"], labels);
    let selector = json!({"app.kubernetes.io/name": "pfs-server"});
    assert_eq!(server["spec"]["selector"]["matchLabels"], selector);
    assert_eq!(server["spec"]["template"]["metadata"]["labels"], selector);
    assert_eq!(find(&objects, "Service", "pfs-server")["spec"]["selector"], selector);
    let image = server["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
    assert!(image.starts_with("pfs:"), "{image}");
    let access = find(&objects, "ConfigMap", "pfs-access")["data"]["access.yaml"].as_str().unwrap();
    crate::controller::identity::Access::parse(access).unwrap();
    let driver = find(&objects, "CSIDriver", "csi.pfs.internal");
    assert_eq!(driver["metadata"].get("namespace"), None);
    assert_eq!(driver["spec"]["tokenRequests"][0]["audience"], "pfs");
    for (kind, name) in [
        ("Namespace", "pfs"),
        ("DaemonSet", "pfs-agent"),
        ("DaemonSet", "pfs-keeper"),
        ("DaemonSet", "pfs-csi"),
        ("StorageClass", "pfs"),
    ] {
        find(&objects, kind, name);
    }
    // What is printed is read as the same again.
    let text = yaml(&objects).unwrap();
    let read = serde_yaml_ng::Deserializer::from_str(&text);
    let read = read.map(|one| serde::Deserialize::deserialize(one).unwrap());
    assert_eq!(read.collect::<Vec<Value>>(), objects);
}

#[test]
fn another_namespace_is_named_everywhere() {
    let (before, after) = (asked("pfs", None), asked("data", None));
    assert_eq!(before.len(), after.len());
    find(&after, "Namespace", "data");
    for object in &after {
        let namespace = &object["metadata"]["namespace"];
        assert!(namespace.is_null() || namespace == "data", "{object}");
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert_eq!(subject["namespace"], "data", "{object}");
        }
    }
    let mut found = BTreeSet::new();
    after.iter().for_each(|object| texts(object, &mut found));
    let old = |text: &&String| text.contains("pfs/pfs-") || text.contains(".pfs.svc");
    assert_eq!(found.iter().find(old), None);
    assert!(found.iter().any(|text| text.contains("--trusted=data/pfs-agent,data/pfs-csi")));
    assert!(found.iter().any(|text| text.contains("pfs-server.data.svc")));
}

#[test]
fn another_image_is_taken_for_ours_alone() {
    for (asked_for, taken) in [
        ("registry:5000/pfs", "registry:5000/pfs:"),
        ("registry.example.org/x/pfs:1.2", "registry.example.org/x/pfs:1.2"),
    ] {
        let mut ours = 0;
        for object in asked("pfs", Some(asked_for)) {
            let containers = object["spec"]["template"]["spec"]["containers"].clone();
            for container in containers.as_array().into_iter().flatten() {
                let image = container["image"].as_str().unwrap();
                assert!(!image.starts_with("pfs"), "{image}");
                ours += usize::from(image.starts_with(taken));
            }
        }
        assert!(ours >= 4, "{ours}");
    }
}

#[test]
fn every_manifest_is_built_in() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut dirs =
        vec!["deploy".to_owned(), "csi/deploy".to_owned(), "daemonset/deploy".to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(root.join(&dir)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{dir}/{}", entry.file_name().to_string_lossy());
            // Applied by hand, where the cluster has the kinds of snapshots.
            if path == "csi/deploy/snapshots" {
                continue;
            }
            match entry.path().is_dir() {
                true => dirs.push(path),
                false => assert!(FILES.iter().any(|(name, _)| *name == path), "{path}"),
            }
        }
    }
}

#[test]
fn what_is_not_understood_of_kustomize_is_an_error() {
    let kind = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n";
    let refused = |rest: &str| {
        let text = format!("{kind}{rest}");
        kustomize::build(&[("d/kustomization.yaml", &text)], "d").unwrap_err().to_string()
    };
    assert!(refused("patches: []\n").contains("unknown field `patches`"));
    assert!(refused("resources: [gone.yaml]\n").starts_with("d/gone.yaml: "));
    assert!(refused("resources: [../x]\n").starts_with("x/kustomization.yaml: "));
    assert!(refused("configMapGenerator: [{name: c}]\n").contains("hashes"));
}
