//! Which instances go to which device, and whether there is room for them: a pure function.
//!
//! Triton's rules for `instance_group`: KIND_GPU without `gpus` means every GPU, KIND_AUTO means GPUs where there are any.
//! Where we differ: memory is asked for before anything is loaded. A device without room is left out where the group
//! names none, and is an error where it names it; KIND_AUTO falls back to the processors.

use std::collections::BTreeMap;

use thiserror::Error;

/// What a group asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WishKind {
    /// The processors.
    Cpu,
    /// GPUs, or an error.
    Gpu,
    /// GPUs where there are any with room, else the processors.
    Auto,
}

/// One instance group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWish {
    /// Its name, for messages.
    pub name: String,
    /// What it asks for.
    pub kind: WishKind,
    /// Instances on each device.
    pub count: u32,
    /// Ordinals; empty for every GPU.
    pub gpus: Vec<u32>,
}

/// What instances of a model take on a device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Of each instance: its copy of the weights and what it computes in.
    pub per_instance_bytes: u64,
}

/// A device and what is free on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRoom {
    /// Ordinal among the visible devices.
    pub ordinal: u32,
    /// Bytes that models may still take.
    pub free_bytes: u64,
}

/// Where a group's instances run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the processors.
    Cpu,
    /// On each of these devices, `count` instances each; never empty.
    Gpus(Vec<u32>),
}

/// A group and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedGroup {
    /// Where.
    pub place: Place,
    /// Devices that were left out for want of room, to be told once.
    pub left_out: Vec<u32>,
}

/// Why a group has no place.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlacementError {
    /// There is no GPU at all.
    #[error("instance group `{group}` has kind KIND_GPU but there is no GPU")]
    NoGpu {
        /// The group.
        group: String,
    },
    /// A named device is not there.
    #[error(
        "instance group `{group}` names GPU `{gpu}`, but this server has `{count}` of them, counted from 0 in the \
             order of CUDA_VISIBLE_DEVICES, where GPUs and parts of them are named by UUID"
    )]
    NoSuchGpu {
        /// The group.
        group: String,
        /// The ordinal that it names.
        gpu: u32,
        /// How many there are.
        count: usize,
    },
    /// No device, or not the named one, has room.
    #[error("instance group `{group}` needs `{needed}` bytes on GPU `{gpu}`, where `{free}` are free for models")]
    NoRoom {
        /// The group.
        group: String,
        /// The named device, or that with the most room.
        gpu: u32,
        /// Bytes needed there.
        needed: u64,
        /// Bytes free there.
        free: u64,
    },
}

/// Places `groups`, in order, on `devices`.
///
/// The same arguments give the same places. Groups before others have the first choice; what one takes is not free for
/// the next.
///
/// # Errors
/// For the first group that must be on a GPU and cannot be.
pub fn place(
    groups: &[GroupWish],
    devices: &[DeviceRoom],
    estimate: MemoryEstimate,
) -> Result<Vec<PlacedGroup>, PlacementError> {
    let mut free: BTreeMap<u32, u64> = devices.iter().map(|device| (device.ordinal, device.free_bytes)).collect();
    groups.iter().map(|group| place_one(group, &mut free, estimate)).collect()
}

fn place_one(
    group: &GroupWish,
    free: &mut BTreeMap<u32, u64>,
    estimate: MemoryEstimate,
) -> Result<PlacedGroup, PlacementError> {
    let cpu = |left_out| Ok(PlacedGroup { place: Place::Cpu, left_out });
    if group.kind == WishKind::Cpu {
        return cpu(Vec::new());
    }
    let must = group.kind == WishKind::Gpu;
    if free.is_empty() {
        return if must { Err(PlacementError::NoGpu { group: group.name.clone() }) } else { cpu(Vec::new()) };
    }
    let mut wanted = group.gpus.clone();
    if wanted.is_empty() {
        wanted = free.keys().copied().collect();
    }
    let count = free.len();
    if must && let Some(&gpu) = wanted.iter().find(|gpu| !free.contains_key(gpu)) {
        return Err(PlacementError::NoSuchGpu { group: group.name.clone(), gpu, count });
    }
    let needed = estimate.per_instance_bytes.saturating_mul(u64::from(group.count.max(1)));
    let room = |gpu: &u32| free.get(gpu).is_some_and(|&free| free >= needed);
    let (fitting, left_out): (Vec<u32>, Vec<u32>) = wanted.iter().partition(|gpu| room(gpu));
    let named = must && !group.gpus.is_empty();
    if must && (fitting.is_empty() || (named && !left_out.is_empty())) {
        let gpu = left_out.iter().copied().max_by_key(|gpu| if named { 0 } else { free[gpu] }).unwrap_or_default();
        let free = free.get(&gpu).copied().unwrap_or_default();
        return Err(PlacementError::NoRoom { group: group.name.clone(), gpu, needed, free });
    }
    if fitting.is_empty() {
        return cpu(left_out);
    }
    for gpu in &fitting {
        if let Some(free) = free.get_mut(gpu) {
            *free -= needed;
        }
    }
    Ok(PlacedGroup { place: Place::Gpus(fitting), left_out })
}

/// Reads `DEVICE:FRACTION`, the value of Triton's flag `model-load-gpu-limit`: the part of a device's memory, from 0 to 1,
/// beyond which no model is loaded on it.
///
/// # Errors
/// A text that says what was expected.
pub fn parse_load_limit(text: &str) -> Result<(u32, f64), String> {
    let wrong = || format!("expected DEVICE:FRACTION with a fraction from 0 to 1, such as `0:0.9`, got `{text}`");
    let (device, fraction) = text.split_once(':').ok_or_else(wrong)?;
    let device = device.parse().map_err(|_| wrong())?;
    let fraction: f64 = fraction.parse().map_err(|_| wrong())?;
    if (0.0..=1.0).contains(&fraction) { Ok((device, fraction)) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn wish(kind: WishKind, count: u32, gpus: &[u32]) -> GroupWish {
        GroupWish { name: "g".to_owned(), kind, count, gpus: gpus.to_vec() }
    }

    fn rooms(free: &[u64]) -> Vec<DeviceRoom> {
        (0_u32..).zip(free).map(|(ordinal, &free_bytes)| DeviceRoom { ordinal, free_bytes }).collect()
    }

    const TEN: MemoryEstimate = MemoryEstimate { per_instance_bytes: 10 };

    #[test]
    fn kinds_mean_what_triton_means() {
        let of = |group: GroupWish, free: &[u64]| place(&[group], &rooms(free), TEN).map(|mut placed| placed.remove(0));
        assert_eq!(of(wish(WishKind::Gpu, 1, &[]), &[10, 30]).unwrap().place, Place::Gpus(vec![0, 1]));
        assert_eq!(of(wish(WishKind::Gpu, 1, &[1]), &[10, 30]).unwrap().place, Place::Gpus(vec![1]));
        assert_eq!(of(wish(WishKind::Auto, 1, &[]), &[]).unwrap().place, Place::Cpu);
        assert_eq!(of(wish(WishKind::Auto, 1, &[7]), &[10]).unwrap().place, Place::Cpu);
        assert_eq!(of(wish(WishKind::Cpu, 1, &[]), &[10]).unwrap().place, Place::Cpu);
        let partly = of(wish(WishKind::Gpu, 2, &[]), &[10, 30]).unwrap();
        assert_eq!((partly.place, partly.left_out), (Place::Gpus(vec![1]), vec![0]));
    }

    #[test]
    fn what_cannot_be_says_why() {
        let text = |group: GroupWish, free: &[u64]| place(&[group], &rooms(free), TEN).unwrap_err().to_string();
        assert_eq!(text(wish(WishKind::Gpu, 1, &[]), &[]), "instance group `g` has kind KIND_GPU but there is no GPU");
        assert_eq!(
            text(wish(WishKind::Gpu, 1, &[2]), &[10, 10]),
            "instance group `g` names GPU `2`, but this server has `2` of them, counted from 0 in the order of \
             CUDA_VISIBLE_DEVICES, where GPUs and parts of them are named by UUID"
        );
        assert_eq!(
            text(wish(WishKind::Gpu, 3, &[0]), &[29, 99]),
            "instance group `g` needs `30` bytes on GPU `0`, where `29` are free for models"
        );
        assert_eq!(
            text(wish(WishKind::Gpu, 3, &[]), &[9, 29]),
            "instance group `g` needs `30` bytes on GPU `1`, where `29` are free for models"
        );
    }

    #[test]
    fn limits_are_read_in_tritons_form() {
        assert_eq!(parse_load_limit("1:0.75"), Ok((1, 0.75)));
        for wrong in ["", "1", "1:", "x:0.5", "0:1.5", "0:-0.1", "0:NaN"] {
            assert!(parse_load_limit(wrong).is_err(), "{wrong}");
        }
    }

    fn wishes() -> impl Strategy<Value = Vec<GroupWish>> {
        let kind = prop_oneof![Just(WishKind::Cpu), Just(WishKind::Gpu), Just(WishKind::Auto)];
        let gpus = proptest::collection::btree_set(0_u32..5, 0..4);
        let one = (kind, 1_u32..4, gpus)
            .prop_map(|(kind, count, gpus)| wish(kind, count, &gpus.into_iter().collect::<Vec<_>>()));
        proptest::collection::vec(one, 1..5)
    }

    proptest! {
        #[test]
        fn no_device_is_promised_twice(
            groups in wishes(), free in proptest::collection::vec(0_u64..100, 0..4), bytes in 0_u64..40,
        ) {
            let estimate = MemoryEstimate { per_instance_bytes: bytes };
            let devices = rooms(&free);
            if let Ok(placed) = place(&groups, &devices, estimate) {
                prop_assert_eq!(placed.len(), groups.len());
                let mut taken = vec![0_u64; free.len()];
                for (group, placed) in groups.iter().zip(&placed) {
                    match &placed.place {
                        Place::Cpu => prop_assert!(group.kind != WishKind::Gpu),
                        Place::Gpus(gpus) => {
                            prop_assert!(group.kind != WishKind::Cpu && !gpus.is_empty());
                            for &gpu in gpus {
                                prop_assert!(group.gpus.is_empty() || group.gpus.contains(&gpu));
                                taken[gpu as usize] += bytes * u64::from(group.count);
                            }
                        }
                    }
                }
                prop_assert!(taken.iter().zip(&free).all(|(taken, free)| taken <= free));
            }
        }

        #[test]
        fn more_memory_never_turns_one_group_away(
            group in wishes(), free in proptest::collection::vec(0_u64..100, 1..4), bytes in 0_u64..40, more in any::<u16>(),
        ) {
            let estimate = MemoryEstimate { per_instance_bytes: bytes };
            let richer: Vec<u64> = free.iter().map(|free| free + u64::from(more)).collect();
            if place(&group[..1], &rooms(&free), estimate).is_ok() {
                prop_assert!(place(&group[..1], &rooms(&richer), estimate).is_ok());
            }
        }
    }
}
