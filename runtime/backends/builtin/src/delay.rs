//! How long a model sleeps before it computes, by Triton's parameters.
//!
//! `execute_delay_ms` is the delay of every execution; `instance_wise_delay_multiplier` multiplies it with the index
//! of the instance (1 where that is 0); `creation_delay_sec` delays loading. Triton multiplies by the device's number,
//! which is 0 for every instance on the processors; the index keeps the meaning where there is no GPU.

use std::time::Duration;

use hanok_backend::ServingError;
use hanok_model_config::ModelConfig;

/// Longest delay that a parameter may ask for, so that a typo cannot hang the server for days.
const MAXIMUM: Duration = Duration::from_secs(3600);

/// The delays of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delays {
    /// Before loading ends.
    pub(crate) creation: Duration,
    execution: Duration,
    instance_multiplier: u32,
}

impl Delays {
    pub(crate) fn from_config(config: &ModelConfig) -> Result<Self, ServingError> {
        let number = |name: &str, maximum: u32| match config.parameters.get(name) {
            None => Ok(0),
            Some(text) => text.parse::<u32>().ok().filter(|number| *number <= maximum).ok_or_else(|| {
                ServingError::invalid(format!(
                    "parameter `{name}` of model `{}` must be a whole number from 0 to {maximum}, got `{text}`",
                    config.name
                ))
            }),
        };
        Ok(Self {
            creation: Duration::from_secs(number("creation_delay_sec", 3600)?.into()),
            execution: Duration::from_millis(number("execute_delay_ms", 3_600_000)?.into()),
            instance_multiplier: number("instance_wise_delay_multiplier", 1000)?,
        })
    }

    /// The delay of every execution of the instance called `instance`, whose name ends in its index.
    pub(crate) fn for_instance(&self, instance: &str) -> Duration {
        let index = instance.rsplit('_').next().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        let factor = index.saturating_mul(self.instance_multiplier).max(1);
        self.execution.saturating_mul(factor).min(MAXIMUM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_multiplier_counts_instances() {
        let delays = Delays { execution: Duration::from_millis(10), instance_multiplier: 2, ..Default::default() };
        assert_eq!(delays.for_instance("model_0_0"), Duration::from_millis(10));
        assert_eq!(delays.for_instance("model_0_1"), Duration::from_millis(20));
        assert_eq!(delays.for_instance("model_0_3"), Duration::from_millis(60));
        assert_eq!(delays.for_instance("no index"), Duration::from_millis(10));
        let plain = Delays { instance_multiplier: 0, ..delays };
        assert_eq!(plain.for_instance("model_0_3"), Duration::from_millis(10));
        assert_eq!(delays.for_instance("model_0_4000000000"), MAXIMUM);
    }
}
