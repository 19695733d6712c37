//! When an arm is ejected, for how long, and how it comes back.

use serde::{Deserialize, Serialize};

use crate::assignment_hash::BUCKETS;

/// When an arm is ejected, for how long, and how it comes back. Defaults are Envoy's where it has them.
///
/// Differs from Envoy: the error rate is compared with that of the other arms together (Envoy's standard deviation over
/// hosts needs five hosts; a split has two or three), the largest ejected share counts weight instead of hosts, and an
/// arm comes back through probes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierPolicy {
    /// Failures in a row that eject; at least 1. 0 never ejects for this reason.
    pub consecutive_failures: u32,
    /// Length of the windows over which error rates are compared, in milliseconds; at least 1.
    pub window_milliseconds: u64,
    /// Requests that an arm, and the others together, must have had in a window to be compared.
    pub minimum_requests: u32,
    /// How far above the others' error rate an arm's must be to eject it, in basis points of its requests. Absent: error
    /// rates are not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate_margin_basis_points: Option<u16>,
    /// Largest sum of the weights of ejected and half-open arms, in basis points.
    pub most_ejected_basis_points: u16,
    /// Time of the first ejection, in milliseconds; the n-th in short order takes n times as long.
    pub base_ejection_milliseconds: u64,
    /// Longest ejection, in milliseconds.
    pub longest_ejection_milliseconds: u64,
    /// Share of the requests due to a half-open arm that it gets, in basis points.
    pub probe_share_basis_points: u16,
    /// Successful probes in a row that make a half-open arm healthy.
    pub probes: u32,
}

impl Default for OutlierPolicy {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            window_milliseconds: 10_000,
            minimum_requests: 100,
            error_rate_margin_basis_points: None,
            most_ejected_basis_points: 5_000,
            base_ejection_milliseconds: 30_000,
            longest_ejection_milliseconds: 300_000,
            probe_share_basis_points: 1_000,
            probes: 5,
        }
    }
}

impl OutlierPolicy {
    /// What is out of range: field and message.
    pub(crate) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let mut within = |field: &'static str, value: u64, least: u64, most: u64| {
            if !(least..=most).contains(&value) {
                faults.push((field, format!("expected `{least}` to `{most}`, got `{value}`")));
            }
        };
        let all = u64::from(BUCKETS);
        // Ten years in milliseconds: far from any overflow in microseconds.
        let longest = 315_360_000_000;
        within("window_milliseconds", self.window_milliseconds, 1, longest);
        within("minimum_requests", self.minimum_requests.into(), 1, u32::MAX.into());
        within("most_ejected_basis_points", self.most_ejected_basis_points.into(), 0, all);
        within("base_ejection_milliseconds", self.base_ejection_milliseconds, 1, longest);
        let base = self.base_ejection_milliseconds.clamp(1, longest);
        within("longest_ejection_milliseconds", self.longest_ejection_milliseconds, base, longest);
        within("probe_share_basis_points", self.probe_share_basis_points.into(), 1, all - 1);
        within("probes", self.probes.into(), 1, u32::MAX.into());
        if let Some(margin) = self.error_rate_margin_basis_points {
            within("error_rate_margin_basis_points", margin.into(), 1, all);
        }
        faults
    }
}
