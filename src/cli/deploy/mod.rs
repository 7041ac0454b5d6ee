//! `deploy`: the manifests of the repository, printed or applied.

mod kustomize;
mod manifests;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cli::prelude::*;
use kustomize::{Image, Objects};
use manifests::{FILES, IMAGE, NAMESPACE};

/// Print what runs pfs in Kubernetes, or apply it
///
/// The server, the CSI driver and the node agent, as 'kubectl apply -k deploy'
/// has them in a checkout. Without --apply nothing but printing happens, and no
/// cluster is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs deploy
  pfs deploy local --namespace data --apply
  pfs deploy --image registry.example.org/pfs:1.2 | kubectl apply -f -")]
pub struct Args {
    /// Where to: local, which is the cluster that kubectl talks to
    #[arg(value_name = "PROVIDER", default_value = "local")]
    provider: String,
    /// The namespace of all that is in one
    #[arg(short, long, value_name = "NAMESPACE", default_value = NAMESPACE)]
    namespace: String,
    /// The image with this program
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Hand it to 'kubectl apply'
    #[arg(long, conflicts_with = "dry_run")]
    apply: bool,
    /// Print only, which is what happens anyway
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Prints or applies.
    pub fn run(self, cx: &Context) -> Outcome {
        if self.provider != "local" {
            return Err(Failure::new(format!("cannot deploy to {:?}", self.provider)).hint(
                "'pfs deploy' prints manifests for any cluster; s3://, gs:// and az:// are \
                 object stores that the server can use, see PFS_STORE",
            ));
        }
        let text = yaml(&self.objects()?)?;
        match self.apply {
            true => apply(&text),
            false => {
                let mut sink = cx.sink();
                sink.text(&text)?;
                Ok(sink.flush()?)
            }
        }
    }

    fn objects(&self) -> Outcome<Objects> {
        let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let namespace = self.namespace.as_str();
        let bad = namespace.is_empty() || namespace.len() > 63 || namespace.starts_with('-');
        if bad || namespace.ends_with('-') || !namespace.chars().all(is_label) {
            return Err(Failure::usage(format!("{namespace:?} is no name of a namespace")));
        }
        let built = kustomize::build(FILES, "deploy");
        let mut objects = built.map_err(|error| Failure::new(error.to_string()))?;
        for object in &mut objects {
            if namespace != NAMESPACE {
                kustomize::place(object, namespace);
                move_namespace(object, namespace);
            }
            if let Some(image) = &self.image {
                kustomize::take_image(object, &named(image));
            }
        }
        Ok(objects)
    }
}

/// The image that was asked for in the place of ours.
fn named(image: &str) -> Image {
    // A colon before the last slash is one of a port.
    let tag = image.rfind(':').filter(|at| image.rfind('/').is_none_or(|slash| slash < *at));
    let (name, tag) = match tag {
        Some(at) => (&image[..at], Some(image[at + 1..].to_owned())),
        None => (image, None),
    };
    Image { name: IMAGE.to_owned(), new_name: Some(name.to_owned()), new_tag: tag }
}

/// What kustomize does not know to name the namespace: the namespace itself,
/// and flags and variables that name accounts and services.
fn move_namespace(object: &mut Value, namespace: &str) {
    if object["kind"] == "Namespace" && object["metadata"]["name"] == NAMESPACE {
        object["metadata"]["name"] = namespace.into();
    }
    kustomize::each_container(object, |container| {
        for list in ["command", "args"] {
            let words = container.get_mut(list).and_then(Value::as_array_mut);
            words.into_iter().flatten().for_each(|word| rename(word, namespace));
        }
        let variables = container.get_mut("env").and_then(Value::as_array_mut);
        for variable in variables.into_iter().flatten() {
            if let Some(value) = variable.get_mut("value") {
                rename(value, namespace);
            }
        }
    });
}

/// `--trusted=pfs/pfs-agent` and `pfs-server.pfs.svc`, in the other namespace.
fn rename(word: &mut Value, namespace: &str) {
    let Some(text) = word.as_str() else { return };
    let service = format!("pfs-server.{NAMESPACE}.svc");
    let mut text = text.replace(&service, &format!("pfs-server.{namespace}.svc"));
    // Elsewhere it would be a path.
    if text.starts_with("--trusted=") {
        text = text.replace(&format!("{NAMESPACE}/"), &format!("{namespace}/"));
    }
    *word = text.into();
}

fn yaml(objects: &Objects) -> Outcome<String> {
    let mut text = String::new();
    for object in objects {
        let document = serde_yaml_ng::to_string(object);
        let document = document.map_err(|error| Failure::new(error.to_string()))?;
        text.push_str("---\n");
        text.push_str(&document);
    }
    Ok(text)
}

/// Hands manifests to kubectl, which says what it did.
fn apply(text: &str) -> Outcome {
    let kubectl = Command::new("kubectl").args(["apply", "-f", "-"]).stdin(Stdio::piped()).spawn();
    let mut kubectl = kubectl.map_err(|error| {
        Failure::new(format!("cannot run kubectl: {error}"))
            .hint("without --apply the manifests are printed, for whoever can apply them")
    })?;
    let written = match kubectl.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.as_bytes()),
        None => Ok(()),
    };
    let status = kubectl.wait()?;
    match status.success() {
        true => Ok(written?),
        false => Err(Failure::new(format!("kubectl failed: {status}"))),
    }
}

#[cfg(test)]
mod tests;
