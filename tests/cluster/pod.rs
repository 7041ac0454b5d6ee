//! Manifests of pods that mount volumes.

use serde_json::{Value, json};

/// A pod that is to be.
#[derive(Clone)]
pub struct Pod(Value);

impl Pod {
    /// A pod that runs a script once, as a user who is not root, and is ended
    /// without being waited for.
    pub fn new(name: &str, script: &str) -> Self {
        let command = json!(["sh", "-euc", script]);
        Self(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": false,
                "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
                "volumes": [],
                "containers": [
                    {"name": "main", "image": "busybox:test", "command": command, "volumeMounts": []}
                ],
            },
        }))
    }

    /// With a volume of the pod's own at `/NAME`.
    pub fn inline(self, name: &str, attributes: &[(&str, &str)]) -> Self {
        let attributes: Value = attributes.iter().map(|(key, value)| (*key, *value)).collect();
        let written = attributes["mode"] == "rw";
        let source = json!({"driver": "csi.pfs.internal", "readOnly": !written, "volumeAttributes": attributes});
        self.volume(name, "csi", source)
    }

    /// With a claim at `/NAME`.
    pub fn claim(self, name: &str, claim: &str) -> Self {
        self.volume(name, "persistentVolumeClaim", json!({"claimName": claim}))
    }

    /// With a volume of any kind at `/NAME`.
    pub fn volume(mut self, name: &str, kind: &str, source: Value) -> Self {
        let spec = &mut self.0["spec"];
        push(&mut spec["volumes"], json!({"name": name, kind: source}));
        let mount = json!({"name": name, "mountPath": format!("/{name}")});
        for container in spec["containers"].as_array_mut().unwrap() {
            push(&mut container["volumeMounts"], mount.clone());
        }
        self
    }

    /// With something else in its `spec`.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0["spec"][name] = value;
        self
    }

    /// With something else about its container.
    pub fn container(mut self, name: &str, value: Value) -> Self {
        self.0["spec"]["containers"][0][name] = value;
        self
    }

    /// Running a program of Python instead.
    pub fn python(self, program: &str) -> Self {
        self.container("image", json!("pfs-examples:dev"))
            .container("command", json!(["/bin/python3", "-c", program]))
    }

    /// With another container, of that image, once the first has ended well.
    pub fn then(mut self, image: &str, command: &[&str]) -> Self {
        let spec = &mut self.0["spec"];
        let mut last = spec["containers"][0].clone();
        last["name"] = json!("last");
        last["image"] = json!(image);
        last["command"] = json!(command);
        spec["initContainers"] = std::mem::replace(&mut spec["containers"], json!([last]));
        self
    }

    /// What others make pods of.
    pub fn template(&self) -> Value {
        json!({"spec": self.0["spec"]})
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        self.0.to_string()
    }
}

fn push(list: &mut Value, entry: Value) {
    list.as_array_mut().unwrap().push(entry);
}
