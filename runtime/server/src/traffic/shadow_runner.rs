//! Executes copies on one thread of its own, behind a bounded queue, and compares the answers.
//!
//! Nobody waits for it: a copy that finds no room is dropped and counted, one that waited too long too, and one whose
//! candidate has work of its own as well. The thread submits what has come together, so that copies are batched like
//! requests, and then waits for the answers until their deadline. It is started by the first copy.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanok_backend::{InferenceResponse, ServingError};
use hanok_repository::{ModelRepository, ReadyVersion};
use hanok_routing::{ServedVersion, ShadowTarget};
use hanok_scheduler::Submission;
use hanok_shadow::{ComparisonRules, Disagreement, ShadowOutcome, compare};
use tokio::runtime::Handle;

use super::shadow_copies::{ShadowCopy, named};
use super::shadow_statistics::{ComparedCopy, Shadow, ShadowReport, ShadowStatistics};

/// Copies that wait at most.
const WAITING: usize = 256;
/// Copies that are submitted before the first answer is waited for.
const TOGETHER: usize = 32;
/// Age at which a copy is not worth executing any more.
const MOST_AGE: Duration = Duration::from_millis(500);
/// Time that a candidate has for an answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Who executes copies. Dropping it ends its thread after the copies in execution.
#[derive(Debug)]
pub struct ShadowRunner {
    repository: Arc<ModelRepository>,
    timers: Handle,
    statistics: Arc<ShadowStatistics>,
    /// `None` within when it could not be started.
    worker: OnceLock<Option<Worker>>,
}

#[derive(Debug)]
struct Worker {
    queue: SyncSender<ShadowCopy>,
    thread: JoinHandle<()>,
}

impl ShadowRunner {
    pub(super) fn new(repository: Arc<ModelRepository>, timers: Handle) -> Self {
        Self { repository, timers, statistics: Arc::new(ShadowStatistics::new()), worker: OnceLock::new() }
    }

    /// Takes a copy, or drops and counts it. Never blocks.
    pub(crate) fn offer(&self, copy: ShadowCopy) {
        let refused = match self.worker.get_or_init(|| self.start()) {
            Some(worker) => worker.queue.try_send(copy),
            None => Err(TrySendError::Disconnected(copy)),
        };
        if let Err(TrySendError::Full(copy) | TrySendError::Disconnected(copy)) = refused {
            self.statistics.dropped(&copy.targets, ShadowOutcome::Dropped);
        }
    }

    fn start(&self) -> Option<Worker> {
        let (queue, copies) = sync_channel(WAITING);
        let (repository, statistics) = (Arc::clone(&self.repository), Arc::clone(&self.statistics));
        let timers = self.timers.clone();
        let started = std::thread::Builder::new()
            .name("hanok-shadow".to_owned())
            .spawn(move || run(&copies, &repository, &statistics, &timers));
        match started {
            Ok(thread) => Some(Worker { queue, thread }),
            Err(error) => {
                tracing::error!(%error, "no thread for the shadow copies: none is executed");
                None
            }
        }
    }

    /// Sets the comparisons that traffic tables name; a name that is not here compares by the default rules.
    pub fn set_comparisons(&self, comparisons: BTreeMap<String, ComparisonRules>) {
        self.statistics.set_comparisons(comparisons);
    }

    /// Takes up to `most` verdicts, oldest first. Verdicts that nobody takes are dropped when 16,384 wait.
    #[must_use]
    pub fn take_verdicts(&self, most: usize) -> Vec<ComparedCopy> {
        self.statistics.take_verdicts(most)
    }

    /// Verdicts that nobody took in time, since the start.
    #[must_use]
    pub fn lost_verdicts(&self) -> u64 {
        self.statistics.lost_verdicts()
    }

    /// What is known of every shadow.
    #[must_use]
    pub fn reports(&self, examples: usize) -> Vec<ShadowReport> {
        self.statistics.reports(examples)
    }
}

impl Drop for ShadowRunner {
    fn drop(&mut self) {
        let Some(Worker { queue, thread }) = self.worker.take().flatten() else { return };
        drop(queue);
        if thread.join().is_err() {
            tracing::error!("the thread of the shadow copies ended by a panic");
        }
    }
}

/// A copy that is being executed by one candidate.
struct Running {
    copy: Arc<ShadowCopy>,
    shadow: Arc<Shadow>,
    candidate: Arc<ReadyVersion>,
    submission: Submission,
}

fn run(copies: &Receiver<ShadowCopy>, repository: &ModelRepository, statistics: &ShadowStatistics, timers: &Handle) {
    loop {
        let first = match copies.recv_timeout(Duration::from_secs(3600)) {
            Ok(copy) => copy,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let deadline = Instant::now() + DEADLINE;
        let mut running = Vec::new();
        for copy in std::iter::once(first).chain(copies.try_iter().take(TOGETHER - 1)) {
            submit(copy, repository, statistics, deadline, &mut running);
        }
        for Running { copy, shadow, candidate, submission } in running {
            let answer = match submission {
                Submission::Done(answer) => answer,
                Submission::Pending(answer) => timers
                    .block_on(async { tokio::time::timeout_at(deadline.into(), answer).await })
                    .unwrap_or_else(|_| Err(ServingError::unavailable("the candidate did not answer in time"))),
            };
            judge(&copy, &shadow, &candidate, answer, statistics);
        }
    }
}

fn submit(
    copy: ShadowCopy,
    repository: &ModelRepository,
    statistics: &ShadowStatistics,
    deadline: Instant,
    running: &mut Vec<Running>,
) {
    if copy.made.elapsed() > MOST_AGE {
        statistics.dropped(&copy.targets, ShadowOutcome::Expired);
        return;
    }
    let copy = Arc::new(copy);
    for target in copy.targets.iter() {
        let Some(shadow) = statistics.shadow(target) else { continue };
        let Some(candidate) = ready(repository, target) else {
            fail(&copy, &shadow, 0, statistics);
            continue;
        };
        // What the candidate has been given by this thread is in execution too; more than that is somebody else's.
        let own = running.iter().filter(|one| Arc::ptr_eq(&one.candidate, &candidate)).count();
        if candidate.scheduler.in_flight() > own {
            shadow.counters.count(ShadowOutcome::Dropped);
            continue;
        }
        match copy.request_for(&candidate.config, deadline) {
            Ok(request) if !candidate.config.decoupled => {
                let submission = candidate.scheduler.submit(request);
                running.push(Running { copy: Arc::clone(&copy), shadow, candidate, submission });
            }
            _ => fail(&copy, &shadow, candidate.version, statistics),
        }
    }
}

fn ready(repository: &ModelRepository, target: &ShadowTarget) -> Option<Arc<ReadyVersion>> {
    let number = if let ServedVersion::Number(number) = target.version { Some(number) } else { None };
    repository.ready().version(&target.model, number).ok()
}

/// The candidate failed where the primary answered: counted apart, and a disagreement to who judges.
fn fail(copy: &ShadowCopy, shadow: &Shadow, version: u64, statistics: &ShadowStatistics) {
    shadow.counters.count(ShadowOutcome::CandidateFailed);
    statistics.offer(verdict(copy, shadow, version, false));
}

fn verdict(copy: &ShadowCopy, shadow: &Shadow, version: u64, agreed: bool) -> ComparedCopy {
    ComparedCopy {
        request_id: copy.request.id.clone(),
        target: Arc::clone(&shadow.target),
        candidate_version: version,
        agreed,
        sticky_key_hash: copy.sticky_key_hash,
        at_microseconds: epoch_microseconds(),
    }
}

fn judge(
    copy: &ShadowCopy,
    shadow: &Shadow,
    candidate: &ReadyVersion,
    answer: Result<InferenceResponse, ServingError>,
    statistics: &ShadowStatistics,
) {
    let Ok(answer) = answer else { return fail(copy, shadow, candidate.version, statistics) };
    let primary = named(&copy.primary.config, &copy.answer);
    // The client may have asked for some outputs only; the candidate gave all.
    let mut theirs = named(&candidate.config, &answer.outputs);
    theirs.retain(|output| primary.iter().any(|ours| ours.name == output.name));
    let comparison = compare(&shadow.rules, &primary, &theirs);
    let agreed = comparison.agrees();
    shadow.counters.record(&comparison);
    if !agreed {
        let versions = (copy.primary.version, candidate.version);
        let example = Disagreement::new(&copy.request.id, epoch_microseconds(), versions, comparison);
        shadow.examples.lock().keep(example, &copy.inputs(), &primary, &theirs);
    }
    statistics.offer(verdict(copy, shadow, candidate.version, agreed));
}

fn epoch_microseconds() -> u64 {
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(epoch.as_micros()).unwrap_or(u64::MAX)
}
