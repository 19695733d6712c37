//! How much of each device's memory is promised to models, and how much may still be.
//!
//! Admission happens here, before anything is loaded. A promise is the right to memory and is given back by dropping it.
//! The driver's own figure sees what a model already took, not what it will take, and a promise the other way round, so
//! that the larger of both counts: too careful at worst.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::placement::{DeviceRoom, GroupWish, MemoryEstimate, Place, PlacedGroup, PlacementError, place};

/// Memory that no model is given: the contexts of the driver and of the libraries, and what is measured too low.
const HEADROOM_BYTES: u64 = 256 << 20;

#[derive(Clone, Copy, Debug)]
struct Account {
    total: u64,
    /// In use by others when the account was opened.
    foreign: u64,
    limit_fraction: f64,
    promised: u64,
}

/// The accounts of all devices.
#[derive(Debug, Default)]
pub struct DeviceBudget {
    accounts: Mutex<BTreeMap<u32, Account>>,
}

/// Bytes promised on some devices; given back when dropped.
#[derive(Debug)]
pub struct MemoryPromise {
    budget: Arc<DeviceBudget>,
    bytes: BTreeMap<u32, u64>,
}

impl DeviceBudget {
    /// Opens the account of a device: its memory, what others use of it now, and the part, from 0 to 1, that may be in use
    /// when a model is loaded.
    pub fn open(&self, ordinal: u32, total: u64, foreign: u64, limit_fraction: f64) {
        self.accounts.lock().insert(ordinal, Account { total, foreign, limit_fraction, promised: 0 });
    }

    /// Places `groups` and promises them what they need. `used` tells the bytes in use on a device now, where the driver
    /// tells it.
    ///
    /// # Errors
    /// What [`place`] answers; nothing is promised then.
    pub fn admit(
        self: &Arc<Self>,
        groups: &[GroupWish],
        estimate: MemoryEstimate,
        used: impl Fn(u32) -> Option<u64>,
    ) -> Result<(Vec<PlacedGroup>, MemoryPromise), PlacementError> {
        let mut accounts = self.accounts.lock();
        let devices: Vec<DeviceRoom> = accounts
            .iter()
            .map(|(&ordinal, account)| DeviceRoom { ordinal, free_bytes: account.room(used(ordinal)) })
            .collect();
        let placed = place(groups, &devices, estimate)?;
        let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
        for (group, placed) in groups.iter().zip(&placed) {
            let Place::Gpus(gpus) = &placed.place else { continue };
            for &gpu in gpus {
                let needed = estimate.per_instance_bytes.saturating_mul(u64::from(group.count.max(1)));
                *bytes.entry(gpu).or_default() += needed;
            }
        }
        for (gpu, bytes) in &bytes {
            if let Some(account) = accounts.get_mut(gpu) {
                account.promised += bytes;
            }
        }
        drop(accounts);
        Ok((placed, MemoryPromise { budget: Arc::clone(self), bytes }))
    }

    /// Bytes promised on a device.
    #[must_use]
    pub fn promised(&self, ordinal: u32) -> u64 {
        self.accounts.lock().get(&ordinal).map_or(0, |account| account.promised)
    }
}

impl Account {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
    fn room(&self, used: Option<u64>) -> u64 {
        let allowed = (self.total as f64 * self.limit_fraction) as u64;
        let known = self.foreign.saturating_add(self.promised).saturating_add(HEADROOM_BYTES);
        allowed.saturating_sub(known.max(used.unwrap_or(0)))
    }
}

impl MemoryPromise {
    /// Replaces what was estimated on a device by what was measured.
    pub fn settle(&mut self, ordinal: u32, measured: u64) {
        let Some(bytes) = self.bytes.get_mut(&ordinal) else { return };
        if let Some(account) = self.budget.accounts.lock().get_mut(&ordinal) {
            account.promised = account.promised.saturating_sub(*bytes).saturating_add(measured);
            *bytes = measured;
        }
    }

    /// Promised bytes by device.
    #[must_use]
    pub fn bytes(&self) -> &BTreeMap<u32, u64> {
        &self.bytes
    }
}

impl Drop for MemoryPromise {
    fn drop(&mut self) {
        let mut accounts = self.budget.accounts.lock();
        for (gpu, bytes) in &self.bytes {
            if let Some(account) = accounts.get_mut(gpu) {
                account.promised = account.promised.saturating_sub(*bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::placement::WishKind;

    const GIB: u64 = 1 << 30;

    fn wish() -> [GroupWish; 1] {
        [GroupWish { name: "g".to_owned(), kind: WishKind::Gpu, count: 1, gpus: Vec::new() }]
    }

    #[test]
    fn memory_comes_back_with_the_promise() {
        let budget = Arc::new(DeviceBudget::default());
        budget.open(0, 8 * GIB, GIB, 0.5);
        let two = MemoryEstimate { per_instance_bytes: 2 * GIB };
        let (_, mut promise) = budget.admit(&wish(), two, |_| None).unwrap();
        assert_eq!(budget.promised(0), 2 * GIB);
        assert!(budget.admit(&wish(), two, |_| None).is_err(), "half of 8 GiB less 1 of others leaves 3");
        promise.settle(0, GIB / 2);
        let (_, second) = budget.admit(&wish(), two, |_| Some(GIB)).unwrap();
        assert!(budget.admit(&wish(), MemoryEstimate { per_instance_bytes: 1 }, |_| Some(4 * GIB)).is_err());
        drop((promise, second));
        assert_eq!(budget.promised(0), 0);
    }

    proptest! {
        #[test]
        fn promises_never_exceed_the_limit(sizes in proptest::collection::vec(0_u64..4 * GIB, 1..40), kept in 0_usize..40) {
            let budget = Arc::new(DeviceBudget::default());
            budget.open(0, 16 * GIB, 0, 1.0);
            let mut promises = Vec::new();
            for (index, per_instance_bytes) in sizes.into_iter().enumerate() {
                if let Ok((_, promise)) = budget.admit(&wish(), MemoryEstimate { per_instance_bytes }, |_| None) {
                    promises.push(promise);
                }
                if index == kept {
                    promises.clear();
                }
                let held: u64 = promises.iter().flat_map(|promise| promise.bytes().values()).sum();
                prop_assert_eq!(held, budget.promised(0));
                prop_assert!(held + HEADROOM_BYTES <= 16 * GIB);
            }
            promises.clear();
            prop_assert_eq!(budget.promised(0), 0);
        }
    }
}
