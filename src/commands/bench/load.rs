//! Runs one level of load on a thread of its own.
//!
//! The thread has a single-threaded runtime, the one exception to "only main starts a runtime": the generator must not
//! share a scheduler with anything, and its cost must be countable. The invariant: nothing outlives the level.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{sleep_until, timeout_at};

use super::arrivals::{Arrivals, Spacing};
use super::connection::{Link, Links, Payload};
use super::process::{ProcessUse, process_use};
use super::recorder::{Failure, Origin, Recorder};
use crate::commands::error::CommandError;

/// How long an open loop waits for answers after its last arrival.
const DRAIN: Duration = Duration::from_secs(10);

/// Pause after a failed connection, so that a server that is down is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// What load is offered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Level {
    /// So many requests are in flight at any time.
    Closed {
        /// Requests in flight.
        concurrency: u32,
    },
    /// Requests arrive by a schedule, answered or not.
    Open {
        /// Requests per second.
        rate: f64,
        /// Their spacing.
        spacing: Spacing,
    },
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { concurrency } => write!(formatter, "concurrency {concurrency}"),
            Self::Open { rate, spacing: Spacing::Poisson } => write!(formatter, "{rate}/s poisson"),
            Self::Open { rate, spacing: Spacing::Constant } => write!(formatter, "{rate}/s constant"),
        }
    }
}

/// One level with all that it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadPlan {
    /// The load.
    pub(super) level: Level,
    /// Time before the window.
    pub(super) warmup: Duration,
    /// The window.
    pub(super) duration: Duration,
    /// Connections.
    pub(super) connections: u32,
    /// Open loop: most requests in flight.
    pub(super) in_flight: u32,
    /// What is in time.
    pub(super) goodput: Option<Duration>,
    /// A server process to watch.
    pub(super) pid: Option<u32>,
    /// Seed of the arrivals.
    pub(super) seed: u64,
}

/// The state of things at an edge of the window.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// When.
    pub(super) at: Instant,
    /// Exchanges answered so far.
    pub(super) answered: u64,
    /// Successes so far.
    pub(super) successes: u64,
    /// Timely successes so far.
    pub(super) good: u64,
    /// The server.
    pub(super) server: Option<ProcessUse>,
    /// This process.
    pub(super) generator: Option<ProcessUse>,
}

/// What came of a level.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Notes.
    pub(super) recorder: Recorder,
    /// Start of the window.
    pub(super) first: Mark,
    /// End of the window.
    pub(super) last: Mark,
}

/// Starts a level; the future gives its outcome. Dropping the future lets the thread end by itself.
///
/// # Errors
/// [`CommandError::Failed`] when no thread or no runtime can be had, or the server process does not exist.
pub(super) fn spawn(
    plan: LoadPlan,
    payload: Payload,
) -> Result<impl Future<Output = Result<Outcome, CommandError>>, CommandError> {
    if let Some(pid) = plan.pid {
        process_use(pid).map_err(CommandError::Input)?;
    }
    let (done, outcome) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("cannot start the load generator: {error}")))?;
    let thread = std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            let result = LocalSet::new().block_on(&runtime, drive(plan, payload));
            // The command may have been interrupted; then nobody waits for the outcome.
            drop(done.send(result));
        })
        .map_err(|error| CommandError::failed(format!("cannot start the load generator: {error}")))?;
    Ok(async move {
        let result = outcome.await;
        if thread.join().is_err() {
            return Err(CommandError::failed("the load generator crashed"));
        }
        result.unwrap_or_else(|_| Err(CommandError::failed("the load generator ended early")))
    })
}

type Notes = Rc<RefCell<Recorder>>;

async fn drive(plan: LoadPlan, payload: Payload) -> Result<Outcome, CommandError> {
    let begin = Instant::now();
    let start = begin + plan.warmup;
    let end = start + plan.duration;
    let recorder = Recorder::new(start, end, plan.goodput)
        .ok_or_else(|| CommandError::failed("cannot make the latency histogram"))?;
    let notes: Notes = Rc::new(RefCell::new(recorder));
    let mut links = Links::new(payload, plan.connections as usize);
    let marks = {
        let notes = Rc::clone(&notes);
        tokio::task::spawn_local(async move {
            sleep_until(start.into()).await;
            let first = mark(&notes, plan.pid);
            sleep_until(end.into()).await;
            (first, mark(&notes, plan.pid))
        })
    };
    match plan.level {
        Level::Closed { concurrency } => closed(concurrency, end, &notes, &mut links).await,
        Level::Open { rate, spacing } => {
            let arrivals = Arrivals::new(rate, spacing, plan.seed);
            open(arrivals, begin, end, plan.in_flight, &notes, &mut links).await?;
        }
    }
    let (first, last) = marks.await.map_err(|_| CommandError::failed("the load generator was stopped"))?;
    let recorder = Rc::try_unwrap(notes).map_err(|_| CommandError::failed("a worker outlived its level"))?.into_inner();
    Ok(Outcome { recorder, first, last })
}

fn mark(notes: &Notes, pid: Option<u32>) -> Mark {
    let server = pid.and_then(|pid| process_use(pid).ok());
    let generator = process_use(std::process::id()).ok();
    let notes = notes.borrow();
    let (answered, successes, good) = (notes.answered, notes.successes, notes.good);
    Mark { at: Instant::now(), answered, successes, good, server, generator }
}

async fn closed(concurrency: u32, end: Instant, notes: &Notes, links: &mut Links) {
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (notes, mut link) = (Rc::clone(notes), links.next());
            tokio::task::spawn_local(async move {
                loop {
                    let from = Instant::now();
                    if from >= end {
                        return;
                    }
                    let broken = exchange(&mut link, &notes, Origin { from, sent: None }).await;
                    if broken {
                        tokio::time::sleep(CONNECT_PAUSE).await;
                    }
                }
            })
        })
        .collect();
    join(workers, end, notes).await;
}

/// One exchange, noted; gives whether the connection broke.
async fn exchange(link: &mut Link, notes: &Notes, origin: Origin) -> bool {
    let outcome = link.exchange().await;
    let broken = outcome.as_ref().is_err_and(|failure| failure.broken);
    notes.borrow_mut().note(origin, Instant::now(), outcome);
    broken
}

/// Waits for workers until the drain time is over; whoever is left then has no answer.
async fn join(workers: Vec<tokio::task::JoinHandle<()>>, end: Instant, notes: &Notes) {
    let limit = (end + DRAIN).into();
    for mut worker in workers {
        if timeout_at(limit, &mut worker).await.is_err() {
            worker.abort();
            drop(worker.await);
            let text = format!("no answer within {} s after the last request", DRAIN.as_secs());
            notes.borrow_mut().note_error(Failure { kind: "unanswered".to_owned(), text, broken: true });
        }
    }
}

/// Arrivals that wait for a worker, oldest first.
#[derive(Debug, Default)]
struct Backlog {
    scheduled: RefCell<VecDeque<Instant>>,
    arrived: Notify,
    ended: std::cell::Cell<bool>,
}

async fn open(
    arrivals: Arrivals,
    begin: Instant,
    end: Instant,
    in_flight: u32,
    notes: &Notes,
    links: &mut Links,
) -> Result<(), CommandError> {
    let backlog = Rc::new(Backlog::default());
    let workers: Vec<_> = (0..in_flight)
        .map(|_| {
            let (notes, backlog, mut link) = (Rc::clone(notes), Rc::clone(&backlog), links.next());
            tokio::task::spawn_local(async move { serve(&backlog, &notes, &mut link).await })
        })
        .collect();
    let (sender, mut received) = mpsc::unbounded_channel();
    let pacer = std::thread::Builder::new()
        .name("pacer".to_owned())
        .spawn(move || pace(arrivals, begin, end, &sender))
        .map_err(|error| CommandError::failed(format!("cannot start the pacing thread: {error}")))?;
    while let Some(instant) = received.recv().await {
        backlog.scheduled.borrow_mut().push_back(instant);
        // The worker that was idle for the shortest time, so that no more connections are opened than needed.
        backlog.arrived.notify_last();
    }
    backlog.ended.set(true);
    backlog.arrived.notify_waiters();
    // Workers between two looks at the backlog take these.
    workers.iter().for_each(|_| backlog.arrived.notify_one());
    join(workers, end, notes).await;
    let left = backlog.scheduled.borrow().len();
    for _ in 0..left {
        let text = "still waiting for a free connection at the end".to_owned();
        notes.borrow_mut().note_error(Failure { kind: "never sent".to_owned(), text, broken: false });
    }
    pacer.join().map_err(|_| CommandError::failed("the pacing thread crashed"))
}

/// Sleeps to each arrival and announces it. A thread, because the runtime's timers tick in milliseconds.
fn pace(arrivals: Arrivals, begin: Instant, end: Instant, sender: &mpsc::UnboundedSender<Instant>) {
    for offset in arrivals {
        let scheduled = begin + offset;
        if scheduled >= end {
            return;
        }
        let now = Instant::now();
        if scheduled > now {
            std::thread::sleep(scheduled - now);
        }
        if sender.send(scheduled).is_err() {
            return;
        }
    }
}

async fn serve(backlog: &Backlog, notes: &Notes, link: &mut Link) {
    loop {
        let next = backlog.scheduled.borrow_mut().pop_front();
        let Some(from) = next else {
            if backlog.ended.get() {
                // The permit may be the last one: pass it on, so that every idle worker sees the end.
                backlog.arrived.notify_one();
                return;
            }
            backlog.arrived.notified().await;
            continue;
        };
        exchange(link, notes, Origin { from, sent: Some(Instant::now()) }).await;
    }
}
