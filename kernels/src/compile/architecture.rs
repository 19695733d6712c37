//! GPU architectures by their names.

use std::fmt;
use std::str::FromStr;

use crate::error::{KernelError, invalid};

/// Compute capability of a device, such as 9.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture {
    /// Before the point.
    pub major: u32,
    /// After the point.
    pub minor: u32,
}

impl Architecture {
    /// Name for machine code, such as `sm_90`.
    #[must_use]
    pub fn machine_code(self) -> String {
        format!("sm_{}{}", self.major, self.minor)
    }

    /// Name for PTX, such as `compute_90`.
    #[must_use]
    pub fn ptx(self) -> String {
        format!("compute_{}{}", self.major, self.minor)
    }

    /// Whether machine code for `self` runs on a device of architecture `device`: same major, no lower minor.
    #[must_use]
    pub fn runs_on(self, device: Self) -> bool {
        self.major == device.major && self.minor <= device.minor
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sm_{}{}", self.major, self.minor)
    }
}

impl FromStr for Architecture {
    type Err = KernelError;

    /// Reads `sm_90`, `compute_90` or `90`: the last digit is the minor.
    fn from_str(text: &str) -> Result<Self, KernelError> {
        let digits = text.trim().trim_start_matches("sm_").trim_start_matches("compute_");
        let number: u32 = digits.parse().map_err(|_| invalid("architecture", "a name such as `sm_90`", text))?;
        if number < 10 {
            return Err(invalid("architecture", "a name such as `sm_90`", text));
        }
        Ok(Self { major: number / 10, minor: number % 10 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let hopper: Architecture = "sm_90".parse().unwrap();
        assert_eq!(hopper, Architecture { major: 9, minor: 0 });
        assert_eq!(hopper.ptx(), "compute_90");
        assert_eq!("120".parse::<Architecture>().unwrap().to_string(), "sm_120");
        assert!("sm_9x".parse::<Architecture>().is_err());
        assert!("9".parse::<Architecture>().is_err());
    }

    #[test]
    fn machine_code_runs_within_its_major() {
        let of = |major, minor| Architecture { major, minor };
        assert!(of(8, 0).runs_on(of(8, 9)));
        assert!(!of(8, 9).runs_on(of(8, 0)));
        assert!(!of(8, 0).runs_on(of(9, 0)));
    }
}
