//! Metrics of GPUs under Triton's names, read when they are asked for; what a device does not tell is absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanok_devices::GpuReading;
use hanok_repository::{GpuDevices, ModelRepository, ReadyVersion};
use hanok_telemetry::{Exposition, MetricKind};

/// A value of a reading.
type Value = fn(&GpuReading) -> Option<f64>;

/// Families by device: name, type, help, value. The energy is counted from the server's start, as Triton does.
const FAMILIES: [(&str, MetricKind, &str, Value); 6] = [
    ("nv_gpu_utilization", MetricKind::Gauge, "GPU utilization rate [0.0 - 1.0)", |reading| reading.utilization),
    ("nv_gpu_memory_total_bytes", MetricKind::Gauge, "GPU total memory, in bytes", |reading| {
        reading.memory_total_bytes.map(as_float)
    }),
    ("nv_gpu_memory_used_bytes", MetricKind::Gauge, "GPU used memory, in bytes", |reading| {
        reading.memory_used_bytes.map(as_float)
    }),
    ("nv_gpu_power_usage", MetricKind::Gauge, "GPU power usage in watts", |reading| reading.power_watts),
    ("nv_gpu_power_limit", MetricKind::Gauge, "GPU power management limit in watts", |reading| {
        reading.power_limit_watts
    }),
    (
        "nv_energy_consumption",
        MetricKind::Counter,
        "GPU energy consumption in joules since the server started",
        |reading| reading.energy_joules,
    ),
];
const PROMISED: &str = "hanok_gpu_memory_promised_bytes";
const OF_MODEL: &str = "hanok_model_gpu_memory_bytes";
const BUSY: &str = "hanok_model_gpu_busy_seconds_total";

#[allow(clippy::cast_precision_loss, reason = "bytes and nanoseconds, for people")]
fn as_float(number: u64) -> f64 {
    number as f64
}

/// What the metrics of GPUs are read from.
#[derive(Debug)]
pub(crate) struct GpuMetrics {
    gpus: Arc<GpuDevices>,
    repository: Arc<ModelRepository>,
    /// Joules at the start, by UUID.
    energy_before: BTreeMap<String, f64>,
}

impl GpuMetrics {
    /// Metrics of `gpus` and of what models hold of them.
    pub(crate) fn new(gpus: Arc<GpuDevices>, repository: Arc<ModelRepository>) -> Self {
        let readings = readings(&gpus);
        let energy_before =
            readings.into_iter().filter_map(|(uuid, reading)| Some((uuid, reading.energy_joules?))).collect();
        Self { gpus, repository, energy_before }
    }

    /// Writes every family; nothing where there is no GPU.
    pub(crate) fn render(&self) -> String {
        let mut readings = readings(&self.gpus);
        for (uuid, reading) in &mut readings {
            let before = self.energy_before.get(uuid).copied().unwrap_or(0.0);
            reading.energy_joules = reading.energy_joules.map(|joules| (joules - before).max(0.0));
        }
        let mut page = Exposition::default();
        write_readings(&mut page, &readings);
        if self.gpus.devices().is_empty() {
            return page.into_text();
        }
        page.family(PROMISED, MetricKind::Gauge, "GPU memory promised to loaded models, in bytes");
        for device in self.gpus.devices() {
            page.integer(PROMISED, &[("gpu_uuid", &device.uuid)], self.gpus.promised_bytes(device.ordinal));
        }
        page.family(OF_MODEL, MetricKind::Gauge, "GPU memory of a loaded version, measured or estimated, in bytes");
        for version in self.repository.ready().all() {
            for (ordinal, bytes) in version.device_memory.iter().flat_map(|promise| promise.bytes()) {
                let uuid = self.gpus.devices().iter().find(|device| device.ordinal == *ordinal);
                let uuid = uuid.map_or("", |device| device.uuid.as_str());
                let labels = [("gpu_uuid", uuid), ("model", &*version.model), ("version", &*version.version_text)];
                page.integer(OF_MODEL, &labels, *bytes);
            }
        }
        page.family(
            BUSY,
            MetricKind::Counter,
            "Time that GPUs computed for a loaded version, by their own clock, in seconds",
        );
        let on_gpus = |version: &Arc<ReadyVersion>| {
            version.device_memory.as_ref().is_some_and(|promise| !promise.bytes().is_empty())
        };
        for version in self.repository.ready().all().into_iter().filter(on_gpus) {
            let labels = [("model", &*version.model), ("version", &*version.version_text)];
            page.float(BUSY, &labels, as_float(version.statistics.device_busy_ns()) / 1e9);
        }
        page.into_text()
    }
}

fn readings(gpus: &GpuDevices) -> Vec<(String, GpuReading)> {
    let Ok(nvml) = &gpus.discovery().nvml else { return Vec::new() };
    gpus.devices().iter().filter_map(|device| Some((device.uuid.clone(), nvml.read(&device.uuid)?))).collect()
}

fn write_readings(page: &mut Exposition, readings: &[(String, GpuReading)]) {
    for (name, kind, help, value) in FAMILIES {
        if !readings.iter().any(|(_, reading)| value(reading).is_some()) {
            continue;
        }
        page.family(name, kind, help);
        for (uuid, reading) in readings {
            if let Some(value) = value(reading) {
                page.float(name, &[("gpu_uuid", uuid)], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_does_not_tell_is_absent() {
        let part = GpuReading { memory_used_bytes: Some(5), ..GpuReading::default() };
        let whole = GpuReading { utilization: Some(0.5), ..part };
        let mut page = Exposition::default();
        write_readings(&mut page, &[("GPU-1".to_owned(), whole), ("MIG-2".to_owned(), part)]);
        assert_eq!(
            page.into_text(),
            "# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)\n# TYPE nv_gpu_utilization gauge\n\
             nv_gpu_utilization{gpu_uuid=\"GPU-1\"} 0.5\n# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes\n\
             # TYPE nv_gpu_memory_used_bytes gauge\nnv_gpu_memory_used_bytes{gpu_uuid=\"GPU-1\"} 5.0\n\
             nv_gpu_memory_used_bytes{gpu_uuid=\"MIG-2\"} 5.0\n"
        );
        let mut page = Exposition::default();
        write_readings(&mut page, &[]);
        assert_eq!(page.into_text(), "");
    }
}
