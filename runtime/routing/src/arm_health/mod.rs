//! Taking arms out of the split that plainly fail, and letting them back in.
//!
//! Not a verdict on a canary: rollouts judge with stated error rates, this only spares clients from an arm that is broken.
//! After Envoy's outlier detection (Envoy documentation, "Outlier detection"), with differences stated in
//! [`OutlierPolicy`] and half-open probes after Nygard's circuit breaker (Release It!, 2nd edition, chapter 5).
//!
//! [`OutlierDetector`] decides purely, off the request's path; [`HealthMonitor`] feeds it from the observation stream and
//! writes what each arm admits into [`ModelHealth`], which every request reads.

mod cell;
mod detector;
mod monitor;
mod policy;

pub use cell::ModelHealth;
pub use detector::{ArmState, OutlierDetector};
pub use monitor::{HealthChange, HealthMonitor};
pub use policy::OutlierPolicy;
