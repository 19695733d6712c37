//! Plans of a batching model whose dimensions are all known but the number of rows.
//!
//! All are made while the model loads, none on the path of a request. How many are worth having is measured: doubling
//! goes on while a row costs less in the larger batch, which for convolutions in tract is often not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tract_onnx::prelude::{InferenceModel, TractError, TractResult};

use crate::contract::Contract;
use crate::graph::{Axis, Character};
use crate::plan::{Plan, Sizes};
use crate::runner::Runner;
use crate::schedule::{PlanCost, Schedule};

/// Time that may be spent on plans beyond the first.
const CALIBRATION_BUDGET: Duration = Duration::from_secs(3);
/// A network below this is worth a plan for any number of rows: padding would cost it more than its layout.
const SMALL: Duration = Duration::from_micros(200);
/// Runs that a measurement takes the lowest of, and the time after which it is content with fewer.
const RUNS: usize = 5;
const RUNS_BUDGET: Duration = Duration::from_millis(20);
/// A doubled batch must cost less than this share of two runs.
const WORTHWHILE: f64 = 0.97;

/// Plans by number of rows, and which to use when.
#[derive(Debug)]
pub(crate) struct FixedPlans {
    plans: Vec<Arc<Plan>>,
    schedule: Schedule,
}

/// One run of a batch.
#[derive(Debug)]
pub(crate) struct PlannedRun {
    /// The plan.
    pub(crate) plan: Arc<Plan>,
    /// Rows of the batch that it computes.
    pub(crate) rows: usize,
    /// Rows that it is run with.
    pub(crate) run_rows: usize,
}

impl FixedPlans {
    /// Makes and measures plans for up to `max_rows` rows; for one row only where the graph is convolutional.
    ///
    /// # Errors
    /// What tract said about the plan for one row, when no other works either.
    pub(crate) fn build(
        model: &InferenceModel,
        contract: &Contract,
        axes: &[Vec<Axis>],
        max_rows: usize,
        character: Character,
    ) -> Result<Self, TractError> {
        let started = Instant::now();
        let workshop = Workshop { model, contract, axes };
        let mut made: Vec<(Arc<Plan>, PlanCost)> = Vec::new();
        let single = workshop.fixed(1);
        let single_cost = single.as_ref().map_or(Duration::MAX, |(_, cost)| *cost);
        let failure = match single {
            Ok((plan, cost)) => {
                made.push((plan, PlanCost::Fixed { rows: 1, nanoseconds: nanoseconds(cost) }));
                None
            }
            Err(error) => Some(error),
        };
        // tract computes convolutions slower per row in a batch than alone (measured: resnet50 212 ms per row in a batch
        // of 8, 150 alone; densenet121 366 and 144), so more plans would cost time and memory for nothing.
        let alone = character.convolutional && failure.is_none();
        let mut any_suffices = alone;
        let try_any = max_rows > 1 && !alone && !character.recurrent && (single_cost < SMALL || failure.is_some());
        if let Some(Ok(any)) = try_any.then(|| workshop.any(max_rows)) {
            any_suffices = any.single < single_cost.mul_f64(1.15) + Duration::from_micros(1);
            made.push((any.plan, any.cost));
        }
        if let Some(error) = failure
            && made.is_empty()
        {
            return Err(error);
        }
        if !any_suffices {
            workshop.double(&mut made, single_cost, max_rows, started);
        }
        let (plans, costs): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let mut schedule = Schedule::new(&costs, max_rows).ok_or_else(|| TractError::msg("no plan could be made"))?;
        let used = schedule.keep_used(plans.len());
        let plans: Vec<_> = plans.into_iter().zip(used).filter_map(|(plan, used)| used.then_some(plan)).collect();
        tracing::debug!(
            model = contract.model,
            ?costs,
            kept = plans.len(),
            milliseconds = started.elapsed().as_secs_f64() * 1e3,
            "plans made"
        );
        Ok(Self { plans, schedule })
    }

    /// The next run of a batch of which `rows` (above 0) are left.
    pub(crate) fn next(&self, rows: usize) -> PlannedRun {
        let step = self.schedule.next(rows);
        PlannedRun { plan: Arc::clone(&self.plans[step.plan]), rows: step.rows, run_rows: step.run_rows }
    }

    /// All plans.
    pub(crate) fn plans(&self) -> &[Arc<Plan>] {
        &self.plans
    }
}

struct AnyPlan {
    plan: Arc<Plan>,
    cost: PlanCost,
    single: Duration,
}

/// What plans are made from.
struct Workshop<'a> {
    model: &'a InferenceModel,
    contract: &'a Contract,
    axes: &'a [Vec<Axis>],
}

impl Workshop<'_> {
    fn fixed(&self, rows: usize) -> TractResult<(Arc<Plan>, Duration)> {
        let plan = Arc::new(Plan::build(self.model, self.contract, self.axes, Sizes::Rows(rows))?);
        let cost = self.measure(&plan, rows)?;
        Ok((plan, cost))
    }

    fn any(&self, max_rows: usize) -> TractResult<AnyPlan> {
        let plan = Arc::new(Plan::build(self.model, self.contract, self.axes, Sizes::Any)?);
        let several = max_rows.min(8);
        let (single, several_cost) = (self.measure(&plan, 1)?, self.measure(&plan, several)?);
        let per_row = nanoseconds(several_cost).saturating_sub(nanoseconds(single)) / (several as u64 - 1).max(1);
        let base = nanoseconds(single).saturating_sub(per_row);
        Ok(AnyPlan { plan, cost: PlanCost::Any { base, per_row }, single })
    }

    /// Adds plans for twice as many rows each time, while that pays.
    fn double(&self, made: &mut Vec<(Arc<Plan>, PlanCost)>, single: Duration, max_rows: usize, started: Instant) {
        let (mut rows, mut cost) = (1, single);
        while rows < max_rows {
            let next = (rows * 2).min(max_rows);
            // Optimising takes about as long as some runs; measuring is some runs.
            if cost == Duration::MAX || started.elapsed() + cost * 4 > CALIBRATION_BUDGET {
                return;
            }
            let Ok((plan, next_cost)) = self.fixed(next) else { return };
            #[allow(clippy::cast_precision_loss, reason = "rows of a batch are few")]
            let growth = next as f64 / rows as f64;
            if next_cost > cost.mul_f64(growth * WORTHWHILE) {
                return;
            }
            made.push((plan, PlanCost::Fixed { rows: next, nanoseconds: nanoseconds(next_cost) }));
            (rows, cost) = (next, next_cost);
        }
    }

    /// The lowest time of some runs on blank inputs, after one that fills caches.
    fn measure(&self, plan: &Arc<Plan>, rows: usize) -> TractResult<Duration> {
        let mut runner = Runner::new(plan)?;
        for (index, axes) in self.axes.iter().enumerate() {
            let size = |axis: &Axis| match axis {
                Axis::Fixed(size) => *size,
                Axis::Rows | Axis::Variable(_) => rows,
            };
            let shape: Vec<usize> = axes.iter().map(size).collect();
            runner.input(index, &shape)?;
        }
        let started = Instant::now();
        runner.run()?;
        let mut lowest = started.elapsed();
        for _ in 0..RUNS {
            let begin = Instant::now();
            if begin - started > RUNS_BUDGET {
                break;
            }
            runner.run()?;
            lowest = lowest.min(begin.elapsed());
        }
        Ok(lowest)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
