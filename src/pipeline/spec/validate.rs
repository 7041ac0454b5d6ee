//! Rules a spec must keep, whichever way it came in.

use crate::pipeline::cron::Schedule;
use crate::pipeline::trigger;

use super::{Input, Leaf, PfsInput, PipelineSpec, Secret, SecretTarget};

/// A rule broken by a spec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSpec {
    /// The offending field, e.g. `input.cross[1].pfs.name`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

fn fail(field: &str, message: impl Into<String>) -> Result<(), InvalidSpec> {
    Err(InvalidSpec { field: field.to_owned(), message: message.into(), hint: None })
}

impl PipelineSpec {
    /// Checks everything that can be known without asking a server.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        if self.transform.cmd.is_empty() && self.transform.image.is_empty() {
            return fail("transform", "transform has neither a cmd nor an image to run");
        }
        if self.transform.cmd.first().is_some_and(String::is_empty) {
            return fail("transform.cmd", "the first word of cmd is empty");
        }
        if self.parallelism == 0 {
            return fail("parallelism_spec", "parallelism_spec.constant must be 1 or more");
        }
        if self.datum_tries == 0 {
            return fail("datum_tries", "datum_tries must be 1 or more");
        }
        self.validate_transform()?;
        self.validate_egress()?;
        self.input.validate("input", Within::Nothing)?;
        self.validate_triggers()?;
        if let Some(leaf) = self.input.leaves().into_iter().find(|leaf| self.is_own_output(*leaf)) {
            let message = format!("pipeline {} reads its own output repo", self.name);
            return fail(&format!("input.{}", leaf.name()), message);
        }
        Ok(())
    }

    /// A branch has one trigger.
    fn validate_triggers(&self) -> Result<(), InvalidSpec> {
        let mut seen: Vec<&PfsInput> = Vec::new();
        for leaf in self.input.leaves() {
            let Leaf::Pfs(pfs) = leaf else { continue };
            let place = |other: &&&PfsInput| other.repo == pfs.repo && other.branch == pfs.branch;
            if seen.iter().find(place).is_some_and(|other| other.trigger != pfs.trigger) {
                let message = format!(
                    "branch {} of {} is read with two different triggers",
                    pfs.branch, pfs.repo
                );
                return fail(&format!("input.{}", pfs.name), message);
            }
            seen.push(pfs);
        }
        Ok(())
    }

    fn is_own_output(&self, leaf: Leaf<'_>) -> bool {
        leaf.repo().project == self.project && leaf.repo().name == self.name.repo_name()
    }

    fn validate_transform(&self) -> Result<(), InvalidSpec> {
        let transform = &self.transform;
        for (name, value) in &transform.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let message = format!("{name:?} cannot be an environment variable");
                return fail("transform.env", message);
            }
        }
        for (index, secret) in transform.secrets.iter().enumerate() {
            validate_secret(secret, &format!("transform.secrets[{index}]"))?;
        }
        let words = transform.cmd.iter().chain(&transform.err_cmd);
        match words.chain([&transform.working_dir, &transform.user]).any(|w| w.contains('\0')) {
            true => fail("transform", "transform holds a NUL character"),
            false => Ok(()),
        }
    }

    fn validate_egress(&self) -> Result<(), InvalidSpec> {
        const SCHEMES: [&str; 8] = ["s3", "gs", "gcs", "az", "as", "wasb", "abfs", "file"];
        let Some(url) = &self.egress else { return Ok(()) };
        match url.split_once("://") {
            Some((scheme, rest)) if SCHEMES.contains(&scheme) && !rest.is_empty() => Ok(()),
            Some(_) | None => Err(InvalidSpec {
                field: "egress.url".to_owned(),
                message: format!("egress URL {url:?} is not one of an object store"),
                hint: Some(format!("known schemes: {}", SCHEMES.join(", "))),
            }),
        }
    }
}

fn validate_secret(secret: &Secret, field: &str) -> Result<(), InvalidSpec> {
    if secret.name.is_empty() {
        return fail(field, "a secret lacks its name");
    }
    match &secret.target {
        SecretTarget::Files { mount_path } if !mount_path.starts_with('/') => fail(
            field,
            format!("mount_path {mount_path:?} of secret {} is not absolute", secret.name),
        ),
        SecretTarget::Variable { key, .. } if key.is_empty() => {
            fail(field, format!("secret {} lacks the key for its env_var", secret.name))
        }
        SecretTarget::Variable { env_var, .. } if env_var.contains(['=', '\0']) => {
            fail(field, format!("{env_var:?} cannot be an environment variable"))
        }
        SecretTarget::Files { .. } | SecretTarget::Variable { .. } => Ok(()),
    }
}

/// What kind of input a node stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    Join,
    Group,
}

impl Input {
    fn validate(&self, field: &str, within: Within) -> Result<(), InvalidSpec> {
        match self {
            Self::Pfs(pfs) => pfs.validate(&format!("{field}.pfs"), within),
            Self::Cron(cron) => {
                alone(field, "cron", within)?;
                if let Err(error) = cron.spec.parse::<Schedule>() {
                    return fail(&format!("{field}.cron.spec"), error.to_string());
                }
                if !cron.start.is_empty() && cron.start.parse::<jiff::Timestamp>().is_err() {
                    let message = format!("start {:?} is no time", cron.start);
                    let hint = Some("write it as 2026-11-20T10:00:00Z".to_owned());
                    return Err(InvalidSpec {
                        field: format!("{field}.cron.start"),
                        message,
                        hint,
                    });
                }
                check_name(&cron.name, &format!("{field}.cron.name"))
            }
            Self::Cross(members) => {
                alone(field, "cross", within)?;
                each(members, &format!("{field}.cross"), Within::Nothing)?;
                distinct(members, &format!("{field}.cross"))
            }
            Self::Union(members) => {
                alone(field, "union", within)?;
                each(members, &format!("{field}.union"), Within::Nothing)
            }
            Self::Join(members) => {
                let members_field = format!("{field}.join");
                match within {
                    Within::Join => return fail(field, "a join may not stand in a join"),
                    Within::Group => each(members, &members_field, Within::Group)?,
                    Within::Nothing => {}
                }
                each(members, &members_field, Within::Join)?;
                distinct(members, &members_field)
            }
            Self::Group(members) => {
                alone(field, "group", within)?;
                each(members, &format!("{field}.group"), Within::Group)
            }
        }
    }

    /// The names a datum of this input has directories for, each once.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.leaves().into_iter().map(Leaf::name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn each(members: &[Input], field: &str, within: Within) -> Result<(), InvalidSpec> {
    if members.is_empty() {
        return fail(field, format!("{field} has no members"));
    }
    let checked =
        |(index, member): (usize, &Input)| member.validate(&format!("{field}[{index}]"), within);
    members.iter().enumerate().try_for_each(checked)
}

fn alone(field: &str, kind: &str, within: Within) -> Result<(), InvalidSpec> {
    match within {
        Within::Nothing => Ok(()),
        Within::Join => fail(field, format!("a {kind} input may not stand in a join")),
        Within::Group => fail(field, format!("a {kind} input may not stand in a group")),
    }
}

/// Members that are combined must not claim each other's directories.
fn distinct(members: &[Input], field: &str) -> Result<(), InvalidSpec> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let names = member.names();
        if let Some(name) = names.iter().find(|name| seen.contains(name)) {
            return Err(InvalidSpec {
                field: format!("{field}[{index}].pfs"),
                message: format!("input name {name:?} is used more than once"),
                hint: Some("give one of them another \"name\"".to_owned()),
            });
        }
        seen.extend(names);
    }
    Ok(())
}

fn check_name(name: &str, field: &str) -> Result<(), InvalidSpec> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match name {
        "out" => Err(InvalidSpec {
            field: field.to_owned(),
            message: "an input may not be named \"out\": results go to /pfs/out".to_owned(),
            hint: Some("set \"name\" of the input to something else".to_owned()),
        }),
        "" => fail(field, "an input has an empty name"),
        _ if !name.chars().all(allowed) => {
            fail(field, format!("input name {name:?} may hold only letters, digits, '_' and '-'"))
        }
        _ => Ok(()),
    }
}

impl PfsInput {
    fn validate(&self, field: &str, within: Within) -> Result<(), InvalidSpec> {
        check_name(&self.name, &format!("{field}.name"))?;
        match within {
            Within::Join if self.join_on.is_empty() => {
                return fail(field, format!("input {} in a join lacks join_on", self.name));
            }
            Within::Group if self.group_by.is_empty() => {
                return fail(field, format!("input {} in a group lacks group_by", self.name));
            }
            Within::Nothing | Within::Join | Within::Group => {}
        }
        if let Some(Err(broken)) = self.trigger.as_ref().map(trigger::check) {
            return Err(InvalidSpec {
                field: format!("{field}.trigger"),
                message: broken.rule,
                hint: Some(broken.remedy.to_owned()),
            });
        }
        if !self.commit.is_empty() && self.commit.parse::<crate::model::CommitId>().is_err() {
            return fail(&format!("{field}.commit"), format!("{:?} is no commit id", self.commit));
        }
        Ok(())
    }
}
