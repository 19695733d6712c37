//! `hanok pull`: a model from elsewhere into the local registry, and into a model repository if asked.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use hanok_registry::{Digest, Registry, RegistrySettings, check_name};
use hanok_sources::{SourceError, SourceReference};
use serde_json::json;

use super::error::CommandError;
use crate::pulling::{Puller, WantedContent};
use crate::settings::{ActorFlag, NotRepeated, OutputFormat, QuotaFlag, RegistryFlags, SourceFlags};

/// Arguments of `hanok pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct PullArguments {
    /// What to fetch: mlflow://NAME@ALIAS, mlflow://NAME/VERSION, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX,
    /// az://CONTAINER/PREFIX, https://HOST/FILE (.tar, .tar.gz or one file; #sha256=HEX pins it),
    /// git+https://HOST/REPOSITORY#COMMIT:FOLDER, git+ssh://..., git+file:///...
    #[arg(value_name = "SOURCE", value_parser = NotRepeated(reference))]
    source: SourceReference,
    /// The model's name here; default: the last name in the source
    model: Option<String>,
    /// Lay the version into this folder of models too, in Triton's layout, with a configuration if the model has none there
    #[arg(long, value_name = "DIR")]
    model_repository: Option<PathBuf>,
    /// Take nothing but content with this digest, as `hanok registry show` or a lock file tells it
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    digest: Option<Digest>,
    /// Fetch it although it is here already: what came was damaged, and its source has been mended since
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    quota: QuotaFlag,
    #[command(flatten)]
    actor: ActorFlag,
    #[command(flatten)]
    sources: SourceFlags,
}

/// Runs `hanok pull`.
pub(crate) async fn run(arguments: PullArguments) -> Result<ExitCode, CommandError> {
    let model = match arguments.model {
        Some(model) => model,
        None => arguments.source.last_name().ok_or_else(|| {
            CommandError::input(format!("`{}` has no name at its end; name the model behind it", arguments.source))
        })?,
    };
    check_name("model", &model)?;
    let settings = arguments.sources.settings().map_err(crate::pulling::PullError::from)?;
    let bounds = RegistrySettings { quota_bytes: arguments.quota.quota, ..RegistrySettings::default() };
    let registry = Registry::open(&arguments.registry.registry, bounds)?;
    let wanted = WantedContent { pinned: arguments.digest, anew: arguments.again };
    let puller = Puller::new(settings, Arc::new(registry), arguments.actor.name())?;
    let pulled = puller.pull(&arguments.source, &model, wanted).await?;
    let laid = match arguments.model_repository {
        Some(repository) => Some(puller.lay(&pulled, repository, &model).await?),
        None => None,
    };
    let mut out = std::io::stdout().lock();
    let version = &pulled.version;
    if arguments.registry.format == OutputFormat::Json {
        let document = json!({
            "version": version,
            "source": pulled.pinned,
            "new": pulled.new,
            "fetched": pulled.fetched,
            "path": laid.as_ref().map(|laid| &laid.path),
        });
        writeln!(out, "{document:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let how = match (pulled.fetched, pulled.new) {
        (true, true) => "fetched and registered as",
        (true, false) => "fetched, and is the same as",
        (false, _) => "is here already as",
    };
    let (bytes, digest) = (super::registry::size(version.bytes), version.digest);
    writeln!(out, "{} {how} {}: {bytes}, {digest}", pulled.pinned, version.name)?;
    if let Some(laid) = laid {
        let how = if laid.new { "laid out in" } else { "is already in" };
        writeln!(out, "{} {how} {}", version.name, laid.path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn reference(text: &str) -> Result<SourceReference, String> {
    text.parse().map_err(|error: SourceError| format!("{}; {}", error.message(), error.action()))
}

fn digest(text: &str) -> Result<Digest, String> {
    text.parse().map_err(|error: hanok_registry::RegistryError| error.to_string())
}
