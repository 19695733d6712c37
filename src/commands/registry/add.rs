//! `hanok registry add`: files of this machine become the next version of a model.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanok_registry::{
    Digest, ErrorCode, GitCommit, LocalFiles, Origin, Provenance, Registered, Signature, TrainingData, VersionFacts,
    VersionReference, one_line,
};
use serde_json::json;

use super::{Desk, pair, size, with_code};
use crate::bounded_text;
use crate::commands::error::CommandError;
use crate::settings::QuotaFlag;

/// Largest file of facts or digests, in bytes.
const LARGEST_INPUT: u64 = 64 << 20;

/// Arguments of `hanok registry add`.
#[derive(Debug, clap::Args)]
pub(super) struct AddArguments {
    /// The model's name; it is made if need be
    model: String,
    /// A file, or a folder with the files of one version
    path: PathBuf,
    /// The model's config.pbtxt, where it does not lie in the folder
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Facts as JSON: signature, metrics, training_data, git, tags, parents; flags win over it
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// How good it is; may be given several times
    #[arg(long = "metric", value_name = "NAME=NUMBER", value_parser = metric)]
    metrics: Vec<(String, f64)>,
    /// A free tag; may be given several times
    #[arg(long = "tag", value_name = "NAME=TEXT", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// What it was trained on
    #[arg(long, value_name = "REFERENCE")]
    training_data: Option<String>,
    /// Digest of that, as its owner computes it
    #[arg(long, value_name = "TEXT", requires = "training_data")]
    training_data_digest: Option<String>,
    /// Commit of the code that made it
    #[arg(long, value_name = "COMMIT")]
    git_commit: Option<String>,
    /// Repository of that code
    #[arg(long, value_name = "URL", requires = "git_commit")]
    git_remote: Option<String>,
    /// A version that it was made from (MODEL, MODEL/VERSION or MODEL@ALIAS); may be given several times
    #[arg(long = "parent", value_name = "VERSION")]
    parents: Vec<VersionReference>,
    /// Where another program fetched the folder from; such a version may be evicted
    #[arg(long, value_name = "REFERENCE", requires = "pinned", conflicts_with = "config")]
    origin: Option<String>,
    /// What that reference stood for: one that does not move
    #[arg(long, value_name = "REFERENCE", requires = "origin")]
    pinned: Option<String>,
    /// What must lie in the folder, and nothing else: lines as `sha256sum` writes them
    #[arg(long, value_name = "FILE", requires = "origin")]
    digests: Option<PathBuf>,
    /// Do not read the signature from model.onnx
    #[arg(long)]
    no_signature: bool,
    #[command(flatten)]
    pub(super) quota: QuotaFlag,
}

pub(super) fn run(desk: &Desk, arguments: &AddArguments) -> Result<ExitCode, CommandError> {
    let facts = facts(desk, arguments)?;
    let actor = desk.actor()?;
    let registered = match (&arguments.origin, &arguments.pinned) {
        (Some(asked), Some(pinned)) => {
            let digests = arguments.digests.as_deref().map_or_else(|| Ok(BTreeMap::new()), read_digests)?;
            let origin = Origin { asked: asked.clone(), pinned: pinned.clone() };
            let provenance = Provenance { origin, revision: None, digests, facts };
            desk.registry.import_fetched(&arguments.model, &arguments.path, &provenance, &actor)?
        }
        _ => {
            let files = LocalFiles { path: arguments.path.clone(), configuration: arguments.config.clone() };
            desk.registry.add(&arguments.model, &files, &facts, &actor)?
        }
    };
    let Registered { version, new } = &registered;
    desk.print(&json!({ "version": version, "new": new }), || {
        let (name, bytes, digest) = (&version.name, size(version.bytes), version.digest);
        match new {
            true => format!("registered {name}: {bytes}, {digest}\n"),
            false => format!("{name} has this content already: {bytes}, {digest}\n"),
        }
    })
}

fn facts(desk: &Desk, arguments: &AddArguments) -> Result<VersionFacts, CommandError> {
    let mut facts = match &arguments.facts {
        None => VersionFacts::default(),
        Some(path) => serde_json::from_str(&read("facts", path)?)
            .map_err(|error| wrong(&format!("--facts: `{}`: {error}", path.display())))?,
    };
    if facts.origin.is_some() {
        return Err(wrong(
            "--facts: must not tell an `origin`; say where another program fetched the folder from with --origin and --pinned",
        ));
    }
    facts.metrics.extend(arguments.metrics.iter().cloned());
    facts.tags.extend(arguments.tags.iter().cloned());
    if let Some(reference) = &arguments.training_data {
        let digest = arguments.training_data_digest.clone();
        facts.training_data = Some(TrainingData { reference: reference.clone(), digest });
    }
    if let Some(commit) = &arguments.git_commit {
        facts.git = Some(GitCommit { commit: commit.clone(), remote: arguments.git_remote.clone() });
    }
    for parent in &arguments.parents {
        facts.parents.push(desk.registry.version(parent)?.name);
    }
    if facts.signature.is_none() && !arguments.no_signature {
        facts.signature = onnx_signature(&arguments.path)?;
    }
    Ok(facts)
}

/// The signature of `model.onnx` in the folder, or of the file itself; none where there is no such file, or where its graph
/// does not tell every type and rank.
fn onnx_signature(path: &Path) -> Result<Option<Signature>, CommandError> {
    let file = if path.is_dir() { path.join("model.onnx") } else { path.to_owned() };
    if file.extension().is_none_or(|extension| extension != "onnx") || !file.is_file() {
        return Ok(None);
    }
    let refused = |reason: String| {
        let shown = file.display();
        wrong(&format!("`{shown}` is no ONNX model: {reason}; --no-signature registers it all the same"))
    };
    crate::onnx_signature::of_file(&file).map_err(refused)
}

/// Lines as `sha256sum` writes them: digest, two spaces (or a space and an asterisk), path.
fn read_digests(path: &Path) -> Result<BTreeMap<String, Digest>, CommandError> {
    let mut digests: BTreeMap<String, Digest> = BTreeMap::new();
    for (line, number) in read("digests", path)?.lines().zip(1..) {
        let refused = || wrong(&format!("--digests: line {number}: expected `DIGEST  PATH`, got `{}`", one_line(line)));
        let (digest, name) = line.split_once(' ').ok_or_else(refused)?;
        let name = name.strip_prefix([' ', '*']).ok_or_else(refused)?;
        let name = name.strip_prefix("./").unwrap_or(name);
        let digest = digest.parse().map_err(|_| refused())?;
        if digests.insert(name.to_owned(), digest).is_some_and(|before| before != digest) {
            let name = one_line(name);
            return Err(wrong(&format!("--digests: line {number}: `{name}` has another digest further up")));
        }
    }
    if digests.is_empty() {
        return Err(wrong("--digests: expected one line at least, got an empty file"));
    }
    Ok(digests)
}

fn read(flag: &str, path: &Path) -> Result<String, CommandError> {
    bounded_text::read(path, LARGEST_INPUT).map_err(|error| {
        let told = format!("--{flag}: `{}` cannot be read: {error}", path.display());
        let code = match error.kind() {
            ErrorKind::NotFound => ErrorCode::NotFound,
            ErrorKind::FileTooLarge | ErrorKind::InvalidData | ErrorKind::IsADirectory => ErrorCode::InvalidArgument,
            _ => ErrorCode::Unavailable,
        };
        with_code(&told, code)
    })
}

/// A mistake in the command or a file that it names.
fn wrong(told: &str) -> CommandError {
    with_code(told, ErrorCode::InvalidArgument)
}

/// `NAME=NUMBER`.
fn metric(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    let number = value.parse().map_err(|_| format!("expected NAME=NUMBER, got `{text}`"))?;
    Ok((name, number))
}
