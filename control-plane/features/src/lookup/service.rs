//! Looks up the features of a service for requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Clock;
use super::answers::{Copied, Held, NOT_ASKED, Source, ViewAnswer};
use super::cache::HotKeys;
use super::coalescing::{Answer, Ask, Bounds, run};
use super::plan::{Given, GivenColumn, Plan};
use super::policy::{Decision, Found, decide, not_before};
use super::request::ResolveRequest;
use super::resolved::{Origin, Resolved};
use super::statistics::{Counters, LookupStatistics};
use crate::byte_column::ByteColumn;
use crate::columns::{CellStatus, Columns};
use crate::declared::{CacheSettings, Fallback, FeatureService, FeatureSet};
use crate::error::{ErrorCode, FeatureError, Missing};
use crate::store::{OnlineStore, OpenStores, StoreRead, ViewRead};

/// What last known values may take where no cache is declared.
const LAST_KNOWN_BYTES: u64 = 16 << 20;

/// Bounds of a lookup's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupSettings {
    /// Most keys of one read; a request with more is read alone.
    pub keys_per_read: usize,
    /// Most reads of one store under way. Requests that come meanwhile are read together.
    pub reads_under_way: usize,
    /// Most requests that wait for a store's next read; more fall back at once.
    pub waiting_requests: usize,
}

impl Default for LookupSettings {
    fn default() -> Self {
        Self { keys_per_read: 1024, reads_under_way: 2, waiting_requests: 4096 }
    }
}

/// How a store is read.
#[derive(Debug)]
enum Link {
    /// Where the request stands.
    Memory(Arc<dyn OnlineStore>),
    /// By the task that coalesces.
    Task(mpsc::Sender<Ask>),
}

/// Serves the features of one service. Share it by reference; dropping it ends its tasks.
#[derive(Debug)]
pub struct Lookup {
    plan: Plan,
    links: Vec<Link>,
    hot: Option<HotKeys>,
    clock: Clock,
    counters: Arc<Counters>,
    // Dropped last: the tasks end when the links are gone, or are aborted.
    tasks: JoinSet<()>,
}

impl Lookup {
    /// Starts to serve a declared service from open stores. Must be called within a tokio runtime: it starts a task for
    /// each store that is not in memory.
    ///
    /// # Errors
    /// `NotFound` when the service is not declared, or one of its stores is not open.
    pub fn start(
        set: &FeatureSet,
        service: &str,
        stores: &OpenStores,
        settings: LookupSettings,
        clock: Clock,
    ) -> Result<Self, FeatureError> {
        let plan = Plan::new(set, service)?;
        let counters = Arc::<Counters>::default();
        let mut tasks = JoinSet::new();
        let mut links = Vec::new();
        for name in &plan.stores {
            let store = stores.get(name).ok_or_else(|| FeatureError::NotFound {
                what: "open online store",
                name: name.clone(),
                nearest: None,
            })?;
            let store = Arc::clone(store);
            links.push(if store.read_now(&StoreRead::default()).is_some() {
                Link::Memory(store)
            } else {
                let (sender, asks) = mpsc::channel(settings.waiting_requests.max(1));
                let bounds = Bounds {
                    keys_per_read: settings.keys_per_read.max(1),
                    reads_under_way: settings.reads_under_way.max(1),
                };
                tasks.spawn(run(store, asks, bounds, Arc::clone(&counters)));
                Link::Task(sender)
            });
        }
        let last_known = CacheSettings { maximum_age: Duration::ZERO, maximum_bytes: LAST_KNOWN_BYTES };
        let cache = plan.service.cache.or_else(|| plan.remembers().then_some(last_known));
        Ok(Self { plan, links, hot: cache.map(HotKeys::new), clock, counters, tasks })
    }

    /// The service.
    #[must_use]
    pub const fn service(&self) -> &Arc<FeatureService> {
        &self.plan.service
    }

    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was done so far.
    #[must_use]
    pub fn statistics(&self) -> LookupStatistics {
        self.counters.snapshot()
    }

    /// Lets reads that are under way end, and returns when the tasks have.
    pub async fn close(mut self) {
        self.links.clear();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Looks up every feature of the service for every row of a request.
    ///
    /// Never blocks the thread. Features of stores in memory are read at once. Others wait at most until the request's
    /// deadline or the service's, whichever is first; then each feature does what is declared for it: its default, the
    /// last value that was seen, missing, or the end of the request. Dropping the future gives the request up; a read that
    /// others share goes on.
    ///
    /// # Errors
    /// `InvalidArgument` for keys or values that are missing, of another type or another count, or a key that is too
    /// long; `NotFound` for names that the service does not have, and for a feature whose fallback is `fail` and that has
    /// no row or is null; `Unavailable` and `DeadlineExceeded` for such a feature that is stale, or whose store does not
    /// answer (in time); `Unsupported` for one that is stored in another type; `ResourceExhausted` when the values do not
    /// fit into a batch.
    pub async fn resolve(&self, request: &ResolveRequest) -> Result<Resolved, FeatureError> {
        let resolved = self.look_up(request).await;
        match &resolved {
            Ok(resolved) => self.counters.answered(&resolved.origins),
            Err(_) => self.counters.failed(),
        }
        resolved
    }

    async fn look_up(&self, request: &ResolveRequest) -> Result<Resolved, FeatureError> {
        let given = self.plan.check(request)?;
        let now_micros = (self.clock)();
        let mut answers = Vec::with_capacity(self.plan.views.len());
        let mut reads: Vec<Vec<(usize, ViewRead)>> = self.links.iter().map(|_| Vec::new()).collect();
        for number in 0..self.plan.views.len() {
            let (answer, read) = self.prepare(number, request, &given, now_micros)?;
            answers.push(answer);
            if !read.keys.is_empty() {
                reads[self.plan.views[number].store].push((number, read));
            }
        }
        let mut waiting = Vec::new();
        for (link, read) in self.links.iter().zip(reads) {
            if read.is_empty() {
                continue;
            }
            match link {
                Link::Memory(store) => read_memory(&**store, read, &mut answers)?,
                Link::Task(asks) => waiting.push(self.ask(asks, read, request, &mut answers)),
            }
        }
        for asked in waiting.into_iter().flatten() {
            self.receive(asked, now_micros, &mut answers).await?;
        }
        self.assemble(request, &given, &answers, now_micros)
    }

    /// What the cache has of a view, and the read of the rest.
    fn prepare(
        &self,
        number: usize,
        request: &ResolveRequest,
        given: &Given<'_>,
        now_micros: i64,
    ) -> Result<(ViewAnswer, ViewRead), FeatureError> {
        let view = &self.plan.views[number];
        let mut read = view.empty_read();
        let mut answer = ViewAnswer { asked: vec![NOT_ASKED; request.rows], ..ViewAnswer::default() };
        let overridden = view.columns.iter().any(|column| !given[*column].is_nothing());
        let hot = self.hot.as_ref().filter(|_| matches!(self.links[view.store], Link::Task(_)));
        let mut keys = None;
        for row in 0..request.rows {
            if overridden && view.is_given(given, row) {
                continue;
            }
            let columns = match &keys {
                Some(columns) => columns,
                None => keys.insert(view.key_columns(&request.keys)?),
            };
            let mut written = Ok(());
            read.keys.push_with(|key| written = view.view.keys.write(|place| columns[place].value(row), key));
            written.map_err(|error| error.in_row(row))?;
            if let Some(hot) = hot {
                answer.remembered.resize(request.rows, None);
                let found = hot.get(number, read.keys.last().unwrap_or_default(), now_micros);
                let fresh = found.as_ref().is_some_and(|(_, fresh)| *fresh);
                answer.remembered[row] = found;
                if fresh {
                    read.keys.pop();
                    continue;
                }
            }
            answer.asked[row] = read.keys.len() - 1;
        }
        Ok((answer, read))
    }

    /// Sends what is to be read to a store's task.
    fn ask(
        &self,
        asks: &mpsc::Sender<Ask>,
        read: Vec<(usize, ViewRead)>,
        request: &ResolveRequest,
        answers: &mut [ViewAnswer],
    ) -> Option<Asked> {
        let own = Instant::now() + self.plan.service.deadline;
        let deadline = request.deadline.map_or(own, |deadline| deadline.min(own));
        let keep = |(number, read): &(usize, ViewRead)| (*number, self.hot.as_ref().map(|_| read.keys.clone()));
        let views = read.iter().map(keep).collect();
        let (answer, answered) = oneshot::channel();
        match asks.try_send(Ask { views: read, deadline, answer }) {
            Ok(()) => Some(Asked { views, deadline, answered }),
            Err(refused) => {
                let (mpsc::error::TrySendError::Full(ask) | mpsc::error::TrySendError::Closed(ask)) = refused;
                for (number, _) in &ask.views {
                    answers[*number].untold =
                        Some(Missing::StoreUnavailable("too many requests wait for the store".into()));
                }
                None
            }
        }
    }

    async fn receive(&self, asked: Asked, now_micros: i64, answers: &mut [ViewAnswer]) -> Result<(), FeatureError> {
        let answered = match timeout_at(asked.deadline, asked.answered).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(_)) => Err(FeatureError::unavailable("the feature store is unavailable", "its task has ended")),
            Err(_) => Err(FeatureError::DeadlineExceeded),
        };
        let Answer { columns, views } = match answered {
            Ok(answer) => answer,
            // What is declared wrongly is told, not papered over.
            Err(error) if error.code() == ErrorCode::Unsupported => return Err(error),
            Err(error) => {
                for (number, _) in &asked.views {
                    answers[*number].untold = Some(untold(&error));
                }
                return Ok(());
            }
        };
        for ((number, keys), part) in asked.views.into_iter().zip(views) {
            let held = Held::Together(Arc::clone(&columns), part.columns);
            if let (Some(hot), Some(keys), Some(columns)) = (&self.hot, keys, held.columns()) {
                for (key, row) in keys.iter().zip(&part.rows) {
                    hot.put(number, key, columns, *row, now_micros);
                }
            }
            answers[number].told = Some((held, Some(part.rows)));
        }
        Ok(())
    }

    /// Decides for each value, column by column.
    fn assemble(
        &self,
        request: &ResolveRequest,
        given: &Given<'_>,
        answers: &[ViewAnswer],
        now_micros: i64,
    ) -> Result<Resolved, FeatureError> {
        let mut columns = Columns::new(Arc::clone(&self.plan.types), request.rows);
        let mut origins = Vec::with_capacity(self.plan.columns.len() * request.rows);
        for (column, (planned, given)) in self.plan.columns.iter().zip(given).enumerate() {
            let (view, place) = planned.from;
            let not_before = not_before(now_micros, planned.maximum_age);
            let direct = answers[view].direct(place).filter(|_| given.is_nothing());
            for row in 0..request.rows {
                if let Some(direct) = &direct
                    && columns.copy_number((column, row), &direct.column, direct.row(row), not_before)
                {
                    origins.push(Origin::Store);
                    continue;
                }
                if let Some(value) = given.value(row) {
                    columns.set_value(column, row, value, None)?;
                    origins.push(Origin::Override);
                    continue;
                }
                if matches!(given, GivenColumn::FilledIn) {
                    origins.push(Origin::Override);
                    continue;
                }
                let answer = &answers[view];
                let (found, source) = match answer.copy_into(place, row, &mut columns, (column, row)) {
                    Ok((source, status)) => (found(&columns, (column, row), status, now_micros), source),
                    Err(Copied::Untold(why)) => (Found::Nothing(why), Source::Store),
                    Err(Copied::Error(error)) => return Err(error),
                };
                let has_last = || answer.last_known(row).is_some_and(|remembered| remembered.has(place));
                origins.push(match decide(found, planned.maximum_age, &planned.fallback, has_last) {
                    Decision::Serve if source == Source::Cache => Origin::Cache,
                    Decision::Serve => Origin::Store,
                    Decision::ServeStale => Origin::LastKnown,
                    Decision::ServeRemembered => {
                        if let Some(remembered) = answer.last_known(row) {
                            remembered.copy_into(place, &mut columns, (column, row))?;
                        }
                        Origin::LastKnown
                    }
                    Decision::Default => {
                        if let Fallback::Default(value) | Fallback::LastKnown(Some(value)) = &planned.fallback {
                            columns.set_value(column, row, value, None)?;
                        }
                        Origin::Default
                    }
                    Decision::Missing => {
                        columns.set_null(column, row, None);
                        Origin::Missing
                    }
                    Decision::Fail(why) => {
                        let feature = self.plan.service.features[column].reference();
                        return Err(FeatureError::NoValue { feature, row, why });
                    }
                });
            }
        }
        Ok(Resolved { service: Arc::clone(&self.plan.service), columns, origins, now_micros })
    }
}

/// A read that is waited for: its views, with their keys where they are to be remembered.
struct Asked {
    views: Vec<(usize, Option<ByteColumn>)>,
    deadline: Instant,
    answered: oneshot::Receiver<Result<Answer, FeatureError>>,
}

fn read_memory(
    store: &dyn OnlineStore,
    read: Vec<(usize, ViewRead)>,
    answers: &mut [ViewAnswer],
) -> Result<(), FeatureError> {
    let (numbers, views): (Vec<usize>, Vec<ViewRead>) = read.into_iter().unzip();
    let told = store.read_now(&StoreRead { views });
    match told.unwrap_or_else(|| Err(FeatureError::internal("the feature store misread", "it is not in memory"))) {
        Ok(all) => {
            for (number, columns) in numbers.into_iter().zip(all) {
                answers[number].told = Some((Held::Own(columns), None));
            }
        }
        Err(error) if error.code() == ErrorCode::Unsupported => return Err(error),
        Err(error) => {
            for number in numbers {
                answers[number].untold = Some(untold(&error));
            }
        }
    }
    Ok(())
}

fn untold(error: &FeatureError) -> Missing {
    match error {
        FeatureError::DeadlineExceeded => Missing::StoreTooSlow,
        other => {
            let detail =
                other.operator_detail().map_or_else(|| other.to_string(), |detail| format!("{other}: {detail}"));
            Missing::StoreUnavailable(detail.into())
        }
    }
}

fn found(columns: &Columns, cell: (usize, usize), status: CellStatus, now_micros: i64) -> Found {
    match status {
        CellStatus::Present => {
            let event = columns.column(cell.0).and_then(|column| column.event_micros(cell.1));
            Found::Value(event.map(|event| now_micros.saturating_sub(event)))
        }
        CellStatus::Null => Found::Nothing(Missing::Null),
        CellStatus::NotFound => Found::Nothing(Missing::NotFound),
        CellStatus::Unusable => {
            Found::Nothing(Missing::Unusable(columns.fault(cell.0, cell.1).unwrap_or("another type").into()))
        }
    }
}
