//! One look at the place of declarations and everything that follows from it. Decides nothing: `decision` does.

use std::sync::Arc;
use std::time::Duration;

use hanok_state::{CloudEvent, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::decision::{Cause, Comparison, Decision, Refusal, SETTLE_MILLIS, Seen, Why, Wishes, decide, is_settled};
use super::folder_source::FolderSource;
use super::git::GitSource;
use super::place::DeclaredPlace;
use super::reading::{DeclaredProblem, Reading, check_snapshot};
use super::record::DeclaredOrigin;
use super::snapshot::{LookFailure, Snapshot};
use super::status::{DeclaredState, DeclaredStatus, ReadFacts, SET_BACK_BY_ORDER, StatusBoard};
use crate::controller::{ApplyRequest, ApplySource, Compared, ControlError, ControlHandle, Reconciliation};
use crate::settings::{Clock, DeclaredSettings};

/// Most problems that go into the journal.
const MOST_NOTED: usize = 20;

/// How the place is read.
#[derive(Debug)]
enum Source {
    Folder(FolderSource),
    Git(Box<GitSource>),
}

/// Looks, compares, and puts in force what is declared.
#[derive(Debug)]
pub(super) struct Desk {
    settings: DeclaredSettings,
    source: Source,
    control: ControlHandle,
    clock: Clock,
    board: Arc<StatusBoard>,
    status: DeclaredStatus,
    started: Instant,
    /// Digest of the last look, and since when it has been that.
    before: Option<(String, u64)>,
    /// What the last content is, by its digest.
    known: Option<(String, Result<Reading, Vec<DeclaredProblem>>)>,
    /// A refusal of what is declared, by its digest.
    refusal: Option<(String, Refusal)>,
}

impl Desk {
    pub(super) fn new(
        settings: DeclaredSettings,
        control: ControlHandle,
        clock: Clock,
        board: Arc<StatusBoard>,
    ) -> Self {
        let source = match &settings.place {
            DeclaredPlace::Folder(path) => Source::Folder(FolderSource::new(path.clone())),
            DeclaredPlace::Git(branch) => Source::Git(Box::new(GitSource::new(branch.clone(), &settings.beside))),
        };
        let status = DeclaredStatus {
            place: settings.place.to_string(),
            corrects_drift: settings.correct_drift,
            ..DeclaredStatus::default()
        };
        board.show(status.clone());
        let started = Instant::now();
        Self { settings, source, control, clock, board, status, started, before: None, known: None, refusal: None }
    }

    /// Looks once, and says when to look again.
    pub(super) async fn look(&mut self, ordered_by: Option<String>) -> Duration {
        let looked = match &mut self.source {
            Source::Folder(source) => source.look().await,
            Source::Git(source) => source.look().await,
        };
        self.status.looked_at = Some(self.timestamp().to_string());
        let pause = match looked {
            Ok(snapshot) => self.consider(&snapshot, ordered_by).await,
            Err(failure) => self.unreadable(failure).await,
        };
        self.board.show(self.status.clone());
        pause
    }

    async fn unreadable(&mut self, failure: LookFailure) -> Duration {
        if self.status.failure.as_ref() != Some(&failure) {
            tracing::warn!(place = %self.settings.place, reason = %failure.message, remedy = %failure.remedy,
                "the place of declarations cannot be read; what is in force stays");
        }
        self.stand(DeclaredState::Unreachable, Some(failure.message.clone()));
        self.status.failure = Some(failure);
        self.compare_known().await;
        self.conclude(decide(self.now(), &Seen::Unreachable, None, self.wishes(false)), None)
    }

    async fn consider(&mut self, snapshot: &Snapshot, ordered_by: Option<String>) -> Duration {
        self.status.failure = None;
        self.status.read_at_millis = self.clock.now_millis();
        let now = self.now();
        let settled = match &self.source {
            // A commit is whole; so is what somebody says is.
            Source::Git(_) => true,
            Source::Folder(_) => ordered_by.is_some() || self.settles(snapshot, now),
        };
        let seen_before = self.before.as_ref().is_some_and(|(digest, _)| *digest == snapshot.digest);
        if !seen_before {
            self.before = Some((snapshot.digest.clone(), now));
        }
        if !settled {
            let decision = decide(now, &Seen::Unsettled, None, self.wishes(ordered_by.is_some()));
            return self.conclude(decision, None);
        }
        if self.known.as_ref().is_none_or(|(digest, _)| *digest != snapshot.digest) {
            self.known = Some((snapshot.digest.clone(), check_snapshot(snapshot)));
            self.refusal = None;
        }
        let Some((_, read)) = &self.known else { return self.settings.poll };
        let resources = read.as_ref().ok().map(|reading| Arc::new(reading.resources.clone()));
        self.status.read = Some(ReadFacts {
            digest: snapshot.digest.clone(),
            commit: snapshot.commit.clone(),
            files: snapshot.files().len(),
            resources: resources.as_ref().map(|resources| resources.len()),
        });
        let Some(resources) = resources else {
            let problems = read.as_ref().err().cloned().unwrap_or_default();
            self.broken(snapshot, problems).await;
            self.compare_known().await;
            return self.conclude(decide(now, &Seen::Broken, None, self.wishes(ordered_by.is_some())), None);
        };
        self.status.resources = Some(Arc::clone(&resources));
        self.reconcile(snapshot, &resources, ordered_by).await
    }

    /// Whether the folder has held this for long enough; what was taken before needs no second look.
    fn settles(&self, snapshot: &Snapshot, now: u64) -> bool {
        let taken = self.known.as_ref().is_some_and(|(digest, _)| *digest == snapshot.digest);
        let before = self.before.as_ref().map(|(digest, since)| (digest.as_str(), *since));
        taken || is_settled(now, &snapshot.digest, before)
    }

    async fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        resources: &Arc<Vec<crate::declared::Declared>>,
        ordered_by: Option<String>,
    ) -> Duration {
        let origin = self.origin(snapshot);
        let compared = match self.control.compare(&self.status.place, resources.to_vec()).await {
            Ok(compared) => compared,
            Err(error) => return self.failed(snapshot, &error).await,
        };
        self.compared(&compared);
        let refusal =
            self.refusal.as_ref().filter(|(digest, _)| *digest == snapshot.digest).map(|(_, refusal)| *refusal);
        let seen = Seen::Whole(comparison(&compared, &origin));
        let decision = decide(self.now(), &seen, refusal, self.wishes(ordered_by.is_some()));
        let Decision::Apply(cause) = decision else { return self.conclude(decision, Some(&compared)) };
        let reconciliation = Reconciliation {
            resources: resources.to_vec(),
            cause: cause_text(cause),
            ordered_by,
            origin: origin.clone(),
        };
        let request = ApplyRequest {
            source: ApplySource::Reconciled(Box::new(reconciliation)),
            expected: None,
            idempotency_key: None,
            digest: snapshot.digest.clone(),
            author: origin.author(),
            dry_run: false,
        };
        match self.control.apply(request).await {
            Ok(answer) => {
                let commit = snapshot.commit.as_ref().map(|commit| commit.id.as_str());
                let (revision, cause) = (answer["revision"].as_u64(), cause_text(cause));
                tracing::info!(place = %self.settings.place, revision, commit, cause, "what is declared is in force");
                self.refusal = None;
                // What is in force now is asked again, not assumed.
                match self.control.compare(&self.status.place, resources.to_vec()).await {
                    Ok(compared) => {
                        self.compared(&compared);
                        let seen = Seen::Whole(comparison(&compared, &origin));
                        let decision = decide(self.now(), &seen, None, self.wishes(false));
                        self.conclude(decision, Some(&compared))
                    }
                    Err(error) => self.failed(snapshot, &error).await,
                }
            }
            Err(error) => self.failed(snapshot, &error).await,
        }
    }

    /// The state that a decision to do nothing leaves, and when to look again.
    fn conclude(&mut self, decision: Decision, compared: Option<&Compared>) -> Duration {
        let poll = self.settings.poll;
        match decision {
            // After an apply something may have changed again already: the next look is soon, but not at once, so that two
            // who do not agree do not keep each other busy.
            Decision::Apply(_) => Duration::from_secs(1).min(poll),
            Decision::Leave(Why::InStep) => {
                self.stand(DeclaredState::InStep, None);
                poll
            }
            Decision::Leave(Why::Unsettled) => Duration::from_millis(SETTLE_MILLIS),
            Decision::Leave(Why::Refused(again)) => Duration::from_millis(again.saturating_sub(self.now())).min(poll),
            Decision::Leave(Why::Held) => {
                let reason = "the kill switch holds the table; `hanok declared sync` puts the declaration in force";
                self.stand(DeclaredState::Held, Some(reason.to_owned()));
                poll
            }
            Decision::Leave(Why::DriftOnlyTold) => {
                self.stand(DeclaredState::Drifted, Some(SET_BACK_BY_ORDER.to_owned()));
                poll
            }
            Decision::Leave(Why::NotActing) => {
                let leader = compared.and_then(|compared| compared.other_leader.clone()).unwrap_or_default();
                self.stand(DeclaredState::Standby, Some(format!("another replica acts: `{leader}`")));
                poll
            }
            // Told where they were seen.
            Decision::Leave(Why::Broken | Why::Unreachable) => poll,
        }
    }

    async fn broken(&mut self, snapshot: &Snapshot, problems: Vec<DeclaredProblem>) {
        let reason = format!("the declaration has `{}` problems; what was in force stays", problems.len());
        self.refused(snapshot, DeclaredState::Broken, reason, problems).await;
    }

    /// A call that did not succeed: its problems told by file and line, and tried again later.
    async fn failed(&mut self, snapshot: &Snapshot, error: &ControlError) -> Duration {
        let attempts = self.refusal.as_ref().map_or(0, |(_, refusal)| refusal.attempts).saturating_add(1);
        let refusal = Refusal { attempts, at: self.now() };
        self.refusal = Some((snapshot.digest.clone(), refusal));
        match (error, &self.known) {
            (ControlError::Problems(faults), Some((_, Ok(reading)))) => {
                let problems = reading.located(snapshot, faults);
                let reason = "the declaration cannot be put in force now; what was in force stays".to_owned();
                self.refused(snapshot, DeclaredState::Refused, reason, problems).await;
            }
            (ControlError::NotLeader { holder }, _) => {
                self.stand(DeclaredState::Standby, Some(format!("another replica acts: `{holder}`")));
            }
            (ControlError::Refused(reason), _) => {
                self.refused(snapshot, DeclaredState::Refused, reason.clone(), Vec::new()).await;
            }
            _ => {
                let reason = error.to_string();
                if self.status.reason.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "what is declared could not be put in force; it is tried again");
                }
                self.stand(DeclaredState::Refused, Some(reason));
            }
        }
        let again = decide_again(refusal, self.now());
        again.min(self.settings.poll)
    }

    /// Tells problems once: in the log and in the journal.
    async fn refused(
        &mut self,
        snapshot: &Snapshot,
        state: DeclaredState,
        reason: String,
        problems: Vec<DeclaredProblem>,
    ) {
        let same_reason = self.status.reason.as_ref() == Some(&reason);
        let news = self.status.problems != problems || self.status.state != state || !same_reason;
        self.stand(state, Some(reason.clone()));
        self.status.problems = problems;
        if !news {
            return;
        }
        for problem in self.status.problems.iter().take(MOST_NOTED) {
            tracing::warn!(place = %self.settings.place, "{problem}");
        }
        tracing::warn!(place = %self.settings.place, "{reason}");
        let noted: Vec<_> = self.status.problems.iter().take(MOST_NOTED).collect();
        let data = json!({ "origin": self.origin(snapshot), "reason": reason, "problems": noted });
        let digest = Sha256::digest(data.to_string().as_bytes());
        let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let event = CloudEvent {
            id: format!("refused/{id}"),
            source: "/hanok/declared".to_owned(),
            event_type: "io.hanok.declared.refused".to_owned(),
            subject: snapshot.commit.as_ref().map(|commit| commit.id.clone()),
            time: self.timestamp(),
            data: Some(data),
        };
        if let Err(error) = self.control.note(event).await {
            tracing::debug!(%error, "the refusal is not in the journal");
        }
    }

    fn stand(&mut self, state: DeclaredState, reason: Option<String>) {
        self.status.state = state;
        self.status.reason = reason;
        self.status.problems.clear();
    }

    fn compared(&mut self, compared: &Compared) {
        self.status.differences = compared.changes.len();
        self.status.in_force.clone_from(&compared.record);
    }

    /// Where nothing valid can be read, what was last valid is compared: after a start, what is on record.
    async fn compare_known(&mut self) {
        let place = &self.status.place;
        let comparing = async {
            let known = match &self.status.resources {
                Some(known) => Arc::clone(known),
                None => Arc::new(self.control.taken(place).await?.unwrap_or_default()),
            };
            let compared = self.control.compare(place, known.to_vec()).await?;
            Ok::<_, ControlError>((known, compared))
        };
        match comparing.await {
            Ok((known, compared)) => {
                // Of a place from which nothing was ever taken there is nothing to differ from.
                if compared.record.is_some() {
                    self.compared(&compared);
                    self.status.resources = Some(known);
                }
            }
            Err(error) => tracing::debug!(%error, "what is in force could not be compared"),
        }
    }

    fn origin(&self, snapshot: &Snapshot) -> DeclaredOrigin {
        let (place, digest) = (self.status.place.clone(), snapshot.digest.clone());
        DeclaredOrigin { place, digest, commit: snapshot.commit.clone() }
    }

    const fn wishes(&self, ordered: bool) -> Wishes {
        Wishes { ordered, correct_drift: self.settings.correct_drift }
    }

    /// Milliseconds since this began: waits are not moved by a clock that is set.
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn timestamp(&self) -> Timestamp {
        Timestamp::default().plus_millis(self.clock.now_millis())
    }
}

fn decide_again(refusal: Refusal, now: u64) -> Duration {
    Duration::from_millis(super::decision::retry_at(refusal).saturating_sub(now))
}

fn comparison(compared: &Compared, origin: &DeclaredOrigin) -> Comparison {
    let last = compared.record.as_ref().map(|record| &record.origin);
    Comparison {
        differences: compared.changes.len(),
        taken: last.is_some_and(|last| last.digest == origin.digest),
        same_commit: last == Some(origin),
        held: compared.table.held,
        acting: compared.other_leader.is_none(),
    }
}

const fn cause_text(cause: Cause) -> &'static str {
    match cause {
        Cause::Declared => "declared",
        Cause::Commit => "commit",
        Cause::Drift => "drift",
        Cause::Order => "order",
    }
}
