//! Looks up the features of a service for requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Clock;
use super::answers::{Copied, NOT_ASKED, Source, Told, ViewAnswer};
use super::cache::HotKeys;
use super::coalescing::{Answer, Ask, Bounds, run};
use super::plan::{Given, GivenColumn, Plan, PlannedView};
use super::policy::{Decision, Found, decide, not_before};
use super::recalled::Recalled;
use super::request::ResolveRequest;
use super::resolved::{Origin, Resolved};
use super::statistics::{Counters, LookupStatistics};
use crate::byte_column::ByteColumn;
use crate::columns::{CellStatus, Columns};
use crate::declared::{CacheSettings, Fallback, FeatureService, FeatureSet};
use crate::error::{ErrorCode, FeatureError, Missing};
use crate::store::{OnlineStore, OpenStores, StoreHealth, ViewRead};

/// What the rows of last known values may take where no cache is declared.
const LAST_KNOWN_BYTES: u64 = 16 << 20;

/// Room for a key of which most are shorter.
const TYPICAL_KEY_BYTES: usize = 128;

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
    Memory(Arc<dyn OnlineStore>, Arc<StoreHealth>),
    /// By the task that coalesces; the store says which keys it takes.
    Task(mpsc::Sender<Ask>, Arc<dyn OnlineStore>),
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
            let (store, health) = stores.watched(name).ok_or_else(|| FeatureError::NotFound {
                what: "open online store",
                name: name.clone(),
                nearest: None,
            })?;
            let (store, health) = (Arc::clone(store), Arc::clone(health));
            let mut views = plan.views.iter().filter(|view| plan.stores[view.store] == *name);
            links.push(if views.all(|view| store.memory(&view.view.name).is_some()) {
                Link::Memory(store, health)
            } else {
                let (sender, asks) = mpsc::channel(settings.waiting_requests.max(1));
                let bounds = Bounds {
                    keys_per_read: settings.keys_per_read.max(1),
                    reads_under_way: settings.reads_under_way.max(1),
                };
                tasks.spawn(run(Arc::clone(&store), health, asks, bounds, Arc::clone(&counters)));
                Link::Task(sender, store)
            });
        }
        let last_known = CacheSettings { maximum_age: Duration::ZERO, maximum_bytes: LAST_KNOWN_BYTES };
        let cache = plan.service.cache.unwrap_or(last_known);
        let hot = plan.remembers().then(|| HotKeys::new(cache, Arc::clone(&counters)));
        Ok(Self { plan, links, hot, clock, counters, tasks })
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
    /// long or that the store cannot tell from others; `NotFound` for names that the service does not have, and for a feature whose fallback is `fail` and that has
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
        let mut columns = Columns::new(Arc::clone(&self.plan.types), request.rows);
        let mut answers = Vec::with_capacity(self.plan.views.len());
        // By store; only where one is asked.
        let mut reads: Vec<Vec<(usize, ViewRead)>> = Vec::new();
        for (number, view) in self.plan.views.iter().enumerate() {
            let store = match &self.links[view.store] {
                Link::Memory(store, health) => {
                    answers.push(read_memory(view, (&**store, &**health), request, &given, &mut columns)?);
                    continue;
                }
                Link::Task(_, store) => store,
            };
            let (answer, read) = self.prepare(number, request, &given, now_micros)?;
            // What the client got wrong is told, not papered over by what is declared for stored values.
            store.check_keys(&read).map_err(|(key, error)| match answer.row_of(key) {
                Some(row) => error.in_row(row),
                None => error,
            })?;
            answers.push(answer);
            if !read.keys.is_empty() {
                reads.resize_with(self.links.len(), Vec::new);
                reads[view.store].push((number, read));
            }
        }
        let mut waiting = Vec::new();
        for (link, read) in self.links.iter().zip(reads).filter(|(_, read)| !read.is_empty()) {
            if let Link::Task(asks, _) = link {
                waiting.push(self.ask(asks, read, request, &mut answers));
            }
        }
        for asked in waiting.into_iter().flatten() {
            self.receive(asked, now_micros, &mut answers).await?;
        }
        self.assemble(request, &given, &answers, columns, now_micros)
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
        let hot = self.hot.as_ref().filter(|_| view.remembered);
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
                let found = hot.get(number, read.keys.last().unwrap_or_default(), &view.ages, now_micros);
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
        let keep = |(number, read): &(usize, ViewRead)| {
            (*number, self.plan.views[*number].remembered.then(|| read.keys.clone()))
        };
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
            let told = Told { all: Arc::clone(&columns), index: part.columns, rows: part.rows };
            if let (Some(hot), Some(keys), Some(columns)) = (&self.hot, keys, told.columns()) {
                for (key, row) in keys.iter().zip(&told.rows) {
                    hot.put(number, key, columns, *row, now_micros);
                }
            }
            answers[number].told = Some(told);
        }
        Ok(())
    }

    /// Decides for each value, column by column.
    fn assemble(
        &self,
        request: &ResolveRequest,
        given: &Given<'_>,
        answers: &[ViewAnswer],
        mut columns: Columns,
        now_micros: i64,
    ) -> Result<Resolved, FeatureError> {
        let mut origins = Vec::with_capacity(self.plan.columns.len() * request.rows);
        for (column, (planned, given)) in self.plan.columns.iter().zip(given).enumerate() {
            let (view, place) = planned.from;
            let not_before = not_before(now_micros, planned.maximum_age);
            let in_place = answers[view].in_place;
            let form = request.forms.get(column).copied().flatten();
            let form = form.filter(|form| form.may_refuse(self.plan.types[column]));
            let refusal = |columns: &Columns, row| form?.refusal(columns.column(column)?.value(row)?);
            let (first, mut recalled) = (origins.len(), Recalled::default());
            let direct = answers[view].direct(place).filter(|_| given.is_nothing() && form.is_none());
            for row in 0..request.rows {
                if in_place
                    && given.is_nothing()
                    && columns.is_fresh(column, row, not_before)
                    && (form.is_none() || refusal(&columns, row).is_none())
                {
                    origins.push(Origin::Store);
                    continue;
                }
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
                    columns.clear(column, row);
                    origins.push(Origin::Override);
                    continue;
                }
                let answer = &answers[view];
                let known = if in_place {
                    Ok((Source::Store, columns.status(column, row)))
                } else {
                    answer.copy_into(place, row, &mut columns, (column, row))
                };
                let (found, source) = match known {
                    Ok((source, status)) => match refusal(&columns, row) {
                        Some(why) => (Found::Nothing(Missing::Unusable(why.into())), source),
                        None => (found(&columns, (column, row), status, now_micros), source),
                    },
                    Err(Copied::Untold(why)) => (Found::Nothing(why), Source::Store),
                    Err(Copied::Error(error)) => return Err(error),
                };
                let untold = match (&found, form) {
                    (Found::Nothing(why), Some(form)) if form.takes_any_length() => Some(why.clone()),
                    _ => None,
                };
                let has_last =
                    || answer.last_known(row).is_some_and(|last| last.has(place, self.plan.types[column], form));
                let decision = decide(found, planned.maximum_age, &planned.fallback, has_last);
                if let (Decision::ServeRemembered, Some(why)) = (&decision, untold) {
                    recalled.note(row, why);
                }
                origins.push(self.settle(decision, (column, row), answer, source, &mut columns)?);
            }
            let other = columns.column(column).map(|column| recalled.of_other_length(&column)).unwrap_or_default();
            for (row, why) in other {
                columns.clear(column, row);
                let decision = decide(Found::Nothing(why), planned.maximum_age, &planned.fallback, || false);
                let at = (column, row);
                origins[first + row] = self.settle(decision, at, &answers[view], Source::Store, &mut columns)?;
            }
        }
        Ok(Resolved { service: Arc::clone(&self.plan.service), columns, origins, now_micros })
    }

    /// Does what was decided for a cell, and says where its value is from.
    fn settle(
        &self,
        decision: Decision,
        (column, row): (usize, usize),
        answer: &ViewAnswer,
        source: Source,
        columns: &mut Columns,
    ) -> Result<Origin, FeatureError> {
        let planned = &self.plan.columns[column];
        Ok(match decision {
            Decision::Serve if source == Source::Cache => Origin::Cache,
            Decision::Serve => Origin::Store,
            Decision::ServeStale => Origin::LastKnown,
            Decision::ServeRemembered => {
                if let Some(remembered) = answer.last_known(row) {
                    remembered.copy_into(planned.from.1, columns, (column, row))?;
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
        })
    }
}

/// A read that is waited for: its views, with their keys where they are to be remembered.
struct Asked {
    views: Vec<(usize, Option<ByteColumn>)>,
    deadline: Instant,
    answered: oneshot::Receiver<Result<Answer, FeatureError>>,
}

/// Copies the rows of a store in memory to where they are wanted.
fn read_memory(
    view: &PlannedView,
    (store, health): (&dyn OnlineStore, &StoreHealth),
    request: &ResolveRequest,
    given: &Given<'_>,
    columns: &mut Columns,
) -> Result<ViewAnswer, FeatureError> {
    let overridden = view.columns.iter().any(|column| !given[*column].is_nothing());
    let mut found = None;
    let mut key = Vec::with_capacity(TYPICAL_KEY_BYTES);
    for row in (0..request.rows).filter(|row| !(overridden && view.is_given(given, *row))) {
        let (table, keys) = match &found {
            Some(found) => found,
            None => {
                let missing = || FeatureError::internal("the feature store misread", "a view is not in memory");
                let table = store.memory(&view.view.name).ok_or_else(missing)?;
                found.insert((table, view.key_columns(&request.keys)?))
            }
        };
        key.clear();
        view.view.keys.write(|place| keys[place].value(row), &mut key).map_err(|error| error.in_row(row))?;
        if let Err(error) = table.copy_row(&key, &view.sources, columns, &view.columns, row) {
            health.failed(&error, Instant::now());
            return Ok(ViewAnswer { untold: Some(untold(&error)), ..ViewAnswer::default() });
        }
    }
    Ok(ViewAnswer { in_place: true, ..ViewAnswer::default() })
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
