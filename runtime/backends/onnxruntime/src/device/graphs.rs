//! Which captured CUDA graph computes a batch. Pure.
//!
//! A captured graph does again what was done as it was captured: the same inputs are read at the same addresses, and the same
//! outputs written to theirs, whatever the request at hand asks for. So graphs are told apart by what is bound, which is every
//! output always and the inputs that are there, and never by what is wanted.
//!
//! Invariants: a graph is used for one batch size and one set of inputs alone; one whose execution failed is never used again,
//! since what was captured of it may be a part; there are never more than [`MOST_GRAPHS`].

/// Graphs of one instance, those that were given up among them.
const MOST_GRAPHS: usize = 48;

/// Graphs for the same batch size and inputs that are given up before none is captured for them any more.
const MOST_FAILURES: usize = 3;

/// The graphs of one instance; each is known by its number, from 0 on.
#[derive(Clone, Debug)]
pub(super) struct Graphs {
    /// Batch sizes, ascending.
    buckets: Vec<usize>,
    graphs: Vec<Graph>,
}

/// Inputs of the model that a batch has, a bit for each.
pub(super) type Present = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Graph {
    rows: usize,
    present: Present,
    state: GraphState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GraphState {
    New,
    Captured,
    GivenUp,
}

impl Graphs {
    /// None yet, for batches padded to `buckets`, which ascend.
    pub(super) fn new(buckets: &[u32]) -> Self {
        Self { buckets: buckets.iter().map(|&rows| rows as usize).collect(), graphs: Vec::new() }
    }

    /// The graph for a batch of `rows` rows that has the inputs `present`; `None` where it is computed without one.
    pub(super) fn choose(&mut self, rows: usize, present: Present) -> Option<usize> {
        let rows = self.bucket(rows)?;
        let same = |graph: &Graph| (graph.rows, graph.present) == (rows, present);
        let usable = |graph: &Graph| same(graph) && graph.state != GraphState::GivenUp;
        if let Some(number) = self.graphs.iter().position(usable) {
            return Some(number);
        }
        let failures = self.graphs.iter().filter(|graph| same(graph)).count();
        if failures >= MOST_FAILURES || self.graphs.len() >= MOST_GRAPHS {
            return None;
        }
        self.graphs.push(Graph { rows, present, state: GraphState::New });
        Some(self.graphs.len() - 1)
    }

    /// The batch size to which a batch of `rows` is padded for a graph.
    pub(super) fn bucket(&self, rows: usize) -> Option<usize> {
        self.buckets.iter().copied().find(|&bucket| bucket >= rows)
    }

    /// The rows that the graph computes.
    pub(super) fn rows(&self, number: usize) -> usize {
        self.graphs[number].rows
    }

    /// Whether using the graph captures it.
    pub(super) fn is_new(&self, number: usize) -> bool {
        self.graphs[number].state == GraphState::New
    }

    /// Batch sizes that may have graphs, ascending.
    pub(super) fn sizes(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.buckets.iter().copied()
    }

    /// Graphs that can be replayed.
    pub(super) fn captured(&self) -> usize {
        self.graphs.iter().filter(|graph| graph.state == GraphState::Captured).count()
    }

    /// Whether anything was captured, if only in part.
    pub(super) fn are_captured(&self) -> bool {
        self.graphs.iter().any(|graph| graph.state != GraphState::New)
    }

    /// Notes what came of an execution with the graph.
    pub(super) fn note(&mut self, number: usize, succeeded: bool) {
        self.graphs[number].state = if succeeded { GraphState::Captured } else { GraphState::GivenUp };
    }
}

/// The inputs that are there of as many as the iterator has; `None` for more than can be told.
pub(super) fn present(inputs: impl Iterator<Item = bool>) -> Option<Present> {
    let mut bits = 0;
    for (index, there) in inputs.enumerate() {
        let bit = 1_u64.checked_shl(u32::try_from(index).ok()?)?;
        bits |= if there { bit } else { 0 };
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn batches_and_inputs_have_graphs_of_their_own() {
        let mut graphs = Graphs::new(&[1, 4, 8]);
        assert_eq!((graphs.choose(3, 0b11), graphs.rows(0), graphs.is_new(0)), (Some(0), 4, true));
        assert!(!graphs.are_captured());
        graphs.note(0, true);
        assert!(graphs.are_captured());
        assert_eq!((graphs.choose(4, 0b11), graphs.is_new(0)), (Some(0), false));
        assert_eq!(graphs.choose(4, 0b01), Some(1), "an optional input is absent");
        assert_eq!(graphs.choose(1, 0b11), Some(2));
        assert_eq!(graphs.choose(9, 0b11), None, "beyond the largest");
        assert_eq!(Graphs::new(&[]).choose(1, 0), None);
    }

    #[test]
    fn a_graph_that_failed_is_not_used_again() {
        let mut graphs = Graphs::new(&[1]);
        for number in 0..MOST_FAILURES {
            assert_eq!(graphs.choose(1, 1), Some(number));
            graphs.note(number, number == 0);
            graphs.note(number, false);
        }
        assert_eq!(graphs.choose(1, 1), None, "nor is it tried for ever");
        assert_eq!(graphs.choose(1, 0), Some(MOST_FAILURES), "others are not harmed");
    }

    #[test]
    fn inputs_are_told_apart_as_long_as_there_are_bits() {
        assert_eq!(present([true, false, true].into_iter()), Some(0b101));
        assert_eq!(present(std::iter::repeat_n(true, 64)), Some(u64::MAX));
        assert_eq!(present(std::iter::repeat_n(false, 65)), None);
    }

    proptest! {
        #[test]
        fn a_graph_is_for_one_binding_and_their_number_is_bounded(
            steps in proptest::collection::vec((1_usize..20, 0_u64..8, any::<bool>()), 1..400),
        ) {
            let mut graphs = Graphs::new(&[1, 2, 4, 8, 16]);
            let (mut bindings, mut failed) = (BTreeMap::new(), Vec::new());
            for (rows, inputs, succeeds) in steps {
                let Some(number) = graphs.choose(rows, inputs) else { continue };
                prop_assert!(number < MOST_GRAPHS && !failed.contains(&number));
                prop_assert!(rows <= graphs.rows(number) && graphs.rows(number) < 2 * rows);
                let bound = (graphs.rows(number), inputs);
                prop_assert_eq!(*bindings.entry(number).or_insert(bound), bound);
                graphs.note(number, succeeds);
                if !succeeds { failed.push(number) }
            }
        }
    }
}
