//! Executing on GPUs: the device's context and pools, and the instances that use them.
//!
//! **Experimental: no GPU has confirmed it.** What surrounds the session (staging, copies, pools, padding, failures) runs in
//! tests over ordinary memory, with the driver's stand-in and the library's CPU provider.

mod capture_at_load;
#[cfg(test)]
mod capture_tests;
mod device_instance;
mod device_runtime;
mod flight;
mod graphs;
mod inputs;
mod land;
mod launch;
mod layout;
mod outputs;
#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod region_tests;
mod segment_copier;
mod staging;
#[cfg(test)]
mod tests;
mod trouble;

pub(crate) use capture_at_load::PATIENCE;
pub(crate) use device_instance::{DeviceInstance, Parts};
pub(crate) use device_runtime::{DeviceRuntime, Generation};
pub(crate) use segment_copier::SegmentCopier;
pub(crate) use trouble::Trouble;
