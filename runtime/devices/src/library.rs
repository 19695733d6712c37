//! Opens a shared library of the system and binds functions by name.
//!
//! A library that was opened is never closed: the driver keeps threads of its own, which would run in unmapped code.

use std::error::Error;
use std::path::PathBuf;

use libloading::Library;

use crate::DeviceError;

/// Opens the first of `candidates` that the system's loader takes.
pub(crate) fn open_first(what: &'static str, candidates: &[PathBuf]) -> Result<&'static Library, DeviceError> {
    let mut reasons = Vec::new();
    for candidate in candidates {
        // SAFETY: the libraries are the driver's and NVML's (or a test's stand-in): opening one runs its initialisers and
        // nothing else.
        match unsafe { Library::new(candidate) } {
            Ok(library) => return Ok(Box::leak(Box::new(library))),
            // The error's own text is "dlopen failed"; what the system's loader said is below it.
            Err(error) => reasons.push(error.source().map_or_else(|| error.to_string(), ToString::to_string)),
        }
    }
    // The system's loader says the same of every name; the first is the one that matters.
    let reason = reasons.into_iter().next().unwrap_or_else(|| "no name to look for".to_owned());
    Err(DeviceError::Unavailable { what, reason })
}

/// Declares a table of C functions that return a result code, and how it is bound.
macro_rules! function_table {
    ($(#[$note:meta])* $name:ident of $library:literal { $($field:ident: $symbol:literal ($($argument:ty),*);)* }) => {
        $(#[$note])*
        pub(super) struct $name {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> std::ffi::c_int,)*
        }

        impl $name {
            /// Binds every function.
            ///
            /// # Errors
            /// `TooOld` with the first that is missing.
            pub(super) fn bind(library: &'static libloading::Library) -> Result<Self, crate::DeviceError> {
                let lacks = |symbol: &'static str| crate::DeviceError::TooOld { what: $library, symbol };
                Ok(Self {
                    $(
                        // SAFETY: the function of this name has this type in the library's header, in every version
                        // that has it.
                        $field: *unsafe { library.get($symbol) }.map_err(|_| lacks($symbol))?,
                    )*
                })
            }
        }
    };
}
pub(crate) use function_table;
