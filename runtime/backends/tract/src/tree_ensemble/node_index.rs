//! Finding nodes and their weights by id while an ensemble is laid out.
//!
//! Forests have millions of nodes, so these are a few sorted arrays: no table of hashes, no list per node. The given
//! order is mostly the sorted one, and ids within a tree mostly have no gaps, which makes most look-ups one step.

use super::definition::{EnsembleDefinition, InvalidEnsemble, NodeDefinition};

/// Positions of nodes, by tree and id.
#[derive(Debug)]
pub(super) struct NodeIndex {
    /// Tree, id, position in the definition; sorted by tree and id.
    sorted: Vec<(i64, i64, u32)>,
    /// Tree and where it starts in `sorted`; sorted by tree.
    trees: Vec<(i64, usize)>,
    /// Position of each tree's first node in the definition, in that order.
    roots: Vec<u32>,
}

impl NodeIndex {
    /// Indexes `nodes`, which are fewer than 32 bits count.
    ///
    /// # Errors
    /// [`InvalidEnsemble::DuplicateNode`].
    pub(super) fn new(nodes: &[NodeDefinition]) -> Result<Self, InvalidEnsemble> {
        let mut sorted: Vec<(i64, i64, u32)> =
            nodes.iter().zip(0..).map(|(node, position)| (node.tree, node.node, position)).collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1)) {
            return Err(InvalidEnsemble::DuplicateNode { tree: twice[0].0, node: twice[0].1 });
        }
        let mut trees = Vec::new();
        let mut roots = Vec::new();
        for of_tree in sorted.chunk_by(|one, other| one.0 == other.0) {
            let start = trees.last().map_or(0, |&(_, start, length)| start + length);
            trees.push((of_tree[0].0, start, of_tree.len()));
            roots.extend(of_tree.iter().map(|&(_, _, position)| position).min());
        }
        roots.sort_unstable();
        let trees = trees.into_iter().map(|(tree, start, _)| (tree, start)).collect();
        Ok(Self { sorted, trees, roots })
    }

    /// Position in the definition of node `node` of tree `tree`.
    pub(super) fn find(&self, tree: i64, node: i64) -> Option<u32> {
        let place = self.trees.binary_search_by_key(&tree, |&(tree, _)| tree).ok()?;
        let start = self.trees[place].1;
        let end = self.trees.get(place + 1).map_or(self.sorted.len(), |&(_, start)| start);
        let of_tree = &self.sorted[start..end];
        let guess = node.checked_sub(of_tree.first()?.1).and_then(|offset| usize::try_from(offset).ok());
        if let Some(&(_, found, position)) = guess.and_then(|guess| of_tree.get(guess))
            && found == node
        {
            return Some(position);
        }
        let place = of_tree.binary_search_by_key(&node, |&(_, node, _)| node).ok()?;
        Some(of_tree[place].2)
    }

    /// Positions of the roots, in the order of their trees.
    pub(super) fn roots(&self) -> impl Iterator<Item = u32> {
        self.roots.iter().copied()
    }
}

/// Targets and weights of nodes, by position in the definition.
#[derive(Debug)]
pub(super) struct NodeWeights {
    /// Where a node's weights end; they start where those of the node before end.
    ends: Vec<u32>,
    weights: Vec<(u32, f64)>,
}

impl NodeWeights {
    /// Groups the weights of `definition`, which are fewer than 32 bits count; a node's own stay in their order.
    ///
    /// # Errors
    /// [`InvalidEnsemble`] for a weight of a node or target that does not exist.
    pub(super) fn new(definition: &EnsembleDefinition, index: &NodeIndex) -> Result<Self, InvalidEnsemble> {
        let mut placed = Vec::with_capacity(definition.weights.len());
        for weight in &definition.weights {
            let Some(position) = index.find(weight.tree, weight.node) else {
                return Err(InvalidEnsemble::UnknownNode { tree: weight.tree, node: weight.node });
            };
            let target = u32::try_from(weight.target).ok().filter(|&target| (target as usize) < definition.targets);
            let Some(target) = target else {
                return Err(InvalidEnsemble::TargetOutOfRange { targets: definition.targets, target: weight.target });
            };
            placed.push((position, target, weight.weight));
        }
        placed.sort_by_key(|&(position, _, _)| position);
        let mut ends = vec![0; definition.nodes.len()];
        placed.iter().for_each(|&(position, _, _)| ends[position as usize] += 1);
        let mut end = 0;
        for count in &mut ends {
            end += *count;
            *count = end;
        }
        Ok(Self { ends, weights: placed.into_iter().map(|(_, target, weight)| (target, weight)).collect() })
    }

    /// Targets and weights of the node at `position`.
    pub(super) fn of(&self, position: u32) -> &[(u32, f64)] {
        let position = position as usize;
        let start = position.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.weights[start as usize..self.ends[position] as usize]
    }
}
