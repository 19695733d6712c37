//! What this machine has: the driver, its devices, and NVML beside it.
//!
//! Never fails: a machine without a GPU is a finding with its reason. The driver says which devices there are; NVML adds what
//! it alone knows (free memory without a context, the driver's version, whether a UUID is that of a part of a GPU).

use std::path::PathBuf;
use std::sync::Arc;

use crate::device::{Device, DeviceKind, uuid_text};
use crate::driver::Driver;
use crate::error::DeviceError;
use crate::nvml::{Nvml, Part};

/// Where the libraries are looked for; by default under their names, by the system's loader.
#[derive(Clone, Debug)]
pub struct DiscoverySettings {
    /// Names or paths of the CUDA driver, best first.
    pub driver: Vec<PathBuf>,
    /// Names or paths of NVML, best first.
    pub nvml: Vec<PathBuf>,
}

impl Default for DiscoverySettings {
    fn default() -> Self {
        Self {
            driver: vec!["libcuda.so.1".into(), "libcuda.so".into()],
            nvml: vec!["libnvidia-ml.so.1".into(), "libnvidia-ml.so".into()],
        }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// The opened driver, or why there is none.
    pub driver: Result<Arc<Driver>, DeviceError>,
    /// NVML, or why there is none.
    pub nvml: Result<Arc<Nvml>, DeviceError>,
    /// Devices, by ordinal; empty without a driver.
    pub devices: Vec<Device>,
    /// Devices that did not answer, and why.
    pub failures: Vec<(u32, DeviceError)>,
}

impl Discovery {
    /// Why there is no device to use; `None` when there is one.
    #[must_use]
    pub fn why_none(&self) -> Option<String> {
        if !self.devices.is_empty() {
            return None;
        }
        Some(match (&self.driver, self.failures.first()) {
            (Err(error), _) => error.to_string(),
            (Ok(_), Some((ordinal, error))) => format!("device {ordinal} did not answer: {error}"),
            (Ok(_), None) => "the CUDA driver has no device, or CUDA_VISIBLE_DEVICES hides all (`hanok doctor` names the parts of GPUs)".to_owned(),
        })
    }

    /// Parts of GPUs (MIG) that this machine has and this process does not see: a process sees the one that
    /// `CUDA_VISIBLE_DEVICES` names, or else the first.
    #[must_use]
    pub fn parts_out_of_sight(&self) -> Vec<Part> {
        let parts = self.nvml.as_ref().map(|nvml| nvml.parts()).unwrap_or_default();
        let seen = |part: &Part| self.devices.iter().any(|device| device.uuid == part.uuid);
        parts.into_iter().filter(|part| !seen(part)).collect()
    }

    /// Memory in use on the device at `ordinal`, by whomever, where NVML tells it.
    #[must_use]
    pub fn used_bytes(&self, ordinal: u32) -> Option<u64> {
        let device = self.devices.iter().find(|device| device.ordinal == ordinal)?;
        self.nvml.as_ref().ok()?.memory(&device.uuid).map(|(_, used)| used)
    }
}

/// Looks at the machine. Opens libraries and starts the driver, which may take tenths of seconds; makes no context.
#[must_use]
pub fn discover(settings: &DiscoverySettings) -> Discovery {
    let nvml = Nvml::open(&settings.nvml).map(Arc::new);
    let driver = Driver::open(&settings.driver).map(Arc::new);
    let (mut devices, mut failures) = (Vec::new(), Vec::new());
    if let Ok(driver) = &driver {
        for ordinal in 0..driver.device_count() {
            match record(driver, nvml.as_deref().ok(), ordinal) {
                Ok(device) => devices.push(device),
                Err(error) => failures.push((ordinal, error)),
            }
        }
    }
    Discovery { driver, nvml, devices, failures }
}

fn record(driver: &Driver, nvml: Option<&Nvml>, ordinal: u32) -> Result<Device, DeviceError> {
    let facts = driver.device_facts(ordinal)?;
    let digits = uuid_text(facts.uuid);
    let (gpu, part) = (format!("GPU-{digits}"), format!("MIG-{digits}"));
    let is_part = nvml.is_some_and(|nvml| !nvml.knows(&gpu) && nvml.knows(&part));
    let (uuid, kind) = if is_part { (part, DeviceKind::Part) } else { (gpu, DeviceKind::Gpu) };
    let memory = nvml.and_then(|nvml| nvml.memory(&uuid));
    Ok(Device {
        ordinal,
        name: facts.name,
        kind,
        memory_bytes: facts.memory_bytes,
        free_bytes: memory.map(|(total, used)| total.saturating_sub(used)),
        capability: facts.capability,
        uuid,
    })
}
