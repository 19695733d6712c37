//! Brings versions of one model into the model repository and has them loaded beside what serves.
//!
//! A version that does not become ready leaves the repository exactly as it was, whether it failed or this process was killed
//! meanwhile ([`Undo`]): what serves goes on serving, and is loaded again after a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanok_registry::{Hold, Registry, VersionName};
use hanok_repository::ModelRepository;

use super::candidate::{Compared, compare};
use super::configuration;
use super::failure::Failure;
use super::undo::Undo;
use crate::pulling::{Pulled, Puller};

/// What helps a version that does not load.
const MENDED: &str = "where it was mended at its source since, `hanok pull --again` brings it anew";

/// Where the versions of one model are laid, and loaded from.
#[derive(Debug)]
pub(super) struct ModelPlace {
    pub(super) model: String,
    /// The folder of models that versions are laid into.
    pub(super) root: PathBuf,
    pub(super) puller: Puller,
    pub(super) registry: Arc<Registry>,
    pub(super) repository: Arc<ModelRepository>,
}

/// What is to be ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The version that serves, if it is another, and the one that was pulled.
    pub(super) versions: &'a [u64],
    /// Whether others may go.
    pub(super) only: bool,
}

/// A version that is ready, and can still be taken back as if nothing had been.
#[must_use = "kept or taken back"]
#[derive(Debug)]
pub(super) struct Brought {
    /// Whether anything was done that can be taken back.
    changed: bool,
    /// Keep the versions in the registry.
    holds: Vec<Hold>,
}

impl ModelPlace {
    /// Versions that are ready now.
    pub(super) fn ready(&self) -> Vec<u64> {
        self.repository.ready().versions(&self.model).iter().map(|ready| ready.version).collect()
    }

    /// Versions that the watch's own configuration names, the one that serves first; `None`: it is not the watch's, or names
    /// none.
    pub(super) fn named(&self) -> Option<Vec<u64>> {
        let text = configuration_of(&self.folder()).ok()??;
        Some(configuration::named(&text)).filter(|named| !named.is_empty())
    }

    /// Loads the versions that lie in the repository unless one is ready: with explicit control nobody else does.
    pub(super) async fn load_what_lies_there(&self) {
        if !self.ready().is_empty() || present(&self.folder()).is_empty() {
            return;
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(model = self.model, error, "what lies in the model repository is not loaded");
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join(&self.model)
    }

    /// Whether clients of `baseline` can be served by what was pulled, and which configuration is written for both.
    ///
    /// # Errors
    /// [`Failure::Other`] with what differs. Nothing is touched.
    pub(super) async fn fitting(&self, pulled: &Pulled, baseline: u64) -> Result<String, Failure> {
        let own = self.puller.configuration(pulled).await?.unwrap_or_default();
        let candidate = pulled.version.name.number;
        let ready = self.repository.ready().versions(&self.model);
        let Some(serving) = ready.iter().find(|ready| ready.version == baseline).filter(|_| baseline != candidate)
        else {
            return Ok(own);
        };
        let there = configuration_of(&self.folder())?;
        let used = there.as_deref().is_none_or(configuration::is_ours).then_some(own.as_str());
        match compare(&serving.config, used, pulled.version.facts.signature.as_ref()) {
            Ok(Compared::Same) => Ok(own),
            Ok(Compared::Compatible) => {
                Ok(there.as_deref().and_then(configuration::base_of).map(str::to_owned).unwrap_or(own))
            }
            Err(difference) => Err(Failure::Other(format!(
                "version {candidate} ({}) is not what clients of version {baseline} ask: {difference}; publish one with the same \
                 inputs and outputs, or serve it as another model (signature-changed)",
                pulled.pinned
            ))),
        }
    }

    /// Sees to it that the wanted versions lie in the repository, are allowed by the configuration and ready; `base` is what
    /// that is written from where the watch writes it.
    ///
    /// # Errors
    /// Then everything is as it was.
    pub(super) async fn bring(&self, pulled: &Pulled, base: &str, wanted: Wanted<'_>) -> Result<Brought, Failure> {
        let name = &pulled.version.name;
        let mut holds = vec![self.puller.hold(name).await?];
        self.take_back().await?;
        for &number in wanted.versions.iter().filter(|number| **number != name.number) {
            let other = VersionName { model: name.model.clone(), number };
            // What serves may have come into the repository without the registry.
            let Ok(hold) = self.puller.hold(&other).await else { continue };
            holds.push(hold);
            if !self.folder().join(number.to_string()).exists() {
                self.puller.lay_files(&other, self.root.clone(), self.model.clone()).await?;
            }
        }
        let there = configuration_of(&self.folder())?;
        let present = present(&self.folder());
        let text = configuration::wanted(there.as_deref(), base, wanted.versions, &present, wanted.only)?;
        let ready = self.ready();
        let all_ready = wanted.versions.iter().all(|version| ready.contains(version) && present.contains(version));
        if text.is_none() && all_ready {
            return Ok(Brought { changed: false, holds });
        }
        Undo::note(&self.root, &self.model, name.number, there)?;
        match self.change(text, name, wanted.versions).await {
            Ok(()) => Ok(Brought { changed: true, holds }),
            Err(failure) => {
                if let Err(again) = self.take_back().await {
                    tracing::error!(model = self.model, "{again}");
                }
                Err(failure)
            }
        }
    }

    async fn change(&self, text: Option<String>, name: &VersionName, versions: &[u64]) -> Result<(), Failure> {
        // A configuration that names a version which is not there yet lets the others serve; a version that no configuration
        // keeps out would not.
        if let Some(text) = text {
            let folder = self.folder();
            let write = || {
                fs::create_dir_all(&folder)
                    .and_then(|()| crate::pulling::write_whole(&folder.join("config.pbtxt"), &text))
            };
            tokio::task::block_in_place(write)
                .map_err(|error| format!("the model's config.pbtxt cannot be written: {error} (disk)"))?;
        }
        self.puller.lay_files(name, self.root.clone(), self.model.clone()).await?;
        self.refresh().await.map_err(|error| format!("{error} ({MENDED})"))?;
        let ready = self.ready();
        match versions.iter().find(|version| !ready.contains(version)) {
            Some(version) => {
                Err(format!("version {version} was loaded and is not ready; the log has the reason ({MENDED})").into())
            }
            None => Ok(()),
        }
    }

    /// Loading blocks for as long as the model takes.
    async fn refresh(&self) -> Result<(), String> {
        let (repository, model) = (Arc::clone(&self.repository), self.model.clone());
        let loading = tokio::task::spawn_blocking(move || repository.refresh(&model));
        loading.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Keeps what was brought; gives what holds it.
    ///
    /// # Errors
    /// When it cannot be noted that it is kept. It is ready all the same, and brought anew after a restart.
    pub(super) fn keep(&self, brought: Brought) -> Result<Vec<Hold>, Failure> {
        if brought.changed {
            tokio::task::block_in_place(|| Undo::forget(&self.root, &self.model))?;
        }
        Ok(brought.holds)
    }

    /// Takes back what is not kept: files, configuration, and what is in memory.
    ///
    /// # Errors
    /// When the repository cannot be written to: it is tried again before the next change, and at the next start.
    pub(super) async fn take_back(&self) -> Result<(), Failure> {
        let (root, model, registry) = (self.root.clone(), self.model.clone(), Arc::clone(&self.registry));
        let taking = tokio::task::spawn_blocking(move || Undo::take_back(&root, &model, &registry));
        if taking.await.map_err(|error| error.to_string())?? {
            tracing::info!(model = self.model, "the model repository is as it was");
            // What served is in memory still; where nothing did, there is nothing to load.
            if let Err(error) = self.refresh().await
                && self.folder().exists()
            {
                tracing::warn!(model = self.model, error, "what served before is not loaded again");
            }
        }
        Ok(())
    }

    /// Takes versions that do not serve any more out of the repository, where the watch keeps the configuration.
    pub(super) async fn tidy(&self, kept: &[u64]) {
        let ours =
            configuration_of(&self.folder()).is_ok_and(|text| text.is_some_and(|text| configuration::is_ours(&text)));
        for number in present(&self.folder()).into_iter().filter(|number| ours && !kept.contains(number)) {
            let version = VersionName { model: self.model.clone(), number };
            match self.puller.withdraw(version, self.root.clone(), self.model.clone()).await {
                Ok(true) => {
                    tracing::info!(
                        model = self.model,
                        version = number,
                        "taken out of the model repository; it can be pulled again"
                    );
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(model = self.model, version = number, %error, "a version folder stays"),
            }
        }
    }
}

fn configuration_of(folder: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(folder.join("config.pbtxt")) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("the model's config.pbtxt cannot be read: {error}")),
    }
}

/// Numbers of the version folders; none where there is no folder.
fn present(folder: &Path) -> Vec<u64> {
    let names = fs::read_dir(folder).into_iter().flatten();
    names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
