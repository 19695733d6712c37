//! Why a kernel was not launched.
//!
//! Errors are data: which limit, which value. Nothing here knows a protocol; whoever answers a client maps these.

use thiserror::Error;

/// What is wrong with an operation, or missing for it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KernelError {
    /// A dimension or setting has a value that the operation does not take.
    #[error("`{what}`: expected {expected}, got `{actual}`")]
    InvalidArgument {
        /// Name of the dimension or setting.
        what: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it was.
        actual: String,
    },
    /// A size is beyond what one launch can address.
    #[error("`{what}`: expected at most `{limit}`, got `{actual}`")]
    TooLarge {
        /// Name of the size.
        what: &'static str,
        /// Largest value.
        limit: u64,
        /// What was asked for; `u64::MAX` where it does not fit 64 bits.
        actual: u64,
    },
    /// An address is not a multiple of its elements' size.
    #[error("`{what}`: expected an address aligned to `{alignment}` bytes, got `{address:#x}`")]
    Misaligned {
        /// Which operand.
        what: &'static str,
        /// Alignment that it needs, in bytes.
        alignment: u64,
        /// The address.
        address: u64,
    },
    /// A library or device that CUDA needs is not there: the caller may go on without a GPU.
    #[error("{what} is not available: {reason}")]
    Unavailable {
        /// What is missing.
        what: &'static str,
        /// What was tried, for the operator.
        reason: String,
    },
    /// The compiler refused a source of ours for this architecture.
    #[error("compiling `{family}` for `{architecture}` failed: {log}")]
    Compile {
        /// Family of kernels.
        family: &'static str,
        /// Architecture, such as `sm_90`.
        architecture: String,
        /// The compiler's own words.
        log: String,
    },
    /// The driver refused a call.
    #[error("`{call}` failed with `{name}` ({code})")]
    Device {
        /// The call.
        call: &'static str,
        /// The driver's number.
        code: u32,
        /// The driver's name for it.
        name: String,
    },
}

#[allow(clippy::needless_pass_by_value, reason = "numbers and names, formatted where they are given")]
pub(crate) fn invalid(what: &'static str, expected: &'static str, actual: impl std::fmt::Display) -> KernelError {
    KernelError::InvalidArgument { what, expected, actual: format!("{actual}") }
}

/// Refuses `actual` above `limit`.
pub(crate) fn at_most(what: &'static str, limit: u64, actual: u64) -> Result<(), KernelError> {
    if actual > limit { Err(KernelError::TooLarge { what, limit, actual }) } else { Ok(()) }
}

/// Refuses zero.
pub(crate) fn not_zero(what: &'static str, actual: u64) -> Result<(), KernelError> {
    if actual == 0 { Err(invalid(what, "at least 1", actual)) } else { Ok(()) }
}

/// Product of sizes, refused where it does not fit.
pub(crate) fn product(what: &'static str, factors: &[u64]) -> Result<u64, KernelError> {
    factors.iter().try_fold(1_u64, |total, &factor| total.checked_mul(factor)).ok_or(KernelError::TooLarge {
        what,
        limit: u64::MAX - 1,
        actual: u64::MAX,
    })
}
