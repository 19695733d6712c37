//! Element types in device memory, and how the CPU references read and write them.
//!
//! Invariant: arithmetic is in `f32`; `f16` and `bf16` exist only in memory, as in the kernels.

use half::{bf16, f16};

/// Type of a tensor's elements, little-endian in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    BF16,
    /// IEEE binary32.
    F32,
}

impl ElementType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::U8, Self::I8, Self::F16, Self::BF16, Self::F32];

    /// Those that every floating-point operation takes.
    pub const FLOATS: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
        }
    }

    /// Name within kernel names, such as `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
        }
    }

    /// Whether it is one of [`ElementType::FLOATS`].
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32)
    }

    /// Element `index` of `bytes` as a float; exact for every type.
    ///
    /// # Panics
    /// When `bytes` ends before it.
    #[must_use]
    pub fn read(self, bytes: &[u8], index: usize) -> f32 {
        let size = self.size_bytes() as usize;
        let at = &bytes[index * size..(index + 1) * size];
        match self {
            Self::U8 => f32::from(at[0]),
            Self::I8 => f32::from(i8::from_le_bytes([at[0]])),
            Self::F16 => f16::from_le_bytes([at[0], at[1]]).to_f32(),
            Self::BF16 => bf16::from_le_bytes([at[0], at[1]]).to_f32(),
            Self::F32 => f32::from_le_bytes([at[0], at[1], at[2], at[3]]),
        }
    }

    /// Writes `value` as element `index` of `bytes`: nearest, ties to even; beyond the range infinity for floats, the
    /// nearest end for integers; NaN becomes 0 in integers.
    ///
    /// # Panics
    /// When `bytes` ends before it.
    pub fn write(self, bytes: &mut [u8], index: usize, value: f32) {
        let size = self.size_bytes() as usize;
        let at = &mut bytes[index * size..(index + 1) * size];
        match self {
            // `as` saturates and takes NaN to 0: just what is promised.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturation is the contract")]
            Self::U8 => at[0] = value.round_ties_even() as u8,
            #[allow(clippy::cast_possible_truncation, reason = "saturation is the contract")]
            Self::I8 => at.copy_from_slice(&(value.round_ties_even() as i8).to_le_bytes()),
            Self::F16 => at.copy_from_slice(&f16::from_f32(value).to_le_bytes()),
            Self::BF16 => at.copy_from_slice(&bf16::from_f32(value).to_le_bytes()),
            Self::F32 => at.copy_from_slice(&value.to_le_bytes()),
        }
    }
}

/// Type of row numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IndexType {
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
}

impl IndexType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::I32, Self::I64];

    /// Bytes of one index.
    #[must_use]
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// Name within kernel names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }

    /// Index `place` of `bytes`.
    ///
    /// # Panics
    /// When `bytes` ends before it.
    #[must_use]
    pub fn read(self, bytes: &[u8], place: usize) -> i64 {
        let size = self.size_bytes() as usize;
        let mut wide = [0_u8; 8];
        wide[..size].copy_from_slice(&bytes[place * size..(place + 1) * size]);
        match self {
            Self::I32 => i64::from(i32::from_le_bytes([wide[0], wide[1], wide[2], wide[3]])),
            Self::I64 => i64::from_le_bytes(wide),
        }
    }
}

/// Type of an attention mask's entries: 0 leaves a position out, everything else counts it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaskType {
    /// One byte, also for booleans.
    U8,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
}

impl MaskType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::U8, Self::I32, Self::I64];

    /// Bytes of one entry.
    #[must_use]
    pub const fn size_bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// Whether entry `place` of `bytes` counts its position.
    ///
    /// # Panics
    /// When `bytes` ends before it.
    #[must_use]
    pub fn is_set(self, bytes: &[u8], place: usize) -> bool {
        let size = self.size_bytes() as usize;
        bytes[place * size..(place + 1) * size].iter().any(|&byte| byte != 0)
    }
}
