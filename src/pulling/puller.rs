//! Pulls: resolved, fetched, checked, registered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hanok_registry::{
    Actor, Digest, Exported, FileContent, Hold, Manifest, Origin, Provenance, Registry, RegistryError, Version,
    VersionName,
};
use hanok_sources::{
    Contents, FetchedFolder, ResolvedSource, ServingModel, SourceErrorCode, SourceReference, SourceSettings, Sources,
};

use super::fetched_folder::{self, WAITS};
use super::{PullError, facts, whole_file};
use crate::{clock, onnx_signature};

/// Pulls into one registry. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Puller {
    sources: Sources,
    registry: Arc<Registry>,
    actor: String,
}

/// Which content a pull may end with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WantedContent {
    /// Only content with this digest.
    pub(crate) pinned: Option<Digest>,
    /// Fetch it although the registry has what the source named so: it was damaged, and is not any more.
    pub(crate) anew: bool,
}

/// What a pull gave.
#[derive(Clone, Debug)]
pub(crate) struct Pulled {
    /// The version in the registry.
    pub(crate) version: Version,
    /// Whether the registry had no such content before.
    pub(crate) new: bool,
    /// Whether files came over the network; otherwise they were here already.
    pub(crate) fetched: bool,
    /// What the reference stood for: one that does not move, where the source has such a thing.
    pub(crate) pinned: String,
    /// What a server needs, where the source tells.
    pub(crate) serving: Option<ServingModel>,
}

impl Puller {
    /// `actor` is who pulls, for the registry's record.
    pub(crate) fn new(mut settings: SourceSettings, registry: Arc<Registry>, actor: String) -> Result<Self, PullError> {
        // What the registry could never take is not fetched.
        settings.limits.bytes = settings.limits.bytes.min(registry.quota_bytes().unwrap_or(u64::MAX));
        Ok(Self { sources: Sources::new(settings)?, registry, actor })
    }

    /// Where models come from.
    pub(crate) const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Brings what `reference` names now into the registry, as a version of `model`. Goes on where an earlier attempt stopped,
    /// however that ended. Cancelled by dropping.
    pub(crate) async fn pull(
        &self,
        reference: &SourceReference,
        model: &str,
        wanted: WantedContent,
    ) -> Result<Pulled, PullError> {
        let resolved = Box::pin(self.sources.resolve(reference)).await?;
        if !wanted.anew
            && let Some(version) = self.known(&resolved, model).await?
        {
            let name = version.name.clone().into();
            let manifest = self.in_registry(move |registry, _| Ok(registry.record(&name)?.manifest)).await?;
            check(wanted.pinned, &manifest)?;
            let (pinned, serving) = (resolved.pinned.to_string(), resolved.serving);
            return Ok(Pulled { version, new: false, fetched: false, pinned, serving });
        }
        let place = fetched_folder::place(self.registry.folder(), model, reference);
        let brought = Box::pin(self.bring(reference, resolved, model, wanted.pinned, &place)).await;
        if brought.as_ref().is_err_and(PullError::wastes_what_came) {
            self.in_registry(move |_, _| Ok(fetched_folder::discard(&place)?)).await?;
        }
        brought
    }

    async fn bring(
        &self,
        reference: &SourceReference,
        resolved: ResolvedSource,
        model: &str,
        pinned: Option<Digest>,
        place: &Path,
    ) -> Result<Pulled, PullError> {
        let text = resolved.pinned.to_string();
        let told = Digest::of(resolved.revision.text.as_bytes());
        let (sizes, beside) = (told_sizes(&resolved.contents), place.to_owned());
        self.in_registry(move |registry, _| {
            fetched_folder::collect(registry.folder(), SystemTime::now(), WAITS, Some(&beside), false)?;
            registry.check_room(&sizes)?;
            // Refused before, when its content was known.
            fetched_folder::refused(&beside, &told).map_or(Ok(()), |content| registry.check_room_for(&content))
        })
        .await?;
        let folder = self.fetch(&resolved, place).await?;
        let files = contents(&folder)?;
        let manifest = Manifest::new(files.clone())?;
        check(pinned, &manifest)?;
        let mut facts =
            facts::facts(&resolved.metadata, resolved.serving.as_ref().and_then(|serving| serving.signature.as_ref()));
        let file = resolved.serving.as_ref().map_or("model.onnx", |serving| serving.file.as_str()).to_owned();
        let (place, model) = (place.to_owned(), model.to_owned());
        let origin = Origin { asked: reference.to_string(), pinned: text.clone() };
        let revision = lasting(&resolved);
        let digests = files.into_iter().map(|(path, content)| (path, content.digest)).collect();
        let registered = self
            .blocking(move |registry, actor| {
                let graph = place.join(&file);
                if graph.is_file() {
                    let signature = onnx_signature::of_file(&graph);
                    let signature = signature.map_err(|reason| PullError::Invalid { file, reason })?;
                    facts.signature = facts.signature.or(signature);
                }
                let provenance = Provenance { origin, revision, digests, facts };
                let registered = registry.import_fetched(&model, &place, &provenance, &actor);
                match &registered {
                    Ok(_) => fetched_folder::remove(&place).map_err(RegistryError::from)?,
                    Err(RegistryError::LimitReached { .. }) => {
                        fetched_folder::remember_refused(&place, &told, &manifest).map_err(RegistryError::from)?;
                    }
                    Err(_) => {}
                }
                Ok(registered?)
            })
            .await?;
        let (version, new) = (registered.version, registered.new);
        Ok(Pulled { version, new, fetched: true, pinned: text, serving: resolved.serving })
    }

    /// The version that was pulled when the source told the same of it as now, where that promises the same bytes.
    async fn known(&self, resolved: &ResolvedSource, model: &str) -> Result<Option<Version>, PullError> {
        let Some(revision) = lasting(resolved) else { return Ok(None) };
        let (model, pinned) = (model.to_owned(), resolved.pinned.to_string());
        self.in_registry(move |registry, _| {
            let name = registry.pulled(&model, &pinned, &revision)?;
            name.map(|name| registry.version(&name.into())).transpose()
        })
        .await
    }

    async fn fetch(&self, resolved: &ResolvedSource, place: &Path) -> Result<FetchedFolder, PullError> {
        fetched_folder::prepare(place).map_err(RegistryError::from)?;
        match Box::pin(self.sources.fetch(resolved, place, None)).await {
            // Fetched whole and never registered, and the reference has moved since.
            Err(error) if error.code() == SourceErrorCode::AlreadyExists => {
                fetched_folder::remove(place).map_err(RegistryError::from)?;
                Ok(Box::pin(self.sources.fetch(resolved, place, None)).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Lays a version into a model repository, with a configuration beside it where the model has none there.
    pub(crate) async fn lay(&self, pulled: &Pulled, repository: PathBuf, model: &str) -> Result<Exported, PullError> {
        let text = self.configuration(pulled).await?;
        let (meant, model) = (pulled.version.name.clone().into(), model.to_owned());
        self.in_registry(move |registry, actor| {
            let exported = registry.export(&meant, &repository, Some(&model), actor.now)?;
            let configuration = repository.join(&model).join("config.pbtxt");
            if let Some(text) = text.filter(|_| !configuration.exists()) {
                whole_file::write(&configuration, &text)?;
            }
            Ok(exported)
        })
        .await
    }

    /// Lays a version's files, but not its configuration, into a model repository.
    pub(crate) async fn lay_files(
        &self,
        version: &VersionName,
        repository: PathBuf,
        model: String,
    ) -> Result<Exported, PullError> {
        let meant = version.clone().into();
        self.in_registry(move |registry, actor| registry.export_files(&meant, &repository, Some(&model), actor.now))
            .await
    }

    /// A configuration for what was pulled: its own, else what the source says, else one that names its only ONNX file.
    pub(crate) async fn configuration(&self, pulled: &Pulled) -> Result<Option<String>, PullError> {
        let meant = pulled.version.name.clone().into();
        let told = pulled.serving.as_ref().map(|serving| serving.config.clone());
        self.in_registry(move |registry, actor| {
            if let Some(text) = registry.configuration(&meant, actor.now)?.or(told) {
                return Ok(Some(text));
            }
            let manifest = registry.record(&meant)?.manifest;
            Ok(naming_the_file(manifest.files().keys().map(String::as_str)))
        })
        .await
    }

    /// Keeps a version's files from being evicted until what is returned is dropped.
    pub(crate) async fn hold(&self, version: &VersionName) -> Result<Hold, PullError> {
        let meant = version.clone().into();
        self.in_registry(move |registry, actor| registry.hold(&meant, actor.now).map(|(_, hold)| hold)).await
    }

    /// Takes a version out of a model repository if it can be pulled again; `false`: it stays.
    pub(crate) async fn withdraw(
        &self,
        version: VersionName,
        repository: PathBuf,
        model: String,
    ) -> Result<bool, PullError> {
        self.in_registry(move |registry, _| registry.withdraw(&version, &repository, &model)).await
    }

    /// The registry blocks on the disk, which the threads that serve must not.
    async fn in_registry<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Registry, Actor) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, PullError> {
        self.blocking(move |registry, actor| Ok(call(registry, actor)?)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Registry, Actor) -> Result<T, PullError> + Send + 'static,
    ) -> Result<T, PullError> {
        let (registry, actor) = (Arc::clone(&self.registry), self.actor.clone());
        let now = clock::now().map_err(PullError::Interrupted)?;
        let called = tokio::task::spawn_blocking(move || call(&registry, Actor::new(actor, now)?));
        called.await.map_err(|error| PullError::Interrupted(error.to_string()))?
    }
}

/// A configuration that names the only ONNX file of a version, where that is not the name that servers look for.
fn naming_the_file<'a>(files: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut models = files.filter(|path| path.ends_with(".onnx") && !path.contains('/'));
    let (only, more) = (models.next()?, models.next());
    let plain = only.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    (more.is_none() && plain && only != "model.onnx")
        .then(|| format!("backend: \"onnxruntime\"\ndefault_model_filename: \"{only}\"\n"))
}

/// Sizes of the files that will be registered, as far as they are told.
fn told_sizes(contents: &Contents) -> BTreeSet<u64> {
    match contents {
        Contents::Files(files) => files.iter().filter_map(|file| file.bytes).collect(),
        Contents::Archive(_) | Contents::Commit(_) => BTreeSet::new(),
    }
}

/// What tells the bytes that are promised from all others, in the digest's form, since it may be long: the reference alone
/// does not, where its server is a setting, or a name with a number can be given anew.
fn lasting(resolved: &ResolvedSource) -> Option<Digest> {
    let promised = resolved.revision.immutable && !matches!(resolved.reference, SourceReference::Bucket(_));
    promised.then(|| Digest::of(resolved.revision.text.as_bytes()))
}

fn contents(folder: &FetchedFolder) -> Result<BTreeMap<String, FileContent>, RegistryError> {
    let content = |file: &hanok_sources::FetchedFile| -> Result<_, RegistryError> {
        let digest = file.sha256.to_string().parse()?;
        Ok((file.path.as_str().to_owned(), FileContent { digest, bytes: file.bytes }))
    };
    folder.files.iter().map(content).collect()
}

/// The registry tells the digest of all files, a lock file that of what is laid out; either says what is meant.
fn check(expected: Option<Digest>, actual: &Manifest) -> Result<(), PullError> {
    match expected {
        Some(expected) if expected != actual.digest() && expected != actual.laid_digest() => {
            Err(PullError::Pinned { expected, actual: actual.digest() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_name_is_named() {
        let named = |files: &[&str]| naming_the_file(files.iter().copied());
        assert!(named(&["resnet.onnx", "labels.txt"]).is_some_and(|text| text.contains("\"resnet.onnx\"")));
        for files in [&["model.onnx"][..], &["a.onnx", "b.onnx"], &["net/a.onnx"], &["labels.txt"], &["a\".onnx"]] {
            assert_eq!(named(files), None, "{files:?}");
        }
    }
}
