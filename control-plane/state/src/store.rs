//! The handle that everybody holds: it checks, queues, and hands back the answer to come.
//!
//! Calls are run by one named thread in the order in which they were made. Cloning the handle is cheap.

mod outcomes;
mod records;
mod resources;

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::engine::sqlite::SqliteEngine;
use crate::engine::{Access, Engine};
use crate::error::{EngineFailure, StateError};
use crate::outcome::OutcomeWindow;
use crate::pending::Pending;
use crate::served_buffer::ServedBuffer;
use crate::sql::Sql;
use crate::writer::{Answer, Job, Work, Writer};

/// Bounds of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Most calls that wait; beyond, calls are refused with `Unavailable`.
    pub queue_calls: usize,
    /// Most served requests that wait for their flush; beyond, they are refused and counted.
    pub served_buffer_rows: usize,
    /// So many buffered rows are flushed at once, before their time.
    pub served_flush_rows: usize,
    /// Longest time that a served request waits for its flush: what a kill can lose.
    pub served_flush_interval: Duration,
    /// What the join of outcomes remembers.
    pub window: OutcomeWindow,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            queue_calls: 1_024,
            served_buffer_rows: 65_536,
            served_flush_rows: 4_096,
            served_flush_interval: Duration::from_millis(200),
            window: OutcomeWindow::default(),
        }
    }
}

/// The durable store of the control plane.
///
/// Every method checks its arguments, queues the call and returns at once with a [`Pending`] answer; none blocks. An
/// answer without an error means that the change is on the disk: it survives `kill -9` and the loss of power. The one
/// exception says so: [`record_served`](Self::record_served). Calls that are refused change nothing, and a call is
/// either done whole or not at all.
///
/// All methods may answer `Unavailable` (queue full, closed, database unreachable or busy), `ResourceExhausted` (disk
/// full), `OutcomeUnknown` (the disk or the connection failed during a commit) and `Internal`, beside the codes they
/// name.
#[derive(Clone)]
pub struct StateStore {
    shared: Arc<Shared>,
}

struct Shared {
    jobs: SyncSender<Job>,
    buffer: Arc<ServedBuffer>,
    settings: StoreSettings,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl StateStore {
    /// Opens the embedded store in the file `path`, or makes it (mode 0600), and brings it to this version's layout.
    ///
    /// Beside it appear `-wal`, `-shm` and `.lock`. Blocks for the disk, and for as long as it takes to read what a
    /// killed process left in the log; call it at start-up.
    ///
    /// # Errors
    /// `Unavailable`: another process uses it. `Unsupported`: read-only, written by a newer version, or a database of
    /// something else. `Internal`: damaged. `ResourceExhausted`: disk full. The operator's detail says more.
    pub fn open_sqlite(path: &Path, settings: StoreSettings) -> Result<Self, StateError> {
        Self::start(Box::new(SqliteEngine::open(path)?), settings)
    }

    /// Connects to a PostgreSQL server (12 or newer) that several replicas share, and makes or migrates the tables in
    /// `schema` (1 to 63 of `a`-`z`, `0`-`9`, `_`).
    ///
    /// `connection` is a URL or a `key=value` text as libpq reads it. The connection is not encrypted. A lost connection
    /// is made anew by the next call. Blocks for the network; call it at start-up, not on a thread of a tokio runtime.
    ///
    /// # Errors
    /// `InvalidArgument`: not a connection string or a schema name. `Unavailable`: the server cannot be reached.
    /// `Unsupported`: a standby, a newer layout, or a server that runs without `fsync` or `full_page_writes` or not in
    /// UTF-8.
    #[cfg(feature = "postgres")]
    pub fn connect_postgres(connection: &str, schema: &str, settings: StoreSettings) -> Result<Self, StateError> {
        Self::start(Box::new(crate::engine::postgres::PostgresEngine::open(connection, schema)?), settings)
    }

    fn start(engine: Box<dyn Engine>, settings: StoreSettings) -> Result<Self, StateError> {
        let (sender, jobs) = sync_channel(settings.queue_calls.max(1));
        let buffer = Arc::new(ServedBuffer::new(settings.served_buffer_rows));
        let writer = Writer {
            engine,
            jobs,
            buffer: Arc::clone(&buffer),
            window: settings.window,
            flush_interval: settings.served_flush_interval,
            flush_rows: settings.served_flush_rows,
        };
        let thread = std::thread::Builder::new()
            .name("state-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StateError::Engine(EngineFailure::Internal, error.to_string().into()))?;
        Ok(Self { shared: Arc::new(Shared { jobs: sender, buffer, settings, thread: Mutex::new(Some(thread)) }) })
    }

    /// Flushes what is buffered, closes the database and ends the thread. Calls made before are done first; calls made
    /// after are answered `Closed`. Dropping the last handle does the same and waits for it.
    pub fn close(&self) -> Pending<()> {
        self.queue_answer(Job::Close)
    }

    /// Reads everything and compares it with itself. Takes a time in proportion to the store, during which it does
    /// nothing else.
    ///
    /// # Errors
    /// `Internal` with the first contradiction as the operator's detail.
    pub fn verify(&self) -> Pending<()> {
        self.queue_answer(Job::Verify)
    }

    fn queue_answer(&self, job: impl FnOnce(Answer) -> Job) -> Pending<()> {
        let (sender, pending) = Pending::new();
        match self.queue(job(sender)) {
            Ok(()) => pending,
            Err(error) => Pending::refused(error),
        }
    }

    fn queue(&self, job: Job) -> Result<(), StateError> {
        self.shared.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => StateError::QueueFull { limit: self.shared.settings.queue_calls },
            TrySendError::Disconnected(_) => StateError::Closed,
        })
    }

    /// Queues a call, unless its arguments were refused.
    fn call<A, T>(
        &self,
        access: Access,
        arguments: Result<A, StateError>,
        run: impl FnOnce(&mut dyn Sql, A) -> Result<T, StateError> + Send + 'static,
    ) -> Pending<T>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(error) => return Pending::refused(error),
        };
        let (sender, pending) = Pending::new();
        let call = Call { access, run: Some(move |sql: &mut dyn Sql| run(sql, arguments)), sender, result: None };
        match self.queue(Job::Work(Box::new(call))) {
            Ok(()) => pending,
            Err(error) => Pending::refused(error),
        }
    }

    fn read<A, T>(
        &self,
        arguments: Result<A, StateError>,
        run: impl FnOnce(&mut dyn Sql, A) -> Result<T, StateError> + Send + 'static,
    ) -> Pending<T>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.call(Access::Read, arguments, run)
    }

    fn write<A, T>(
        &self,
        arguments: Result<A, StateError>,
        run: impl FnOnce(&mut dyn Sql, A) -> Result<T, StateError> + Send + 'static,
    ) -> Pending<T>
    where
        A: Send + 'static,
        T: Send + 'static,
    {
        self.call(Access::Write, arguments, run)
    }
}

impl fmt::Debug for StateStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StateStore").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let (sender, _) = oneshot::channel();
        // The thread takes jobs until it ends, so this waits no longer than the queue is; it fails if it has ended.
        drop(self.jobs.send(Job::Close(sender)));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

/// A call with the place for its answer.
struct Call<F, T> {
    access: Access,
    run: Option<F>,
    sender: oneshot::Sender<Result<T, StateError>>,
    result: Option<Result<T, StateError>>,
}

impl<F, T> Work for Call<F, T>
where
    F: FnOnce(&mut dyn Sql) -> Result<T, StateError> + Send,
    T: Send,
{
    fn access(&self) -> Access {
        self.access
    }

    fn run(&mut self, sql: &mut dyn Sql) -> Result<(), StateError> {
        let Some(run) = self.run.take() else {
            return Ok(());
        };
        let result = run(sql);
        let verdict = result.as_ref().map(|_| ()).map_err(StateError::clone);
        self.result = Some(result);
        verdict
    }

    /// A call's own refusal stands whatever became of the group; its success is one only with the group.
    fn answer(self: Box<Self>, fate: &Result<(), StateError>) {
        let answer = match (self.result, fate) {
            (Some(Err(refusal)), _) => Err(refusal),
            (_, Err(failure)) => Err(failure.clone()),
            (Some(result), Ok(())) => result,
            (None, Ok(())) => Err(StateError::Closed),
        };
        // Whoever asked may have stopped waiting.
        drop(self.sender.send(answer));
    }
}
