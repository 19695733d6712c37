//! The thread that owns the database: takes calls from a bounded queue and commits them in groups.
//!
//! Calls that wait together share one commit, each behind a savepoint of its own: one that is refused leaves no trace
//! and disturbs no other. Nobody is answered before the commit that holds the call is durable.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::engine::{Access, Engine};
use crate::error::StateError;
use crate::outcome::OutcomeWindow;
use crate::served_buffer::ServedBuffer;
use crate::sql::Sql;
use crate::tables::{consistency, served};

/// Most calls of one group.
const CALLS_PER_GROUP: usize = 64;

/// Most served requests of one group.
const ROWS_PER_GROUP: usize = 16_384;

/// A call as the writer sees it.
pub(crate) trait Work: Send {
    fn access(&self) -> Access;
    /// Runs the statements; `Err` undoes them.
    fn run(&mut self, sql: &mut dyn Sql) -> Result<(), StateError>;
    /// Answers, once it is known what became of the group.
    fn answer(self: Box<Self>, fate: &Result<(), StateError>);
}

/// Where the answer to a job without a result of its own goes.
pub(crate) type Answer = oneshot::Sender<Result<(), StateError>>;

/// What is in the queue.
pub(crate) enum Job {
    /// A call.
    Work(Box<dyn Work>),
    /// The buffer is no longer empty: look at the clock.
    Nudge,
    /// Writes what is buffered at this moment.
    Flush(Answer),
    /// Compares everything with itself.
    Verify(Answer),
    /// Flushes, closes the database and ends.
    Close(Answer),
}

pub(crate) struct Writer {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) buffer: Arc<ServedBuffer>,
    pub(crate) window: OutcomeWindow,
    pub(crate) flush_interval: Duration,
    pub(crate) flush_rows: usize,
}

/// Jobs of one round.
#[derive(Default)]
struct Round {
    works: Vec<Box<dyn Work>>,
    flush: Vec<Answer>,
    verify: Vec<Answer>,
    close: Option<Answer>,
}

impl Writer {
    /// Works until it is told to close, or nobody is left to tell.
    pub(crate) fn run(mut self) {
        loop {
            let mut round = Round::default();
            let ended = self.collect(&mut round);
            if !round.flush.is_empty() {
                let flushed = self.flush_all();
                answer_all(round.flush, &flushed);
            }
            let due = self.buffer_is_due();
            if due || !round.works.is_empty() {
                drop(self.run_group(round.works, due));
            }
            if !round.verify.is_empty() {
                let verified = self.verify();
                answer_all(round.verify, &verified);
            }
            if ended || round.close.is_some() {
                let flushed = self.flush_all();
                drop(self.engine);
                answer_all(round.close, &flushed);
                return;
            }
        }
    }

    fn buffer_is_due(&self) -> bool {
        self.buffer.due_in(self.flush_interval, self.flush_rows).is_some_and(|wait| wait.is_zero())
    }

    /// Waits for the first job or the buffer's time, then takes what else is there. Tells whether the queue has ended.
    fn collect(&self, round: &mut Round) -> bool {
        let first = match self.buffer.due_in(self.flush_interval, self.flush_rows) {
            Some(wait) => self.jobs.recv_timeout(wait),
            None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(job) => round.add(job),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => return true,
        }
        while round.works.len() < CALLS_PER_GROUP && round.close.is_none() {
            match self.jobs.try_recv() {
                Ok(job) => round.add(job),
                Err(_) => break,
            }
        }
        false
    }

    /// Runs one group to its commit and answers everybody in it. Returns what became of the rows.
    fn run_group(&mut self, mut works: Vec<Box<dyn Work>>, flush: bool) -> Result<(), StateError> {
        let mut access = works.iter().map(|work| work.access()).max().unwrap_or(Access::Read);
        let (rows, now) = if flush { self.buffer.take(ROWS_PER_GROUP) } else { Default::default() };
        if !rows.is_empty() {
            access = Access::Write;
        }
        let mut flushed = Ok(());
        let mut fate = self.engine.begin(access);
        if fate.is_ok() && !rows.is_empty() {
            let window = self.window;
            fate = guarded(&mut *self.engine, |sql| {
                flushed = served::record(sql, &rows, &window, now);
                flushed.clone()
            });
        }
        for work in &mut works {
            if fate.is_ok() {
                fate = guarded(&mut *self.engine, |sql| work.run(sql));
            }
        }
        fate = fate.and_then(|()| self.engine.commit());
        if fate.is_err() {
            self.engine.rollback();
        }
        let flushed = fate.clone().and(flushed);
        if flushed.is_ok() {
            self.buffer.written(rows.len());
        } else {
            self.buffer.put_back(rows);
        }
        for work in works {
            work.answer(&fate);
        }
        flushed
    }

    /// Writes what is buffered now, whatever the clock says.
    fn flush_all(&mut self) -> Result<(), StateError> {
        let mut left = self.buffer.counts().0;
        while left > 0 {
            self.run_group(Vec::new(), true)?;
            left = left.saturating_sub(ROWS_PER_GROUP as u64);
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), StateError> {
        self.engine.verify()?;
        self.engine.begin(Access::Read)?;
        let verified = consistency::check(&mut *self.engine);
        self.engine.rollback();
        verified
    }
}

fn answer_all(answers: impl IntoIterator<Item = Answer>, result: &Result<(), StateError>) {
    for answer in answers {
        // Whoever asked may have stopped waiting.
        drop(answer.send(result.clone()));
    }
}

impl Round {
    fn add(&mut self, job: Job) {
        match job {
            Job::Work(work) => self.works.push(work),
            Job::Nudge => {}
            Job::Flush(answer) => self.flush.push(answer),
            Job::Verify(answer) => self.verify.push(answer),
            Job::Close(answer) => self.close = Some(answer),
        }
    }
}

/// Runs a call behind a savepoint. `Err` if the whole transaction is lost, not if only the call was refused.
fn guarded(
    engine: &mut dyn Engine,
    run: impl FnOnce(&mut dyn Sql) -> Result<(), StateError>,
) -> Result<(), StateError> {
    engine.execute("SAVEPOINT call", &[])?;
    let Err(refusal) = run(engine) else {
        return engine.execute("RELEASE SAVEPOINT call", &[]).map(|_| ());
    };
    // Where even this fails, the refusal was the database's, and it took the transaction with it.
    let undone = engine.execute("ROLLBACK TO SAVEPOINT call", &[]);
    undone.and_then(|_| engine.execute("RELEASE SAVEPOINT call", &[])).map(|_| ()).map_err(|_| refusal)
}
