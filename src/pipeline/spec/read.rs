//! Reading specs from text.

use serde_json::{Map, Value as Json};

use super::super::document::{self, Node, Position, Value};
use super::fields::{Fields, ReadError, fail, float, snake_case, text, uint};
use super::{
    DEFAULT_DATUM_TRIES, Notice, OnConflict, PipelineSpec, ReprocessPolicy, SpecError, defaults,
    inert, input, transform,
};
use crate::model::{BranchName, PipelineName, ProjectName};

/// A spec and what its author should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The spec.
    pub spec: PipelineSpec,
    /// Where it starts.
    pub at: Position,
    /// Fields that have no effect, and the like.
    pub notices: Vec<Notice>,
    /// The spec as it was written, without what it was laid over.
    pub written: Json,
}

/// Reads every pipeline spec in `text`: JSON or YAML, one or several
/// documents, each a spec or a list of them.
///
/// `file` is what the user calls the text; `project` applies where a spec
/// names none.
///
/// # Errors
/// The first offence, with its place. Text without any spec is one.
pub fn parse(file: &str, text: &str, project: &ProjectName) -> Result<Vec<Parsed>, SpecError> {
    parse_over(file, text, project, &[])
}

/// Reads specs as [`parse`] does, each laid over `defaults`, the later ones
/// over the earlier: an object field by field, anything else as a whole.
///
/// # Errors
/// As [`parse`]; an offence of the defaults is at no place of the text.
pub fn parse_over(
    file: &str,
    text: &str,
    project: &ProjectName,
    defaults: &[Json],
) -> Result<Vec<Parsed>, SpecError> {
    let located = |at, message, hint| SpecError { file: file.to_owned(), at, message, hint };
    let documents = document::parse(text).map_err(|e| located(e.at, e.message, None))?;
    let mut specs = Vec::new();
    for document in &documents {
        let nodes = match &document.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(document),
        };
        for node in nodes {
            let merged = defaults::over(node, defaults);
            let parsed = read(&merged, project).map_err(|e| located(e.at, e.message, e.hint))?;
            let parsed = Parsed { written: document::plain(node), ..parsed };
            parsed.spec.validate().map_err(|invalid| {
                located(locate(node, &invalid.field), invalid.to_string(), invalid.hint)
            })?;
            specs.push(parsed);
        }
    }
    match specs.is_empty() {
        true => {
            let start = Position { line: 1, column: 1 };
            Err(located(start, "there is no pipeline spec in it".to_owned(), None))
        }
        false => Ok(specs),
    }
}

/// The deepest place on the way to `field` (`a.b[1].c`) that the text has.
fn locate(node: &Node, field: &str) -> Position {
    let mut node = node;
    for step in field.split(['.', '[']) {
        let step = step.trim_end_matches(']');
        let next = match &node.value {
            Value::Map(entries) => entries
                .iter()
                .find(|(key, _)| {
                    let key = snake_case(&key.text);
                    key == step || step == "pfs" && key == "atom"
                })
                .map(|(_, node)| node),
            Value::List(nodes) => step.parse::<usize>().ok().and_then(|index| nodes.get(index)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => None,
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node.at
}

/// Fields that are known and refused, because ignoring them would give other
/// results than their author expects.
const REFUSED: &[(&str, &str)] = &[
    ("incremental", "each datum starts with an empty /pfs/out"),
    ("service", "run the program beside a mount instead"),
    ("spout", "put files or commit through a mount from the program instead"),
    ("tf_job", "run the training as a transform instead"),
];

fn read(node: &Node, project: &ProjectName) -> Result<Parsed, ReadError> {
    let mut notices = Vec::new();
    let mut fields = Fields::of(node, "pipeline spec")?;
    let (project, name) = pipeline(&mut fields, project)?;
    refuse(&mut fields)?;
    let Some(program) = fields.take("transform") else {
        return Err(fields.missing("transform"));
    };
    let transform = transform::read(program, &mut notices)?;
    let Some(source) = fields.take("input") else {
        return Err(fields.missing("input"));
    };
    let mut around = input::Around {
        project: &project,
        pipeline: name.as_str(),
        triggers: 0,
        notices: &mut notices,
    };
    let input = input::read(source, &mut around)?;
    let mut spec = PipelineSpec { project, ..PipelineSpec::new(name, transform, input) };
    settings(&mut fields, &mut spec, &mut notices)?;
    spec.inert = inert::take(&mut fields, inert::OF_PIPELINE, &mut notices)?;
    fields.finish()?;
    notices.sort_by_key(|notice| notice.at);
    Ok(Parsed { spec, at: node.at, notices, written: Json::Null })
}

fn pipeline(
    fields: &mut Fields<'_>,
    project: &ProjectName,
) -> Result<(ProjectName, PipelineName), ReadError> {
    let Some(node) = fields.take("pipeline") else {
        let missing = fields.missing("pipeline");
        let hint = "a spec starts with {\"pipeline\": {\"name\": …}}".to_owned();
        return Err(ReadError { hint: missing.hint.or(Some(hint)), ..missing });
    };
    let mut inner = Fields::of(node, "pipeline")?;
    let Some(name) = inner.parsed("name")? else {
        return Err(inner.missing("name"));
    };
    let project = match inner.take("project") {
        None => project.clone(),
        Some(node) => {
            let mut fields = Fields::of(node, "project")?;
            let named = fields.parsed("name")?;
            fields.finish()?;
            named.unwrap_or_else(|| project.clone())
        }
    };
    inner.finish()?;
    Ok((project, name))
}

/// Whether a flag is as good as left out, as a word or not.
fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => true,
        Value::Text(text) => text.is_empty() || text == "false",
        Value::Bool(true) | Value::Number(_) | Value::List(_) | Value::Map(_) => false,
    }
}

fn refuse(fields: &mut Fields<'_>) -> Result<(), ReadError> {
    for (name, instead) in REFUSED {
        match fields.take(name) {
            None => {}
            Some(node) if is_off(node) => {}
            Some(node) => {
                return Err(ReadError {
                    at: node.at,
                    message: format!("{name} is not supported"),
                    hint: Some((*instead).to_owned()),
                });
            }
        }
    }
    Ok(())
}

fn settings(
    fields: &mut Fields<'_>,
    spec: &mut PipelineSpec,
    notices: &mut Vec<Notice>,
) -> Result<(), ReadError> {
    spec.description = fields.text("description")?.unwrap_or_default();
    spec.parallelism = parallelism(fields.take("parallelism_spec"), notices)?;
    spec.output_branch = fields.parsed("output_branch")?.unwrap_or_else(BranchName::master);
    spec.egress = fields.take("egress").map(egress).transpose()?.flatten();
    spec.datum_timeout = fields.duration("datum_timeout")?;
    spec.job_timeout = fields.duration("job_timeout")?;
    spec.datum_tries = match fields.take("datum_tries") {
        None => DEFAULT_DATUM_TRIES,
        Some(node) => match u32::try_from(uint(node, "datum_tries")?) {
            Ok(0) => DEFAULT_DATUM_TRIES,
            Ok(tries) => tries,
            Err(_) => return fail(node.at, "datum_tries is too large"),
        },
    };
    spec.reprocess_policy = word(
        fields.take("reprocess_spec"),
        "reprocess_spec",
        &[ReprocessPolicy::UntilSuccess, ReprocessPolicy::EveryJob].map(|p| (p.as_str(), p)),
    )?;
    spec.on_conflict = word(
        fields.take("on_conflict"),
        "on_conflict",
        &[OnConflict::Fail, OnConflict::Concat, OnConflict::Last].map(|c| (c.as_str(), c)),
    )?;
    spec.salt = fields.text("salt")?.unwrap_or_default();
    spec.update = fields.flag("update")?;
    spec.reprocess = fields.flag("reprocess")?;
    Ok(())
}

fn word<T: Copy + Default>(
    node: Option<&Node>,
    name: &str,
    words: &[(&str, T)],
) -> Result<T, ReadError> {
    let Some(node) = node else { return Ok(T::default()) };
    let given = text(node, name)?;
    match words.iter().find(|(word, _)| *word == given) {
        Some((_, value)) => Ok(*value),
        None if given.is_empty() => Ok(T::default()),
        None => {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            fail(node.at, format!("{name} must be one of {}, not {given:?}", known.join(", ")))
        }
    }
}

/// `constant`, or the old `coefficient`: workers per node, and there is one.
fn parallelism(node: Option<&Node>, notices: &mut Vec<Notice>) -> Result<u64, ReadError> {
    let Some(node) = node else { return Ok(1) };
    let mut fields = Fields::of(node, "parallelism_spec")?;
    let constant = fields.take("constant");
    let coefficient = fields.take("coefficient");
    // Before 1.5 a strategy stood beside the numbers.
    if let Some(node) = fields.take("strategy") {
        let message = "parallelism_spec.strategy is ignored: the numbers say it all".to_owned();
        notices.push(Notice { at: node.at, message });
    }
    fields.finish()?;
    match (constant, coefficient) {
        (None, None) => Ok(1),
        (Some(node), _) => match uint(node, "constant")? {
            0 => fail(node.at, "parallelism_spec.constant must be 1 or more"),
            workers => Ok(workers),
        },
        (None, Some(node)) => {
            let workers = float(node, "coefficient")?.ceil();
            // Float-to-int casts saturate, which is what a limit needs.
            Ok((workers as u64).max(1))
        }
    }
}

fn egress(node: &Node) -> Result<Option<String>, ReadError> {
    let mut fields = Fields::of(node, "egress")?;
    let mut url = fields.text("url")?;
    if let Some(storage) = fields.take("object_storage") {
        let mut inner = Fields::of(storage, "egress.object_storage")?;
        url = inner.text("url")?.or(url);
        inner.finish()?;
    }
    if let Some(database) = fields.take("sql_database") {
        return fail(database.at, "egress to a database is not supported");
    }
    fields.finish()?;
    Ok(url.filter(|url| !url.is_empty()))
}

impl PipelineSpec {
    /// Reads back what [`PipelineSpec::to_json`] wrote, in either key style.
    ///
    /// # Errors
    /// As [`parse`], for text that is not exactly one spec.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        let mut parsed = parse("spec", text, &ProjectName::default_project())?;
        match (parsed.pop(), parsed.is_empty()) {
            (Some(parsed), true) => Ok(parsed.spec),
            _ => Err(SpecError {
                file: "spec".to_owned(),
                at: Position { line: 1, column: 1 },
                message: "expected exactly one spec".to_owned(),
                hint: None,
            }),
        }
    }

    /// Whether any field has no effect here.
    #[must_use]
    pub fn has_inert_fields(&self) -> bool {
        !self.inert.is_empty() || !Map::is_empty(&self.transform.inert)
    }
}
