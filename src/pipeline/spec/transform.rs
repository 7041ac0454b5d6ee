//! The program of a pipeline.

use serde_json::{Map, Value as Json};

use super::Notice;
use super::fields::{Fields, ReadError, fail, uint};
use super::inert;
use crate::pipeline::document::Node;

/// What runs for each datum.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transform {
    /// The container image; empty when none is named.
    pub image: String,
    /// Program and arguments, run without a shell.
    pub cmd: Vec<String>,
    /// Lines for its standard input.
    pub stdin: Vec<String>,
    /// Run when a datum failed its last try; exit 0 makes it *recovered*.
    pub err_cmd: Vec<String>,
    /// Lines for the standard input of `err_cmd`.
    pub err_stdin: Vec<String>,
    /// Environment variables, in the order given.
    pub env: Vec<(String, String)>,
    /// Secrets the program gets to see.
    pub secrets: Vec<Secret>,
    /// Exit codes besides 0 that mean success.
    pub accept_return_code: Vec<i32>,
    /// The user to run as, `name`, `uid` or either with `:group`; empty for
    /// the image's or the server's.
    pub user: String,
    /// The directory to start in; empty for the image's or `/`.
    pub working_dir: String,
    /// Known fields that have no effect here.
    pub inert: Map<String, Json>,
}

/// A secret handed to the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The secret's name.
    pub name: String,
    /// How the program sees it.
    pub target: SecretTarget,
}

/// How a program sees a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretTarget {
    /// A file per key in this directory.
    Files {
        /// An absolute path.
        mount_path: String,
    },
    /// One key as an environment variable.
    Variable {
        /// The variable.
        env_var: String,
        /// The key.
        key: String,
    },
}

pub(super) fn read(node: &Node, notices: &mut Vec<Notice>) -> Result<Transform, ReadError> {
    let mut fields = Fields::of(node, "transform")?;
    let transform = Transform {
        image: fields.text("image")?.unwrap_or_default(),
        cmd: fields.texts("cmd")?,
        stdin: fields.texts("stdin")?,
        err_cmd: fields.texts("err_cmd")?,
        err_stdin: fields.texts("err_stdin")?,
        env: fields.text_map("env")?,
        secrets: fields.list("secrets")?.iter().map(secret).collect::<Result<_, _>>()?,
        accept_return_code: fields
            .list("accept_return_code")?
            .iter()
            .map(exit_code)
            .collect::<Result<_, _>>()?,
        user: fields.text("user")?.unwrap_or_default(),
        working_dir: fields.text("working_dir")?.unwrap_or_default(),
        inert: inert::take(&mut fields, inert::OF_TRANSFORM, notices)?,
    };
    fields.finish()?;
    Ok(transform)
}

fn exit_code(node: &Node) -> Result<i32, ReadError> {
    match i32::try_from(uint(node, "accept_return_code")?) {
        Ok(code @ 0..=255) => Ok(code),
        Ok(_) | Err(_) => fail(node.at, "accept_return_code takes exit codes from 0 to 255"),
    }
}

fn secret(node: &Node) -> Result<Secret, ReadError> {
    let mut fields = Fields::of(node, "secret")?;
    let name = fields.text("name")?.unwrap_or_default();
    let mount_path = fields.text("mount_path")?.unwrap_or_default();
    let env_var = fields.text("env_var")?.unwrap_or_default();
    let key = fields.text("key")?.unwrap_or_default();
    fields.finish()?;
    let target = match (mount_path.is_empty(), env_var.is_empty()) {
        (false, true) => SecretTarget::Files { mount_path },
        (true, false) => SecretTarget::Variable { env_var, key },
        (true, true) | (false, false) => {
            return fail(node.at, "a secret needs either mount_path or env_var with key");
        }
    };
    Ok(Secret { name, target })
}
