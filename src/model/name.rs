//! Names of things users create.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name outside the rules; says which rule and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {text:?} is invalid: {rule}")]
pub struct InvalidName {
    /// What was to be named, e.g. `repo`.
    pub kind: &'static str,
    /// The rejected text.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

const ALPHABET: &str = "only letters, digits, '_' and '-' are allowed";
const ENDS: &str = "it must start and end with a letter or a digit";

fn alphabet(text: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match text.bytes().all(allowed) {
        true => Ok(()),
        false => Err(ALPHABET),
    }
}

fn bounded(text: &str, max: usize, rule: &'static str) -> Result<(), &'static str> {
    match text.len() {
        0 => Err("it is empty"),
        n if n > max => Err(rule),
        _ => Ok(()),
    }
}

fn check_repo(text: &str) -> Result<(), &'static str> {
    bounded(text, 128, "it is longer than 128 bytes")?;
    alphabet(text)
}

fn check_project(text: &str) -> Result<(), &'static str> {
    bounded(text, 51, "it is longer than 51 bytes")?;
    alphabet(text)?;
    ends_alphanumeric(text)
}

fn check_pipeline(text: &str) -> Result<(), &'static str> {
    bounded(text, 63, "it is longer than 63 bytes")?;
    alphabet(text)?;
    ends_alphanumeric(text)
}

fn check_branch(text: &str) -> Result<(), &'static str> {
    bounded(text, 128, "it is longer than 128 bytes")?;
    alphabet(text)?;
    match text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        true => Err("it looks like a commit id"),
        false => Ok(()),
    }
}

fn ends_alphanumeric(text: &str) -> Result<(), &'static str> {
    let ok = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    match ok(text.bytes().next()) && ok(text.bytes().last()) {
        true => Ok(()),
        false => Err(ENDS),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(rule) => Err(InvalidName { kind: $kind, text: text.to_owned(), rule }),
                }
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A project: a name space of repos and pipelines.
    ProjectName, "project", check_project
);
name!(
    /// A repo within its project.
    RepoName, "repo", check_repo
);
name!(
    /// A branch within its repo; never of the form of a commit id.
    BranchName, "branch", check_branch
);
name!(
    /// A pipeline within its project; always legal as a repo name too.
    PipelineName, "pipeline", check_pipeline
);

impl ProjectName {
    /// The project used where none is named.
    #[must_use]
    pub fn default_project() -> Self {
        Self("default".into())
    }

    /// Whether this is the project used where none is named.
    #[must_use]
    pub fn is_default(&self) -> bool {
        &*self.0 == "default"
    }
}

impl BranchName {
    /// The branch used where none is named.
    #[must_use]
    pub fn master() -> Self {
        Self("master".into())
    }
}

impl PipelineName {
    /// The name of the repo that holds the pipeline's output.
    #[must_use]
    pub fn repo_name(&self) -> RepoName {
        RepoName(Arc::clone(&self.0))
    }
}
