//! The controller's thread, and how others call it.
//!
//! A named thread of its own that drives one future on the caller's tokio runtime: judging is work for a processor, and
//! must not sit between requests. Calls wait in a bounded queue; a tick takes its turn among them.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use hanok_rollout::rollout::Command as RolloutCommand;
use hanok_state::CloudEvent;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::apply::ApplyRequest;
use super::error::ControlError;
use super::reconciling::Compared;
use super::state::Controller;
use super::views::View;
use crate::declared::Declared;
use crate::start::StartError;

/// Most calls that wait.
const QUEUED_CALLS: usize = 256;

type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// A call.
enum Call {
    Apply(Box<ApplyRequest>, Reply<Value>),
    KillSwitch(String, Reply<Value>),
    Order(String, RolloutCommand, String, Reply<Value>),
    View(View, Reply<Value>),
    Compare(String, Vec<Declared>, Reply<Compared>),
    Taken(String, Reply<Option<Vec<Declared>>>),
    Note(Box<CloudEvent>, Reply<()>),
    Tick(Reply<()>),
    Stop(Reply<()>),
}

/// Calls the controller.
#[derive(Clone)]
pub(crate) struct ControlHandle {
    calls: mpsc::Sender<Call>,
}

impl std::fmt::Debug for ControlHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ControlHandle")
    }
}

impl ControlHandle {
    async fn call<T>(&self, make: impl FnOnce(Reply<T>) -> Call) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.calls.try_send(make(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ControlError::Busy,
            mpsc::error::TrySendError::Closed(_) => ControlError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ControlError::Stopped))
    }

    pub(crate) async fn apply(&self, request: ApplyRequest) -> Result<Value, ControlError> {
        self.call(|reply| Call::Apply(Box::new(request), reply)).await
    }

    pub(crate) async fn kill_switch(&self, author: String) -> Result<Value, ControlError> {
        self.call(|reply| Call::KillSwitch(author, reply)).await
    }

    pub(crate) async fn order(
        &self,
        name: String,
        order: RolloutCommand,
        author: String,
    ) -> Result<Value, ControlError> {
        self.call(|reply| Call::Order(name, order, author, reply)).await
    }

    pub(crate) async fn view(&self, view: View) -> Result<Value, ControlError> {
        self.call(|reply| Call::View(view, reply)).await
    }

    pub(crate) async fn compare(&self, place: &str, resources: Vec<Declared>) -> Result<Compared, ControlError> {
        self.call(|reply| Call::Compare(place.to_owned(), resources, reply)).await
    }

    pub(crate) async fn taken(&self, place: &str) -> Result<Option<Vec<Declared>>, ControlError> {
        self.call(|reply| Call::Taken(place.to_owned(), reply)).await
    }

    pub(crate) async fn note(&self, event: CloudEvent) -> Result<(), ControlError> {
        self.call(|reply| Call::Note(Box::new(event), reply)).await
    }

    pub(crate) async fn tick(&self) {
        // A controller that has stopped has nothing left to do.
        drop(self.call(Call::Tick).await);
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct ControlThread {
    handle: ControlHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ControlThread {
    pub(crate) fn start(controller: Controller, runtime: &Handle) -> Result<Self, StartError> {
        let (calls, waiting) = mpsc::channel(QUEUED_CALLS);
        let runtime = runtime.clone();
        let thread = std::thread::Builder::new()
            .name("control-plane".to_owned())
            .spawn(move || runtime.block_on(run(controller, waiting)))
            .map_err(|source| StartError::System { what: "thread `control-plane`", source })?;
        Ok(Self { handle: ControlHandle { calls }, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn handle(&self) -> ControlHandle {
        self.handle.clone()
    }

    /// Ends the thread and waits for it.
    pub(crate) async fn stop(&self) {
        // If it has stopped already there is nothing to wait for.
        drop(self.handle.call(Call::Stop).await);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has answered, so it ends now; joining is short but blocks.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

async fn run(mut controller: Controller, mut waiting: mpsc::Receiver<Call>) {
    let mut ticks = tokio::time::interval(controller.settings.tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let call = tokio::select! {
            biased;
            // Calls may not starve the ticks: a verdict that is due goes first.
            _ = ticks.tick() => { controller.tick().await; continue }
            call = waiting.recv() => call,
        };
        // Whoever asked may have stopped waiting.
        match call {
            Some(Call::Apply(request, reply)) => drop(reply.send(controller.apply(*request).await)),
            Some(Call::KillSwitch(author, reply)) => drop(reply.send(controller.kill_switch(&author).await)),
            Some(Call::Order(name, order, author, reply)) => {
                drop(reply.send(controller.order(&name, order, &author).await));
            }
            Some(Call::View(view, reply)) => drop(reply.send(controller.view(view).await)),
            Some(Call::Compare(place, resources, reply)) => {
                drop(reply.send(controller.compare(&place, resources).await));
            }
            Some(Call::Taken(place, reply)) => drop(reply.send(controller.taken(&place).await)),
            Some(Call::Note(event, reply)) => drop(reply.send(controller.note(*event).await)),
            Some(Call::Tick(reply)) => {
                controller.tick().await;
                drop(reply.send(Ok(())));
            }
            Some(Call::Stop(reply)) => {
                controller.wind_up().await;
                drop(reply.send(Ok(())));
                return;
            }
            None => return controller.wind_up().await,
        }
    }
}

impl Controller {
    /// The last thing: what is in memory becomes durable, and the lease free.
    async fn wind_up(&mut self) {
        if !self.needs_reload
            && let Err(error) = self.checkpoint().await
        {
            tracing::warn!(%error, "the last checkpoint failed; what it held is read again");
        }
        if let Some(grant) = self.lease.take() {
            // If it cannot be given back it runs out.
            drop(self.store.release_lease(grant).await);
        }
    }
}
