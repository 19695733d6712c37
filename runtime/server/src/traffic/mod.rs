//! Traffic as the server sees it: which version serves a request, what is told about it afterwards, who gets a copy.
//!
//! The table, the split and the pins are `hanok-routing`'s; here a request's facts meet them, decisions meet the versions
//! that are ready, and outcomes leave as observations. The invariants: a model that the table does not name costs one
//! look-up; an arm that is not ready never costs a client its answer while another arm is; nothing here waits.

mod arm_statistics;
mod facts;
mod shadow_copies;
mod shadow_runner;
mod shadow_statistics;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::shadow_copies::ShadowCopy;
use hanok_backend::{ErrorCode, InferenceRequest, InferenceResponse, ParameterValue, Parameters, ServingError};
use hanok_repository::{ModelRepository, ReadyVersion};
use hanok_routing::observation::{Latency, Observation, ObservationReader, ObservationSender, OutcomeKind};
use hanok_routing::observation::{StreamCounts, observation_stream};
use hanok_routing::{
    Arm, Decision, Reason, RequestFacts, RequestNumbers, RequestedVersion, Router, SequenceFact, ServedVersion,
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

pub use arm_statistics::{ArmCounts, ArmStatistics};
pub(crate) use facts::{MessageFacts, RequestHead};
pub use shadow_runner::ShadowRunner;
pub use shadow_statistics::{ComparedCopy, ShadowReport};

/// Observations of one thread that wait for their reader at most; those beyond are dropped and counted. Few enough that
/// the ring stays in a core's cache, enough for ten times a core's requests between two looks of the reader.
const OBSERVATIONS: usize = 1 << 13;

/// The time since the epoch.
pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The traffic of one process.
pub struct Traffic {
    router: Router,
    numbers: RequestNumbers,
    started: Instant,
    repository: Arc<ModelRepository>,
    arms: ArmStatistics,
    /// Made when somebody wants to read: its memory is taken at once.
    observations: OnceLock<ObservationSender>,
    shadows: ShadowRunner,
    /// Header by which a proxy in front tells who was authenticated; in lower case.
    identity_header: Option<String>,
    /// Write metrics of those above this runtime.
    further_metrics: Mutex<Vec<MetricsText>>,
}

/// Writes families in Prometheus' text format.
type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

impl std::fmt::Debug for Traffic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Traffic").field("table", &self.router.tables().version()).finish_non_exhaustive()
    }
}

/// A version that serves a request, and why it does.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    /// Who serves.
    pub(crate) ready: Arc<ReadyVersion>,
    /// What the table decided; `None` for a model that it does not name.
    pub(crate) decision: Option<Decision>,
}

impl Routed {
    /// A request outside any split.
    pub(crate) const fn direct(ready: Arc<ReadyVersion>) -> Self {
        Self { ready, decision: None }
    }

    /// The model's name in the reply: the one that the client asked for.
    pub(crate) fn public_model(&self) -> &str {
        self.arm().map_or(&self.ready.model, |arm| &arm.public_model)
    }

    /// The arm that serves, if any.
    pub(crate) fn arm(&self) -> Option<&Arc<Arm>> {
        self.decision.as_ref()?.arm.as_ref()
    }

    /// The arm to tell the client of, where the table says so.
    pub(crate) fn told_arm(&self) -> Option<&Arc<Arm>> {
        self.decision.as_ref().filter(|decision| decision.tell)?.arm.as_ref()
    }

    /// The request again, where somebody shadows it: its tensors by reference.
    pub(crate) fn shadowed(&self, request: &InferenceRequest) -> Option<InferenceRequest> {
        let decision = self.decision.as_ref()?;
        // A candidate must not write where the client reads, and what the client lent may be other bytes by then.
        if request.regions.is_some() {
            return None;
        }
        (!decision.shadows.is_empty()).then(|| request.clone())
    }

    /// Says in the reply who served, where the table says so.
    pub(crate) fn tell(&self, parameters: &mut Parameters) {
        if let Some(arm) = self.told_arm() {
            parameters.push(("hanok_arm".into(), ParameterValue::String(arm.name.clone())));
            let version = i64::try_from(self.ready.version).unwrap_or(i64::MAX);
            parameters.push(("hanok_version".into(), ParameterValue::Int(version)));
        }
    }
}

/// What became of a request, for its observation.
pub(crate) struct Ending {
    pub(crate) outcome: OutcomeKind,
    pub(crate) latency: Latency,
    /// When it ended, since the epoch.
    pub(crate) finished: Duration,
}

impl Traffic {
    /// An empty table over `repository`; `timers` is the runtime whose timers end waits. `key` seeds the numbers by which requests without a key are assigned.
    #[must_use]
    pub fn new(repository: Arc<ModelRepository>, key: u64, timers: Handle) -> Self {
        Self {
            router: Router::default(),
            numbers: RequestNumbers::new(key),
            started: Instant::now(),
            shadows: ShadowRunner::new(Arc::clone(&repository), timers),
            identity_header: None,
            repository,
            arms: ArmStatistics::default(),
            observations: OnceLock::new(),
            further_metrics: Mutex::default(),
        }
    }

    /// Takes who was authenticated from the header of this name. Whoever can send it is who they say: only for servers that
    /// nobody reaches but through a proxy that sets it.
    #[must_use]
    pub fn with_identity_header(self, name: Option<&str>) -> Self {
        Self { identity_header: name.map(str::to_ascii_lowercase), ..self }
    }

    /// The table and who decides by it.
    #[must_use]
    pub const fn router(&self) -> &Router {
        &self.router
    }

    /// Has the metrics port show what `text` writes too: whole families that nobody else writes.
    pub fn add_metrics(&self, text: Arc<dyn Fn() -> String + Send + Sync>) {
        self.further_metrics.lock().push(text);
    }

    /// What further families there are.
    pub(crate) fn further_metrics(&self) -> String {
        let further = self.further_metrics.lock().clone();
        further.iter().map(|text| text()).collect()
    }

    /// Counts by arm.
    #[must_use]
    pub const fn arms(&self) -> &ArmStatistics {
        &self.arms
    }

    /// Who executes copies and compares them.
    #[must_use]
    pub const fn shadows(&self) -> &ShadowRunner {
        &self.shadows
    }

    /// Begins the observation stream and gives its reader. There is one: a later call gives none.
    #[must_use]
    pub fn begin_observations(&self) -> Option<ObservationReader> {
        let mut begun = None;
        self.observations.get_or_init(|| {
            let rings = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
            let (sender, reader) = observation_stream(rings, rings * OBSERVATIONS);
            begun = Some(reader);
            sender
        });
        begun
    }

    /// Counts of the observation stream.
    #[must_use]
    pub fn observation_counts(&self) -> StreamCounts {
        self.observations.get().map(ObservationSender::counts).unwrap_or_default()
    }

    /// Whether `word` may stand in the place of a version of `model`.
    pub(crate) fn knows_label(&self, model: &str, word: &str) -> bool {
        self.router.knows_label(model, word)
    }

    /// The model and version that stand for `model` in descriptions, and whether they are ready.
    ///
    /// # Errors
    /// `NotFound` for a label that the table does not know.
    pub(crate) fn described<'m>(
        &self,
        model: &'m str,
        version: RequestedVersion<'_>,
    ) -> Result<(Cow<'m, str>, Option<u64>), ServingError> {
        if let RequestedVersion::Number(number) = version {
            return Ok((Cow::Borrowed(model), Some(number)));
        }
        if version == RequestedVersion::Any && !self.router.names(model) {
            return Ok((Cow::Borrowed(model), None));
        }
        let is_model = !self.repository.ready().versions(model).is_empty();
        let described = self.router.describe(model, version, is_model);
        let (model, version) = described.map_err(|unknown| ServingError::not_found(unknown.to_string()))?;
        let number = if let ServedVersion::Number(number) = version { Some(number) } else { None };
        Ok((Cow::Owned(model.into()), number))
    }

    /// The version for a request that the table has no say in; `None` when the request must be parsed and routed.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn direct(&self, model: &str, version: RequestedVersion<'_>) -> Option<Result<Routed, ServingError>> {
        let number = match version {
            RequestedVersion::Label(_) => return None,
            RequestedVersion::Any => None,
            RequestedVersion::Number(number) => Some(number),
        };
        if self.router.names(model) {
            return None;
        }
        Some(self.repository.ready().version(model, number).map(Routed::direct))
    }

    /// The version that serves a request, by the table.
    ///
    /// # Errors
    /// `NotFound` when the label is not known, or no arm is ready.
    pub(crate) fn route(
        &self,
        model: &str,
        version: RequestedVersion<'_>,
        facts: &MessageFacts<'_, '_>,
    ) -> Result<Routed, ServingError> {
        let decision = self.router.route(model, version, facts);
        let mut decision = decision.map_err(|unknown| ServingError::not_found(unknown.to_string()))?;
        if let Some(ready) = self.older_than_the_table(model, &decision, facts) {
            return Ok(Routed::direct(ready));
        }
        let ready = match self.ready(decision.model(model), decision.version) {
            Ok(ready) => ready,
            Err(error) if decision.arm.is_none() => return Err(error),
            Err(error) => self.another_arm(model, &mut decision).ok_or(error)?,
        };
        if let Some(SequenceFact { id, .. }) = facts.sequence()
            && decision.version == ServedVersion::Latest
        {
            self.router.resolve_sequence(model, id, ready.version);
        }
        Ok(Routed { ready, decision: Some(decision) })
    }

    /// The version that a sequence lives on which began before its model had an entry in the table: it stays there.
    fn older_than_the_table(
        &self,
        model: &str,
        decision: &Decision,
        facts: &MessageFacts<'_, '_>,
    ) -> Option<Arc<ReadyVersion>> {
        let sequence = facts.sequence_control().filter(|sequence| !sequence.start)?;
        if decision.arm.is_none() || decision.reason == Reason::PinnedSequence {
            return None;
        }
        self.repository.ready().versions(model).into_iter().find(|ready| ready.scheduler.holds_sequence(&sequence.id))
    }

    fn ready(&self, model: &str, version: ServedVersion) -> Result<Arc<ReadyVersion>, ServingError> {
        let number = if let ServedVersion::Number(number) = version { Some(number) } else { None };
        self.repository.ready().version(model, number)
    }

    /// The first arm in declared order that is ready, in the place of one that is not; the failure is the absent arm's.
    fn another_arm(&self, model: &str, decision: &mut Decision) -> Option<Arc<ReadyVersion>> {
        let snapshot = self.router.tables().in_force();
        let absent = decision.arm.take();
        let (arm, ready) = snapshot.arms(model)?.iter().find_map(|arm| {
            let ready = self.ready(&arm.model, arm.version).ok()?;
            Some((Arc::clone(arm), ready))
        })?;
        if let Some(absent) = absent {
            let ending =
                Ending { outcome: OutcomeKind::ServerError, latency: Latency::default(), finished: since_epoch() };
            self.observe(decision, &absent, "", &ready, &ending);
        }
        decision.arm = Some(arm);
        decision.reason = Reason::Ejected;
        Some(ready)
    }

    /// Counts the end of a request and offers it as an observation. Never blocks.
    pub(crate) fn finished(&self, routed: &Routed, request_id: &str, ending: &Ending) {
        let Some(decision) = &routed.decision else { return };
        let Some(arm) = &decision.arm else { return };
        self.observe(decision, arm, request_id, &routed.ready, ending);
    }

    /// Hands a copy of an answered request to those who shadow it. Never blocks.
    pub(crate) fn copy(&self, routed: &Routed, request: InferenceRequest, response: &InferenceResponse) {
        let Some(decision) = &routed.decision else { return };
        self.shadows.offer(ShadowCopy {
            targets: decision.shadows.clone(),
            request,
            primary: Arc::clone(&routed.ready),
            answer: response.outputs.clone(),
            sticky_key_hash: decision.sticky_key_hash,
            made: Instant::now(),
        });
    }

    fn observe(&self, decision: &Decision, arm: &Arc<Arm>, request_id: &str, ready: &ReadyVersion, ending: &Ending) {
        self.arms.record(arm, ending);
        if !decision.observed {
            return;
        }
        let Some(observations) = self.observations.get() else { return };
        observations.push(Observation {
            request_id: request_id.into(),
            arm: Some(Arc::clone(arm)),
            model: Arc::clone(&ready.model),
            version: ready.version,
            probability_basis_points: decision.probability_basis_points,
            reason: decision.reason,
            table_version: decision.table_version,
            sticky_key_hash: decision.sticky_key_hash,
            segment: decision.segment.clone(),
            outcome: ending.outcome,
            latency: ending.latency,
            finished_microseconds: u64::try_from(ending.finished.as_micros()).unwrap_or(u64::MAX),
        });
    }

    fn draw(&self) -> u64 {
        self.numbers.draw()
    }

    fn elapsed_microseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// How an error counts against the arm that gave it.
pub(crate) const fn outcome_of(code: ErrorCode) -> OutcomeKind {
    match code {
        ErrorCode::InvalidArgument | ErrorCode::NotFound | ErrorCode::AlreadyExists | ErrorCode::Unsupported => {
            OutcomeKind::ClientError
        }
        ErrorCode::Unavailable | ErrorCode::ResourceExhausted => OutcomeKind::Shed,
        ErrorCode::DeadlineExceeded => OutcomeKind::Deadline,
        ErrorCode::Cancelled => OutcomeKind::Cancelled,
        ErrorCode::Internal => OutcomeKind::ServerError,
    }
}
