//! Specs as canonical JSON: what inspect, extract and edit show.

use serde_json::{Map, Value as Json, json};

use super::duration::format_duration;
use super::{
    CronInput, Input, OnConflict, PfsInput, PipelineSpec, ReprocessPolicy, Secret, SecretTarget,
    Transform, trigger,
};
use crate::model::{BranchName, ProjectName, RepoKind};

/// How keys are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStyle {
    /// `mount_path`, the present dialect.
    Snake,
    /// `mountPath`, the 1.7 dialect; inputs are then called `atom`.
    Camel,
}

/// An object that leaves out what is at its default.
struct Object {
    style: KeyStyle,
    fields: Map<String, Json>,
}

impl Object {
    fn new(style: KeyStyle) -> Self {
        Self { style, fields: Map::new() }
    }

    fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.fields.insert(key(name, self.style), value.into());
    }

    fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.set(name, value);
        }
    }

    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.set(name, true);
        }
    }

    fn texts(&mut self, name: &str, values: &[String]) {
        if !values.is_empty() {
            self.set(name, values.to_vec());
        }
    }

    fn inert(&mut self, fields: &Map<String, Json>) {
        for (name, value) in fields {
            self.set(name, styled(value, self.style));
        }
    }

    fn done(self) -> Json {
        Json::Object(self.fields)
    }
}

fn key(name: &str, style: KeyStyle) -> String {
    match style {
        KeyStyle::Snake => name.to_owned(),
        KeyStyle::Camel => camel_case(name),
    }
}

fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match (c, upper) {
            ('_', _) => upper = true,
            (c, true) => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            (c, false) => camel.push(c),
        }
    }
    camel
}

/// Values without effect were checked on the way in; their own keys follow the
/// style, keys that users chose (labels and the like) do not.
fn styled(value: &Json, style: KeyStyle) -> Json {
    match value {
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| (key(name, style), value.clone()))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

impl PipelineSpec {
    /// The spec as JSON, fields at their defaults left out. 64-bit numbers
    /// are strings, durations seconds with an `s`, as in protobuf's JSON.
    #[must_use]
    pub fn to_json(&self, style: KeyStyle) -> Json {
        let mut object = Object::new(style);
        let mut pipeline = Object::new(style);
        pipeline.text("name", self.name.as_str());
        if !self.project.is_default() {
            pipeline.set("project", json!({"name": self.project.as_str()}));
        }
        object.set("pipeline", pipeline.done());
        object.text("description", &self.description);
        object.set("transform", self.transform.to_json(style));
        if self.parallelism != 1 {
            object.set("parallelism_spec", json!({"constant": self.parallelism.to_string()}));
        }
        object.set("input", self.input.to_json(style, &self.project));
        if self.output_branch != BranchName::master() {
            object.text("output_branch", self.output_branch.as_str());
        }
        if let Some(url) = &self.egress {
            object.set("egress", json!({ key("URL", style): url }));
        }
        self.limits(&mut object);
        object.text("salt", &self.salt);
        object.flag("update", self.update);
        object.flag("reprocess", self.reprocess);
        object.inert(&self.inert);
        object.done()
    }

    fn limits(&self, object: &mut Object) {
        if let Some(timeout) = self.datum_timeout {
            object.set("datum_timeout", format_duration(timeout));
        }
        if let Some(timeout) = self.job_timeout {
            object.set("job_timeout", format_duration(timeout));
        }
        if self.datum_tries != super::DEFAULT_DATUM_TRIES {
            object.set("datum_tries", self.datum_tries.to_string());
        }
        if self.reprocess_policy != ReprocessPolicy::default() {
            object.set("reprocess_spec", self.reprocess_policy.as_str());
        }
        if self.on_conflict != OnConflict::default() {
            object.set("on_conflict", self.on_conflict.as_str());
        }
    }
}

impl Transform {
    /// The transform as JSON, fields at their defaults left out.
    #[must_use]
    pub fn to_json(&self, style: KeyStyle) -> Json {
        let mut object = Object::new(style);
        object.text("image", &self.image);
        object.texts("cmd", &self.cmd);
        object.texts("stdin", &self.stdin);
        object.texts("err_cmd", &self.err_cmd);
        object.texts("err_stdin", &self.err_stdin);
        if !self.env.is_empty() {
            let env: Map<String, Json> =
                self.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            object.set("env", env);
        }
        if !self.secrets.is_empty() {
            let secrets = self.secrets.iter().map(|secret| secret.to_json(style));
            object.set("secrets", secrets.collect::<Vec<_>>());
        }
        if !self.accept_return_code.is_empty() {
            let codes = self.accept_return_code.iter().map(ToString::to_string);
            object.set("accept_return_code", codes.collect::<Vec<_>>());
        }
        object.text("user", &self.user);
        object.text("working_dir", &self.working_dir);
        object.inert(&self.inert);
        object.done()
    }
}

impl Secret {
    fn to_json(&self, style: KeyStyle) -> Json {
        let mut object = Object::new(style);
        object.text("name", &self.name);
        match &self.target {
            SecretTarget::Files { mount_path } => object.text("mount_path", mount_path),
            SecretTarget::Variable { env_var, key } => {
                object.text("env_var", env_var);
                object.text("key", key);
            }
        }
        object.done()
    }
}

impl Input {
    /// The input as JSON, fields at their defaults left out: the project where
    /// it is that of the pipeline, `own`.
    #[must_use]
    pub fn to_json(&self, style: KeyStyle, own: &ProjectName) -> Json {
        let all = |members: &[Self]| -> Json {
            members.iter().map(|member| member.to_json(style, own)).collect()
        };
        match self {
            Self::Pfs(pfs) if style == KeyStyle::Camel => {
                json!({"atom": pfs.to_json(style, own)})
            }
            Self::Pfs(pfs) => json!({"pfs": pfs.to_json(style, own)}),
            Self::Cross(members) => json!({"cross": all(members)}),
            Self::Union(members) => json!({"union": all(members)}),
            Self::Join(members) => json!({"join": all(members)}),
            Self::Group(members) => json!({"group": all(members)}),
            Self::Cron(cron) => json!({"cron": cron.to_json(style, own)}),
        }
    }
}

impl PfsInput {
    fn to_json(&self, style: KeyStyle, own: &ProjectName) -> Json {
        let mut object = Object::new(style);
        object.text("name", &self.name);
        if self.repo.project != *own {
            object.text("project", self.repo.project.as_str());
        }
        object.text("repo", self.repo.name.as_str());
        if self.repo.kind != RepoKind::User {
            object.text("repo_type", self.repo.kind.as_str());
        }
        object.text("branch", self.branch.as_str());
        object.text("commit", &self.commit);
        // The empty pattern is legal and means the root.
        object.text("glob", if self.glob.is_root() { "/" } else { self.glob.as_str() });
        object.text("join_on", &self.join_on);
        object.flag("outer_join", self.outer_join);
        object.text("group_by", &self.group_by);
        object.flag("empty_files", self.empty_files);
        object.flag("reference", self.reference);
        if let Some(trigger) = &self.trigger {
            object.set("trigger", trigger::write(trigger, |name| key(name, style)));
        }
        object.inert(&self.inert);
        object.done()
    }
}

impl CronInput {
    fn to_json(&self, style: KeyStyle, own: &ProjectName) -> Json {
        let mut object = Object::new(style);
        object.text("name", &self.name);
        if self.repo.project != *own {
            object.text("project", self.repo.project.as_str());
        }
        object.text("repo", self.repo.name.as_str());
        object.text("spec", &self.spec);
        object.text("start", &self.start);
        object.flag("overwrite", self.overwrite);
        object.done()
    }
}
