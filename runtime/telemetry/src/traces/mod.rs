//! Traces of single requests, as Triton writes them: which requests are sampled, when each came to which point, and the
//! file that tells it.
//!
//! [`Tracer`] is what a server holds. A sampled request carries its [`RequestTrace`] and notes moments in its
//! [`TraceTimes`]; when it ends, the record goes over a bounded queue to a writer thread. The invariants: while nobody wants
//! traces, a request costs one relaxed load; nobody who serves waits for the disk; a sampled request is in the file once, or
//! counted as lost; the file is a whole JSON array after every write.

mod activity;
mod array_file;
mod clock;
mod device_spans;
mod numbered_files;
mod policy;
mod record;
mod record_queue;
mod times;
mod tracer;
mod writer;

pub use activity::Activity;
pub use clock::TraceClock;
pub use device_spans::{DeviceMarks, DeviceSpans};
pub use policy::{Change, TraceChanges, TraceLevel, TraceSettingError, TraceSettings};
pub use times::TraceTimes;
pub use tracer::{RequestTrace, TraceCounts, TraceFileError, Tracer};
