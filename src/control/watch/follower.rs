//! Follows one reference: pulls what it names, has it loaded beside what serves, and hands it to a rollout.
//!
//! Acts in an order that never switches blindly: traffic is pinned to the version that serves before another is loaded
//! beside it, and the rollout begins when both are ready and the reference still names that version. Every step may be
//! repeated: after a failure, or a restart, it is decided anew from what is declared and what is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_api::{ControlCalls, TrafficStanding};
use hanok_registry::Hold;
use hanok_sources::{WatchEvent, WatchPlan, watch};
use tokio::sync::{Notify, mpsc};

use super::declaration::RolloutTemplate;
use super::failure::Failure;
use super::model_place::{Brought, ModelPlace, Wanted};
use super::step::{Step, step, undeclared};
use crate::pulling::{Pulled, WantedContent};
use crate::settings::Watched;

/// The author of what a watch declares.
const AUTHOR: &str = "watch";
/// Pause after the first failure; it doubles up to the longest of the plan.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest wait for the answer to what the reference names now.
const LOOK: Duration = Duration::from_secs(10);

/// Follows one reference.
pub(super) struct Follower {
    pub(super) watched: Watched,
    pub(super) place: ModelPlace,
    pub(super) control: ControlCalls,
    pub(super) template: Arc<RolloutTemplate>,
    pub(super) plan: WatchPlan,
    pub(super) nudge: Arc<Notify>,
}

impl Follower {
    /// Loads what lies in the repository where nothing else does, so that it need not wait for anybody. Then pins traffic to
    /// the version that serves where several are loaded and nothing is declared any more: without that the
    /// highest would serve, which may be a candidate.
    pub(super) async fn settle(&self) {
        self.place.load_what_lies_there().await;
        let (model, ready) = (self.watched.model.as_str(), self.place.ready());
        let Some(named) = self.place.named().filter(|_| ready.len() > 1) else { return };
        let pinned = async {
            let declared = self.control.traffic_of(model).await?.is_some();
            if let Some(version) = undeclared(&ready, Some(&named), model)?.filter(|_| !declared) {
                self.control.apply(self.template.pinned(model, version), AUTHOR).await?;
                tracing::warn!(
                    model,
                    version,
                    "several versions are loaded and no traffic was declared: this one gets all of it"
                );
            }
            Ok::<(), Failure>(())
        };
        if let Err(failure) = pinned.await {
            tracing::error!(model, "traffic cannot be pinned to the version that serves: {failure}; it is tried again");
        }
    }

    /// Follows until it is dropped.
    pub(super) async fn run(self) {
        let (sender, mut events) = mpsc::channel(8);
        let reference = self.watched.reference.clone();
        let nudge = Arc::clone(&self.nudge);
        let looking = watch(self.place.puller.sources().clone(), reference, self.plan, None, nudge, sender);
        let acting = async {
            let mut holds = Vec::new();
            let mut seen = false;
            while let Some(event) = events.recv().await {
                if let WatchEvent::Moved { to, .. } = event {
                    self.tell_of(&to);
                    self.until_done(to, seen, &mut holds, &mut events).await;
                    seen = true;
                } else {
                    self.tell(&event);
                }
            }
        };
        tokio::join!(Box::pin(looking), Box::pin(acting));
    }

    fn tell_of(&self, to: &str) {
        tracing::info!(model = self.watched.model, source = %self.watched.reference, to, "the reference names this now");
    }

    fn tell(&self, event: &WatchEvent) {
        let (model, source) = (self.watched.model.as_str(), &self.watched.reference);
        match event {
            WatchEvent::Moved { .. } => {}
            WatchEvent::Removed { from } => {
                tracing::warn!(model, %source, from, "the reference names nothing any more; what serves goes on serving");
            }
            WatchEvent::Blind(error) => {
                tracing::warn!(model, %source, %error, "the reference cannot be looked at; what serves goes on serving");
            }
            WatchEvent::Sighted => tracing::info!(model, %source, "the reference can be looked at again"),
        }
    }

    /// Tries until the version that is named is in service, with growing pauses; another move of the reference ends a pause,
    /// and a pull.
    async fn until_done(
        &self,
        to: String,
        moved: bool,
        holds: &mut Vec<Hold>,
        events: &mut mpsc::Receiver<WatchEvent>,
    ) {
        let (mut to, mut moved, mut pause) = (to, moved, FIRST_PAUSE);
        loop {
            let begun = Instant::now();
            let failure = match Box::pin(self.follow(&to, moved, holds, events)).await {
                Ok(done) => {
                    let milliseconds = begun.elapsed().as_millis();
                    tracing::info!(model = self.watched.model, milliseconds, "{done}");
                    let repository = Arc::clone(&self.place.repository);
                    // Nobody waits for it.
                    drop(tokio::task::spawn_blocking(move || repository.release_loading_memory()));
                    return;
                }
                Err(Failure::Overtaken(now)) => {
                    tracing::info!(
                        model = self.watched.model,
                        was = to,
                        "what the reference named is not brought into service"
                    );
                    self.tell_of(&now);
                    (to, moved, pause) = (now, true, FIRST_PAUSE);
                    continue;
                }
                Err(failure) => failure,
            };
            tracing::error!(
                model = self.watched.model, source = %self.watched.reference, again_in_seconds = pause.as_secs(),
                "what the reference names is not in service: {failure}; what serves goes on serving"
            );
            match tokio::time::timeout(pause, self.next_move(events)).await {
                Err(_) => pause = (pause * 2).min(self.plan.longest_pause),
                Ok(Some(now)) => {
                    self.tell_of(&now);
                    (to, moved, pause) = (now, true, FIRST_PAUSE);
                }
                Ok(None) => return,
            }
        }
    }

    /// Waits until the reference names something else; `None`: nobody looks any more.
    async fn next_move(&self, events: &mut mpsc::Receiver<WatchEvent>) -> Option<String> {
        loop {
            match events.recv().await? {
                WatchEvent::Moved { to, .. } => return Some(to),
                event => self.tell(&event),
            }
        }
    }

    /// Brings what the reference names into service, or finds that it is. `moved`: it named something else before.
    async fn follow(
        &self,
        to: &str,
        moved: bool,
        holds: &mut Vec<Hold>,
        events: &mut mpsc::Receiver<WatchEvent>,
    ) -> Result<String, Failure> {
        let model = self.watched.model.as_str();
        let pulled = tokio::select! {
            pulled = Box::pin(self.place.puller.pull(&self.watched.reference, model, WantedContent::default())) => pulled?,
            // What was fetched waits for the next attempt.
            Some(now) = self.next_move(events) => return Err(Failure::Overtaken(now)),
        };
        let version = pulled.version.name.number;
        let standing = self.control.traffic_of(model).await?;
        let ready = self.place.ready();
        match step(standing.as_ref(), &ready, self.place.named().as_deref(), model, version)? {
            Step::First => {
                let base = self.place.fitting(&pulled, version).await?;
                let brought = self.place.bring(&pulled, &base, Wanted { versions: &[version], only: true }).await?;
                *holds = self.keep_if_named(to, brought).await?;
                self.control.apply(self.template.pinned(model, version), AUTHOR).await?;
                Ok(format!("version {version} ({}) serves: the first of this model", pulled.pinned))
            }
            Step::Serves { abort } => {
                if let Some(rollout) = abort {
                    self.control.abort(&rollout, AUTHOR).await?;
                }
                let base = self.place.fitting(&pulled, version).await?;
                let wanted = Wanted { versions: &[version], only: !ready.contains(&version) };
                *holds = self.place.keep(self.place.bring(&pulled, &base, wanted).await?)?;
                Ok(format!("version {version} ({}) serves", pulled.pinned))
            }
            Step::Introduced { baseline, over: None } => {
                let base = self.place.fitting(&pulled, baseline).await?;
                let wanted = Wanted { versions: &[baseline, version], only: false };
                *holds = self.place.keep(self.place.bring(&pulled, &base, wanted).await?)?;
                Ok(format!("the rollout of version {version} ({}) is under way", pulled.pinned))
            }
            Step::Introduced { baseline, over: Some(rollout) } => {
                if !moved {
                    return Ok(format!("version {version} ({}) was not taken over by its rollout", pulled.pinned));
                }
                // Somebody pointed here again: that asks for another try.
                self.control.withdraw(&rollout, AUTHOR).await?;
                self.introduce(to, &pulled, standing, baseline, holds).await
            }
            Step::Introduce { baseline, abort } => {
                if let Some(rollout) = abort {
                    self.control.abort(&rollout, AUTHOR).await?;
                }
                self.introduce(to, &pulled, standing, baseline, holds).await
            }
        }
    }

    async fn introduce(
        &self,
        to: &str,
        pulled: &Pulled,
        standing: Option<TrafficStanding>,
        baseline: u64,
        holds: &mut Vec<Hold>,
    ) -> Result<String, Failure> {
        let model = self.watched.model.as_str();
        let version = pulled.version.name.number;
        let base = self.place.fitting(pulled, baseline).await?;
        // Before anything is touched: the download may have taken long.
        self.still_names(to).await?;
        let standing = match standing {
            Some(standing) => standing,
            None => {
                self.control.apply(self.template.pinned(model, baseline), AUTHOR).await?;
                let standing = self.control.traffic_of(model).await?;
                standing.ok_or_else(|| "the traffic that was declared is not there".to_owned())?
            }
        };
        let wanted = Wanted { versions: &[baseline, version], only: true };
        let brought = self.place.bring(pulled, &base, wanted).await?;
        *holds = self.keep_if_named(to, brought).await?;
        self.control.apply(self.template.introduced(&standing, baseline, version), AUTHOR).await?;
        self.place.tidy(&[baseline, version]).await;
        Ok(format!("the rollout of version {version} ({}) begins, from version {baseline}", pulled.pinned))
    }

    /// Keeps what was brought if the reference still names it; else it is taken back.
    async fn keep_if_named(&self, to: &str, brought: Brought) -> Result<Vec<Hold>, Failure> {
        match self.still_names(to).await {
            Ok(()) => self.place.keep(brought),
            Err(failure) => {
                self.place.take_back().await?;
                Err(failure)
            }
        }
    }

    async fn still_names(&self, to: &str) -> Result<(), Failure> {
        let looked =
            tokio::time::timeout(LOOK, Box::pin(self.place.puller.sources().current(&self.watched.reference))).await;
        let now = looked.map_err(|_| {
            let seconds = LOOK.as_secs();
            format!("nobody says within {seconds} seconds whether the reference still names that; it is asked again (timed-out)")
        })?;
        let now = now.map_err(|error| Failure::Pull(error.into()))?;
        if now == to { Ok(()) } else { Err(Failure::Overtaken(now)) }
    }
}
