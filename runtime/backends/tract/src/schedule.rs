//! Which plans compute a batch of so many rows: a pure function of what the plans cost.
//!
//! tract computes some networks slower per row in a batch than alone (convolutions), and others faster; so what a
//! batch is cut into is worked out from measured costs, once, when the model loads. A plan for a fixed number of rows
//! may be run with fewer, padded; a plan for any number runs with exactly what is there.

/// Largest batch whose best division is worked out; larger ones are cut into these.
const TABLE_LIMIT: usize = 4096;

/// A plan, as far as costs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanCost {
    /// Computes this many rows, always.
    Fixed {
        /// Number of rows.
        rows: usize,
        /// Nanoseconds per run.
        nanoseconds: u64,
    },
    /// Computes any number of rows.
    Any {
        /// Nanoseconds of a run with no rows.
        base: u64,
        /// Nanoseconds per row.
        per_row: u64,
    },
}

/// One run on the way through a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Index of the plan.
    pub(crate) plan: usize,
    /// Rows of the batch that it computes.
    pub(crate) rows: usize,
    /// Rows that it is run with; those beyond `rows` are padding.
    pub(crate) run_rows: usize,
}

/// The first step for every number of rows that may be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    steps: Vec<Step>,
}

impl Schedule {
    /// Works out the cheapest division of every batch of up to `max_rows` rows. `None` without any plan.
    pub(crate) fn new(costs: &[PlanCost], max_rows: usize) -> Option<Self> {
        let largest = max_rows.clamp(1, TABLE_LIMIT);
        let mut best: Vec<u64> = vec![0];
        let mut steps = Vec::with_capacity(largest);
        for rows in 1..=largest {
            let candidate = |(plan, cost): (usize, &PlanCost)| match *cost {
                PlanCost::Fixed { rows: run_rows, nanoseconds } => {
                    let covered = run_rows.clamp(1, rows);
                    (nanoseconds.saturating_add(best[rows - covered]), Step { plan, rows: covered, run_rows })
                }
                PlanCost::Any { base, per_row } => {
                    let cost = base.saturating_add(per_row.saturating_mul(rows as u64));
                    (cost, Step { plan, rows, run_rows: rows })
                }
            };
            let (cost, step) = costs.iter().enumerate().map(candidate).min_by_key(|&(cost, _)| cost)?;
            best.push(cost);
            steps.push(step);
        }
        Some(Self { steps })
    }

    /// The next run when `rows` (above 0) are left.
    pub(crate) fn next(&self, rows: usize) -> Step {
        self.steps[rows.clamp(1, self.steps.len()) - 1]
    }

    /// Leaves out the plans that no division uses: tells, by index, which of `count` are kept, in order.
    pub(crate) fn keep_used(&mut self, count: usize) -> Vec<bool> {
        let mut used = vec![false; count];
        self.steps.iter().for_each(|step| used[step.plan] = true);
        for step in &mut self.steps {
            step.plan = used[..step.plan].iter().filter(|&&used| used).count();
        }
        used
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{PlanCost, Schedule, Step};

    const fn fixed(rows: usize, nanoseconds: u64) -> PlanCost {
        PlanCost::Fixed { rows, nanoseconds }
    }

    fn division(schedule: &Schedule, mut rows: usize) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        while rows > 0 {
            let Step { rows: taken, run_rows, .. } = schedule.next(rows);
            runs.push((taken, run_rows));
            rows -= taken;
        }
        runs
    }

    #[test]
    fn batches_that_do_not_pay_are_run_row_by_row() {
        let mut schedule = Schedule::new(&[fixed(8, 1000), fixed(1, 100)], 8).unwrap();
        assert_eq!(division(&schedule, 3), [(1, 1); 3]);
        assert_eq!(schedule.next(3).plan, 1);
        assert_eq!(schedule.keep_used(2), [false, true]);
        assert_eq!(schedule.next(3), Step { plan: 0, rows: 1, run_rows: 1 });
    }

    #[test]
    fn padding_is_used_where_it_is_cheaper() {
        let schedule = Schedule::new(&[fixed(1, 100), fixed(4, 150), fixed(8, 200)], 8).unwrap();
        assert_eq!(division(&schedule, 2), [(2, 4)]);
        assert_eq!(division(&schedule, 5), [(5, 8)]);
        assert_eq!(division(&schedule, 8), [(8, 8)]);
    }

    #[test]
    fn a_plan_for_any_number_runs_exactly() {
        let schedule = Schedule::new(&[fixed(1, 100), PlanCost::Any { base: 110, per_row: 1 }], 64).unwrap();
        assert_eq!(division(&schedule, 1), [(1, 1)]);
        assert_eq!(division(&schedule, 7), [(7, 7)]);
    }

    #[test]
    fn batches_beyond_the_table_are_cut() {
        let schedule = Schedule::new(&[PlanCost::Any { base: 1, per_row: 1 }], 1 << 30).unwrap();
        assert_eq!(division(&schedule, 10_000), [(4096, 4096), (4096, 4096), (1808, 1808)]);
        assert_eq!(Schedule::new(&[], 4), None);
    }

    proptest! {
        #[test]
        fn every_row_is_computed_once_at_the_lowest_cost(
            costs in prop::collection::vec((1_usize..40, 1_u64..1000), 1..6),
            any in prop::option::of((0_u64..1000, 0_u64..100)),
            rows in 1_usize..60,
        ) {
            let mut plans: Vec<_> = costs.iter().map(|&(rows, nanoseconds)| fixed(rows, nanoseconds)).collect();
            plans.extend(any.map(|(base, per_row)| PlanCost::Any { base, per_row }));
            let schedule = Schedule::new(&plans, 60).unwrap();
            let mut left = rows;
            let mut total = 0;
            while left > 0 {
                let step = schedule.next(left);
                prop_assert!(step.rows >= 1 && step.rows <= left && step.run_rows >= step.rows);
                total += match plans[step.plan] {
                    PlanCost::Fixed { rows, nanoseconds } => {
                        prop_assert_eq!(step.run_rows, rows);
                        nanoseconds
                    }
                    PlanCost::Any { base, per_row } => {
                        prop_assert_eq!(step.run_rows, step.rows);
                        base + per_row * step.rows as u64
                    }
                };
                left -= step.rows;
            }
            // No plan repeated until all rows are covered costs less.
            for plan in &plans {
                let alone = match *plan {
                    PlanCost::Fixed { rows: run, nanoseconds } => nanoseconds * rows.div_ceil(run) as u64,
                    PlanCost::Any { base, per_row } => base + per_row * rows as u64,
                };
                prop_assert!(total <= alone);
            }
        }
    }
}
