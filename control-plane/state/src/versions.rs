//! Counters that must not be mixed up, each a type of its own.
//!
//! All start at 1; 0 means "none yet". All grow by one at a time and never repeat.

use std::fmt;

macro_rules! counter {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first one.
            pub const NONE: Self = Self(0);
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

counter! {
    /// Which state of a whole collection of resources. [`Revision::NONE`] is the empty collection before its first change.
    Revision
}
counter! {
    /// Position in a stream. Positions have no gap; as a cursor it is the last position that was dealt with.
    Sequence
}
counter! {
    /// How often a machine's state was written. [`MachineVersion::NONE`]: there is no such machine.
    MachineVersion
}
counter! {
    /// Which grant of a lease. A larger token has fenced all smaller ones off.
    FencingToken
}
