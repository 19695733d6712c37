//! Which outputs a reply carries, in which order and form.
//!
//! Made when the request is validated, so that the reply needs no name look-up.

use smallvec::SmallVec;

/// One output of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedOutput {
    /// Index in the model's configuration.
    pub index: u16,
    /// Whether it is written as binary data (HTTP; gRPC always is).
    pub binary: bool,
    /// Number of classes wanted; 0 means the tensor itself.
    pub classification: u32,
    /// Whether it goes to a region that the client lent: the reply tells its shape only.
    pub placed: bool,
}

/// The outputs of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputPlan {
    /// All outputs, in the order of the configuration.
    All {
        /// Whether they are written as binary data.
        binary: bool,
    },
    /// Only these, in the order in which the client named them (W-29).
    Only(SmallVec<[PlannedOutput; 2]>),
}

impl OutputPlan {
    /// The planned outputs of a model with `output_count` outputs.
    pub fn outputs(&self, output_count: usize) -> impl Iterator<Item = PlannedOutput> + '_ {
        let (all, only): (usize, &[PlannedOutput]) = match self {
            Self::All { .. } => (output_count, &[]),
            Self::Only(outputs) => (0, outputs),
        };
        let all_binary = matches!(self, Self::All { binary: true });
        (0..all)
            .filter_map(move |index| {
                let index = u16::try_from(index).ok()?;
                Some(PlannedOutput { index, binary: all_binary, classification: 0, placed: false })
            })
            .chain(only.iter().copied())
    }
}
