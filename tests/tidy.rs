//! Rules about the tree itself: which module may know which, where a library
//! may be used, how long a file may be, what a text may not say.
//!
//! A rule that fails prints every place that breaks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use regex::Regex;

/// The layers from the bottom up. A module uses its own layer and those below.
const LAYERS: &[&[&str]] = &[
    &["model"],
    &["store"],
    &["chunk", "tree", "catalog"],
    &["pipeline", "repo", "vfs"],
    &["cli", "api", "mount", "controller", "gateway", "web"],
];

/// Libraries that belong to one room: pattern, the files that may match it,
/// and what everybody else does instead.
const ROOMS: &[(&str, &[&str], &str)] = &[
    (r"\bfuser::", &["src/mount/"], "vfs has the semantics, without a kernel"),
    (r"\brusqlite::", &["src/catalog/"], "go through the Catalog trait"),
    (r"\bclap(_complete)?::", &["src/cli/", "src/main.rs"], "only the command line parses flags"),
    (r"\btonic(_prost)?::", &["src/api/", "csi/src/"], "the command line uses api::client"),
    (r"\bpfs_csi::", &["src/cli/csi/"], "a driver knows the rest by its traits alone"),
    (
        r"\bpfs_daemonset::",
        &["src/cli/", "src/mount/"],
        "an agent knows the rest by its traits alone",
    ),
    (
        r"\b(kube|k8s_openapi)::",
        &["src/controller/identity/kubernetes.rs", "daemonset/src/pods/"],
        "take a controller::identity::Reviewer",
    ),
    (r"\bhyper(_util)?::|\bhttp_body_util::", &["src/web/", "src/api/"], "implement web::Site"),
    (r"\bobject_store::", &["src/store/"], "go through store::Store"),
    (
        r"\b(AmazonS3|GoogleCloudStorage|MicrosoftAzure)Builder\b",
        &["src/store/"],
        "store::open takes a URL",
    ),
    (r"\be?print(ln)?!", &["src/cli/", "src/main.rs"], "return it, or use tracing"),
    (
        r"\b(SystemTime|Timestamp|Zoned)::now\b|\bgetrandom::",
        &["src/model/clock.rs"],
        "take a model::Clock",
    ),
];

/// The longest file of product code, in lines.
const LONGEST: usize = 500;

/// Files allowed to be longer, each up to its own bound.
const LONGER: &[(&str, usize)] = &[];

/// File and directory names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];

#[test]
fn modules_use_only_layers_below() {
    let mut broken = Vec::new();
    for source in layered() {
        let Some(from) = layer(source.module()) else {
            broken.push(format!("{}: module of no layer", source.path));
            continue;
        };
        for to in source.uses() {
            if layer(&to).is_some_and(|to| to > from) {
                broken.push(format!("{}: uses crate::{to}, a layer above", source.path));
            }
        }
    }
    report("a module knows only its layer and those below", &broken);
}

#[test]
fn modules_have_no_cycles() {
    let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in layered().iter().filter(|source| !source.is_test()) {
        let from = source.module().to_owned();
        arrows.entry(from.clone()).or_default().extend(source.uses().filter(|to| *to != from));
    }
    // Take away modules that use nothing that is left; what stays is a cycle.
    while let Some(leaf) = arrows.iter().find(|(_, to)| to.is_empty()).map(|(m, _)| m.clone()) {
        arrows.remove(&leaf);
        for to in arrows.values_mut() {
            to.remove(&leaf);
        }
        arrows.values_mut().for_each(|to| to.retain(|m| layer(m).is_some()));
    }
    let cycle: Vec<_> = arrows.iter().map(|(from, to)| format!("{from} -> {to:?}")).collect();
    report("the arrows between modules form no cycle", &cycle);
}

#[test]
fn libraries_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for (pattern, rooms, instead) in ROOMS {
        let pattern = Regex::new(pattern).expect("a pattern of ROOMS");
        let outside = |source: &&Source| {
            !source.is_test() && !rooms.iter().any(|room| source.path.starts_with(room))
        };
        for source in product().iter().filter(outside) {
            for (at, line) in source.code.lines().enumerate().filter(|(_, l)| pattern.is_match(l)) {
                broken.push(format!("{}:{}: {} ({instead})", source.path, at + 1, line.trim()));
            }
        }
    }
    report("a library is used in its room alone", &broken);
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for source in product().iter().filter(|source| !source.is_test() && !source.is_generated()) {
        let bound = LONGER.iter().find(|(path, _)| *path == source.path).map_or(LONGEST, |l| l.1);
        let lines = source.code.lines().count();
        if lines > bound {
            broken.push(format!("{}: {lines} lines, at most {bound}", source.path));
        }
    }
    for (path, _) in LONGER {
        if !root().join(path).exists() {
            broken.push(format!("{path}: allowed to be long, but is not there"));
        }
    }
    report("a file of product code fits in one head", &broken);
}

#[test]
fn names_say_what_is_inside() {
    let empty = |path: &&String| {
        let stems = Path::new(path).components().map(|c| c.as_os_str().to_string_lossy());
        stems.into_iter().any(|name| {
            let stem = name.split('.').next().unwrap_or_default();
            EMPTY_NAMES.contains(&stem)
        })
    };
    let files: Vec<_> = files().into_iter().map(|file| file.0).collect();
    let broken: Vec<_> = files.iter().filter(empty).cloned().collect();
    report("a file is named after what it holds", &broken);
}

#[test]
fn nothing_is_stubbed_or_silenced() {
    let stub = Regex::new(
        r"\b(todo|unimplemented)!|#\[ignore|#!?\[allow\((dead_code|unused\b|clippy::all)",
    )
    .expect("a pattern");
    let mut broken = Vec::new();
    for source in sources(&[CRATES, &["tests", "csi/tests", "fuzz"]].concat())
        .iter()
        .filter(|s| !s.is_generated())
    {
        for (at, line) in source.code.lines().enumerate().filter(|(_, l)| stub.is_match(l)) {
            broken.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
        }
    }
    report("no stub, no ignored test, no silenced lint", &broken);
}

#[test]
fn fuzz_targets_are_built() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"])
        .arg(root().join("fuzz/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let known = String::from_utf8_lossy(&output.stdout);
    let unnamed = |path: &String| {
        let target = path.starts_with("fuzz/") && path.ends_with(".rs");
        target && !known.contains(&format!("/{path}\""))
    };
    let broken: Vec<_> = files().into_iter().map(|file| file.0).filter(unnamed).collect();
    report("every fuzz target has its place in fuzz/Cargo.toml", &broken);
}

#[test]
fn decisions_are_linked() {
    let index = fs::read_to_string(root().join("docs/adr/README.md")).expect("docs/adr/README.md");
    let mut broken = Vec::new();
    for (path, _) in files() {
        let Some(name) = path.strip_prefix("docs/adr/") else { continue };
        let numbered = name.starts_with(|c: char| c.is_ascii_digit());
        if numbered && !index.contains(&format!("({name})")) {
            broken.push(format!("{path}: no link in docs/adr/README.md"));
        }
    }
    report("every decision record is in the index", &broken);
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)(#[^)]*)?\)").expect("a pattern");
    let mut broken = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path.ends_with(".md")) {
        let dir = root().join(&path).parent().expect("a file has a directory").to_owned();
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if !target.contains("://") && !dir.join(target).exists() {
                broken.push(format!("{path}: {target} is not there"));
            }
        }
    }
    report("a link between documents leads somewhere", &broken);
}

/// SEMANTICS.md promises behaviour; each promise names the test that holds it.
#[test]
fn semantics_are_tested() {
    let text = fs::read_to_string(root().join("docs/SEMANTICS.md")).expect("docs/SEMANTICS.md");
    let code: String =
        sources(&[CRATES, &["tests"]].concat()).into_iter().map(|source| source.code).collect();
    let named = Regex::new(r"`([a-z0-9_]+)`\s*$").expect("a pattern");
    let mut broken = Vec::new();
    for promise in text.split("\n- ").skip(1) {
        let promise = promise.split("\n\n").next().unwrap_or(promise).trim();
        match named.captures(promise) {
            Some(test) if code.contains(&format!("fn {}(", &test[1])) => {}
            Some(test) => broken.push(format!("no test {}: {promise}", &test[1])),
            None => broken.push(format!("names no test: {promise}")),
        }
    }
    report("every promise of docs/SEMANTICS.md has its test", &broken);
}

#[test]
fn texts_name_no_machine_and_no_registry() {
    let foreign = Regex::new(
        r"/root/|/home/[a-z]|/Users/|(^|[^\w/.-])/work/|(index\.|static\.)?crates\.io|pypi\.org|files\.pythonhosted",
    )
    .expect("a pattern");
    let mut broken = Vec::new();
    for (path, text) in files() {
        if path == "Cargo.lock" || path == "fuzz/Cargo.lock" || path == "tests/tidy.rs" {
            continue;
        }
        for (at, line) in text.lines().enumerate().filter(|(_, line)| foreign.is_match(line)) {
            broken.push(format!("{path}:{}: {}", at + 1, line.trim()));
        }
    }
    report("no text names a machine's path or a package registry", &broken);
}

/// One Rust file; `code` has comments and literals blanked, lines kept.
struct Source {
    path: String,
    code: String,
}

impl Source {
    /// The module of the crate the file belongs to; `main` for the binary.
    fn module(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = below.split('/').next().unwrap_or(below);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The modules of the crate that the file names.
    fn uses(&self) -> impl Iterator<Item = String> {
        let mut found: BTreeSet<_> =
            SINGLE_USE.captures_iter(&self.code).map(|c| c[1].to_owned()).collect();
        for start in GROUP_USE.find_iter(&self.code) {
            found.extend(group_heads(&self.code[start.end()..]));
        }
        found.into_iter()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.contains("/tests/")
    }

    fn is_generated(&self) -> bool {
        self.path.starts_with("src/api/proto/") || self.path.starts_with("csi/src/proto/")
    }
}

/// The first names of `a::b, c::{d, e}, f}`: `a`, `c` and `f`.
fn group_heads(text: &str) -> Vec<String> {
    let (mut depth, mut heads, mut head) = (0, Vec::new(), String::new());
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut head)),
            _ if depth == 0 => head.push(c),
            _ => {}
        }
    }
    heads.push(head);
    let first = |head: String| head.trim().split([':', ' ']).next().unwrap_or("").to_owned();
    heads.into_iter().map(first).filter(|head| !head.is_empty()).collect()
}

/// The layer of a module; the crate root and the binary stand above all.
fn layer(module: &str) -> Option<usize> {
    match module {
        "lib" | "main" => Some(LAYERS.len()),
        _ => LAYERS.iter().position(|layer| layer.contains(&module)),
    }
}

/// The tree under test: the one Cargo runs the tests in.
fn root() -> PathBuf {
    let running = std::env::var_os("CARGO_MANIFEST_DIR");
    running.map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// The crates of the workspace, without their tests and generators.
const CRATES: &[&str] = &["src", "csi/src", "daemonset/src"];

fn product() -> Vec<Source> {
    sources(CRATES)
}

/// What is made of layers: the crate that the others are parts of.
fn layered() -> Vec<Source> {
    sources(&["src"])
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    let wanted = |path: &str| {
        path.ends_with(".rs") && dirs.iter().any(|dir| path.starts_with(&format!("{dir}/")))
    };
    let files = files().into_iter().filter(|(path, _)| wanted(path));
    files.map(|(path, text)| Source { code: blank(&text), path }).collect()
}

/// Every text of the tree by its path from the root, build output left out.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut dirs = vec![root()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the tree") {
            let path = entry.expect("an entry of the tree").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let skipped = matches!(&*name, ".git" | "target" | "corpus" | "artifacts");
            if skipped || name == "__pycache__" || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(root()).expect("a path below the root");
                found.push((relative.to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}

/// Comments, strings and characters of Rust source.
static LITERAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?s)//[^\n]*|/\*.*?\*/",
        r####"|b?r###".*?"###|b?r##".*?"##|b?r#".*?"#|b?r"[^"]*"|b?"(\\.|[^"\\])*""####,
        r"|b?'(\\'|\\[^\n']+|[^\\'\n])'",
    ))
    .expect("a pattern")
});
static SINGLE_USE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bcrate::(\w+)").expect("a pattern"));
static GROUP_USE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bcrate::\{").expect("a pattern"));

/// `source` with the insides of comments and string literals blanked.
fn blank(source: &str) -> String {
    let keep_lines = |found: &regex::Captures<'_>| {
        found[0].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>()
    };
    LITERAL.replace_all(source, keep_lines).into_owned()
}

#[track_caller]
fn report(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}, but:\n  {}\n", broken.join("\n  "));
}
