//! The shadows of a model that get a copy of one request: one reference to all of them, and a bit for each.

use std::sync::Arc;

use crate::ShadowTarget;

/// Who gets a copy. Making, cloning and dropping one allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct SampledShadows {
    /// Every shadow of the model; `None` for nobody.
    declared: Option<Arc<[Arc<ShadowTarget>]>>,
    /// Bit `i` for the shadow at position `i`.
    chosen: u8,
}

impl SampledShadows {
    /// Those of `declared`, at most 8, at whose position `is_chosen` holds.
    pub(crate) fn choose(declared: &Arc<[Arc<ShadowTarget>]>, is_chosen: impl Fn(usize) -> bool) -> Self {
        let chosen =
            (0..declared.len().min(8)).filter(|&index| is_chosen(index)).fold(0, |bits, index| bits | 1 << index);
        if chosen == 0 { Self::default() } else { Self { declared: Some(Arc::clone(declared)), chosen } }
    }

    /// Keeps those that `is_kept` holds for.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&ShadowTarget) -> bool) {
        let Some(declared) = &self.declared else { return };
        *self = Self::choose(declared, |index| self.chosen & 1 << index != 0 && is_kept(&declared[index]));
    }

    /// In declared order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ShadowTarget>> {
        let declared = self.declared.iter().flat_map(|declared| declared.iter());
        declared.enumerate().filter(|(index, _)| self.chosen & 1 << index != 0).map(|(_, target)| target)
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.chosen.count_ones() as usize
    }

    /// Whether nobody gets a copy.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.chosen == 0
    }
}

/// Equal when the same targets get a copy, whatever else the model's entry has.
impl PartialEq for SampledShadows {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SampledShadows {}
