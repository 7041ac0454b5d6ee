//! What servers and clients are told of a cluster that answers here.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use super::api_server::ApiServer;

/// The settings of a server, and of clients, in a cluster.
pub struct Settings {
    dir: TempDir,
}

impl Settings {
    /// Clients show `token`; namespaces have the `rights`.
    pub fn new(cluster: &ApiServer, token: &str, rights: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pfs-identity.").tempdir().unwrap();
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": cluster.url()}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        let settings = Self { dir };
        settings.file("kubeconfig", &kubeconfig.to_string());
        settings.file("access", rights);
        settings.file("token", token);
        settings
    }

    /// A file beside the others.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// As variables of the environment; everything is logged.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        vec![
            ("PFS_AUTH", "kubernetes".to_owned()),
            ("PFS_TRUSTED", "pfs/agent,pfs/operator".to_owned()),
            ("PFS_ACCESS", path("access")),
            ("KUBECONFIG", path("kubeconfig")),
            ("PFS_TOKEN_FILE", path("token")),
            ("PFS_LOG", "trace".to_owned()),
        ]
    }
}

/// The decisions in a log.
pub struct Audit(Vec<Value>);

impl Audit {
    /// Those in the lines of `log`, which are JSON.
    pub fn of(log: &str) -> Self {
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let events = events.filter(|event| event["target"] == "audit");
        Self(events.map(|event| event["fields"].clone()).collect())
    }

    /// There is one with these fields.
    #[track_caller]
    pub fn has(&self, wanted: &[(&str, &str)]) {
        let is_it = |event: &&Value| wanted.iter().all(|(name, value)| event[*name] == *value);
        assert!(self.0.iter().any(|e| is_it(&e)), "no event {wanted:?} in {:#?}", self.0);
    }
}
