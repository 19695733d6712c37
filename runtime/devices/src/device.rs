//! What is known of one device.

use std::fmt;

/// Compute capability, such as 9.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ComputeCapability {
    /// Before the point.
    pub major: u32,
    /// After the point.
    pub minor: u32,
}

impl fmt::Display for ComputeCapability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Whether a device is a whole GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// A whole GPU.
    Gpu,
    /// A part of one (MIG).
    Part,
}

/// One device that this process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The number that configurations use: among the devices that `CUDA_VISIBLE_DEVICES` lets through, in its order.
    pub ordinal: u32,
    /// `GPU-...`, or `MIG-...` for a part of one.
    pub uuid: String,
    /// Name of the product.
    pub name: String,
    /// Whether it is a whole GPU.
    pub kind: DeviceKind,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Memory that is free, where NVML tells it.
    pub free_bytes: Option<u64>,
    /// What its instructions are.
    pub capability: ComputeCapability,
}

/// The text of a UUID after its prefix: 8-4-4-4-12 hexadecimal digits.
pub(crate) fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.kind {
            DeviceKind::Gpu => "",
            DeviceKind::Part => ", a part of a GPU",
        };
        let mebibytes = |bytes: u64| bytes >> 20;
        write!(
            formatter,
            "{} {} ({}, compute capability {}{part}, ",
            self.ordinal, self.name, self.uuid, self.capability
        )?;
        match self.free_bytes {
            Some(free) => write!(formatter, "{} of {} MiB free)", mebibytes(free), mebibytes(self.memory_bytes)),
            None => write!(formatter, "{} MiB)", mebibytes(self.memory_bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_reads_as_tools_print_it() {
        let bytes = [0xa1, 0xb2, 0xc3, 0xd4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x0a, 0xff];
        assert_eq!(uuid_text(bytes), "a1b2c3d4-0001-0203-0405-060708090aff");
    }
}
