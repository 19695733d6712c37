//! `hanok serve --watch`: references that are followed, each by a task of its own.
//!
//! Decides nothing about traffic: it declares a rollout and leaves the verdict to the control plane. What serves is never
//! touched before its successor is loaded and warm beside it.

mod candidate;
mod configuration;
mod declaration;
mod failure;
mod follower;
mod model_place;
mod step;
mod undo;
mod webhooks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanok_registry::Registry;
use hanok_repository::ModelRepository;
use hanok_sources::{SourceSettings, WatchPlan};
use tokio::task::JoinHandle;

use declaration::RolloutTemplate;
use follower::Follower;
use model_place::ModelPlace;
use step::kept_elsewhere;
use undo::Undo;

use super::start::Control;
use crate::commands::error::CommandError;
use crate::pulling::{PullError, Puller};
use crate::settings::WatchFlags;
pub(crate) use webhooks::Webhooks;

/// Longest pause between two looks while nobody answers.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Every reference that is followed.
#[derive(Debug)]
pub(crate) struct Watches {
    tasks: Vec<JoinHandle<()>>,
}

/// What the flags of watches name, read and found good: before anything listens.
#[derive(Debug)]
pub(crate) struct WatchSettings {
    template: Arc<RolloutTemplate>,
    sources: SourceSettings,
}

impl WatchSettings {
    /// Reads and checks it; none where nothing is followed.
    pub(crate) fn read(flags: &WatchFlags) -> Result<Option<Self>, CommandError> {
        if !flags.is_given() {
            return Ok(None);
        }
        for (index, watched) in flags.watched.iter().enumerate() {
            if flags.watched[..index].iter().any(|other| other.model == watched.model) {
                return Err(CommandError::input(format!(
                    "--watch: expected one reference for model `{0}`, got another; give it once, or another model's name",
                    watched.model
                )));
            }
        }
        let template = Arc::new(RolloutTemplate::read(flags.watch_plan.as_deref())?);
        Ok(Some(Self { template, sources: flags.sources.settings().map_err(PullError::from)? }))
    }
}

impl Watches {
    /// Begins to follow what the flags name; versions go into the folder of models at `root`.
    pub(crate) async fn start(
        flags: &WatchFlags,
        settings: Option<WatchSettings>,
        root: &Path,
        repository: &Arc<ModelRepository>,
        registry: Option<&Arc<Registry>>,
        control: Option<&Control>,
        webhooks: &Webhooks,
    ) -> Result<Self, CommandError> {
        let Some(WatchSettings { template, sources }) = settings else {
            return Ok(Self { tasks: Vec::new() });
        };
        let (Some(control), Some(registry)) = (control.and_then(Control::calls), registry) else {
            return Err(CommandError::input(
                "--watch: there is no control plane in this process; give --admin-port too",
            ));
        };
        for watched in &flags.watched {
            // Known from the last look at the place. What serves goes on serving: a commit elsewhere must not end this process.
            if let Ok(Some(standing)) = control.traffic_of(&watched.model).await
                && let Some(refusal) = kept_elsewhere(&standing)
            {
                tracing::error!(model = watched.model, source = %watched.reference, "--watch: nothing is brought into service: {refusal}");
            }
        }
        let puller = Puller::new(sources, Arc::clone(registry), "watch".to_owned())?;
        let mut tasks = Vec::with_capacity(flags.watched.len());
        for (watched, nudge) in flags.watched.iter().zip(webhooks.nudges()) {
            let place = ModelPlace {
                model: watched.model.clone(),
                root: root.to_owned(),
                puller: puller.clone(),
                registry: Arc::clone(registry),
                repository: Arc::clone(repository),
            };
            let follower = Follower {
                watched: watched.clone(),
                place,
                control: control.clone(),
                template: Arc::clone(&template),
                plan: WatchPlan { interval: flags.interval(), longest_pause: LONGEST_PAUSE },
                nudge: Arc::clone(nudge),
            };
            follower.settle().await;
            tasks.push(tokio::spawn(follower.run()));
        }
        Ok(Self { tasks })
    }

    /// Takes back what an earlier process was killed at, before anything is loaded. Blocks on the disk.
    pub(crate) fn take_back(flags: &WatchFlags, root: &Path, registry: Option<&Arc<Registry>>) {
        let Some(registry) = registry else { return };
        for watched in &flags.watched {
            let model = watched.model.as_str();
            match Undo::take_back(root, model, registry) {
                Ok(false) => {}
                Ok(true) => tracing::warn!(
                    model,
                    "a version that was being brought when this server was stopped is taken back; it is tried again"
                ),
                // What serves can be loaded all the same.
                Err(reason) => tracing::error!(model, "{reason}"),
            }
        }
    }

    /// Ends all of them, wherever they are: each of their steps may be repeated.
    pub(crate) async fn stop(self) {
        for task in self.tasks {
            task.abort();
            // Ended by the abort, which is no news.
            drop(task.await);
        }
    }
}
