//! The thread that looks at the place of declarations, and how others make it look.
//!
//! A named thread of its own that drives one future on the caller's tokio runtime: reading declarations is much work at once.
//! Whatever may hang is waited for, never done here, so that the thread ends when it is told to. Reasons to look are joined:
//! however many come while it looks, it looks once more.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::desk::Desk;
use super::status::{DeclaredStatus, StatusBoard};
use crate::controller::ControlHandle;
use crate::settings::{Clock, DeclaredSettings};
use crate::start::StartError;

/// Most orders that wait.
const QUEUED_ORDERS: usize = 16;

/// Somebody wants what is declared to be in force now.
struct Order {
    author: String,
    done: oneshot::Sender<()>,
}

/// Makes the thread look, and tells what it saw.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredHandle {
    wake: Arc<Notify>,
    orders: mpsc::Sender<Order>,
    board: Arc<StatusBoard>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Order")
    }
}

impl DeclaredHandle {
    /// Looks soon. Does not wait; what is told here is a reason to look and nothing else, so that anybody who may be believed
    /// to have one may call it, a webhook too.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    /// Looks now, and puts in force what is declared, also where it would only be told or the kill switch holds the table.
    /// `None`: too many orders wait, or the thread has ended.
    pub(crate) async fn sync(&self, author: String) -> Option<Arc<DeclaredStatus>> {
        let (done, finished) = oneshot::channel();
        self.orders.try_send(Order { author, done }).ok()?;
        finished.await.ok()?;
        Some(self.board.read())
    }

    /// What the last look gave.
    pub(crate) fn status(&self) -> Arc<DeclaredStatus> {
        self.board.read()
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct DeclaredThread {
    handle: DeclaredHandle,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl DeclaredThread {
    pub(crate) fn start(
        settings: DeclaredSettings,
        control: ControlHandle,
        clock: Clock,
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        let board = Arc::new(StatusBoard::default());
        let (orders, waiting) = mpsc::channel(QUEUED_ORDERS);
        let (stop, stopped) = watch::channel(false);
        let wake = Arc::new(Notify::new());
        let handle = DeclaredHandle { wake: Arc::clone(&wake), orders, board: Arc::clone(&board) };
        let runtime = runtime.clone();
        let thread = std::thread::Builder::new()
            .name("declared-source".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    run(Desk::new(settings, control, clock, board), waiting, &wake, stopped).await
                });
            })
            .map_err(|source| StartError::System { what: "thread `declared-source`", source })?;
        Ok(Self { handle, stop, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn handle(&self) -> DeclaredHandle {
        self.handle.clone()
    }

    /// Ends the thread, whatever it waits for, and joins it.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It ends at once; joining is short but blocks.
            drop(tokio::task::spawn_blocking(move || thread.join()).await);
        }
    }
}

async fn run(mut desk: Desk, mut waiting: mpsc::Receiver<Order>, wake: &Notify, mut stopped: watch::Receiver<bool>) {
    let mut next = Instant::now();
    loop {
        let order = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            order = waiting.recv() => match order {
                Some(order) => Some(order),
                None => return,
            },
            () = wake.notified() => None,
            () = sleep_until(next) => None,
        };
        let author = order.as_ref().map(|order| order.author.clone());
        let pause = tokio::select! {
            biased;
            _ = stopped.changed() => return,
            pause = desk.look(author) => pause,
        };
        next = Instant::now() + pause;
        if let Some(order) = order {
            // Whoever ordered may have stopped waiting.
            order.done.send(()).ok();
        }
    }
}
