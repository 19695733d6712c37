//! Traces of requests from the flags: the settings, the file, the clock.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hanok_telemetry::{TraceClock, TraceLevel, Tracer};

use crate::commands::error::CommandError;
use crate::settings::TraceFlags;

/// Makes what samples requests and writes their traces.
pub(crate) fn start(flags: &TraceFlags) -> Result<Arc<Tracer>, CommandError> {
    for (old, new) in flags.old() {
        tracing::warn!("--{old} is Triton's old spelling; use --trace-config {new}=VALUE");
    }
    let (settings, file) = (flags.settings(), flags.file());
    if settings.level != TraceLevel::Off && file.is_none() {
        tracing::warn!("nothing is traced: name a file with --trace-config triton,file=PATH");
    }
    let clock = TraceClock::new(Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    let tracer = Tracer::start(settings, file.as_deref(), clock);
    tracer.map(Arc::new).map_err(|error| CommandError::input(format!("--trace-config: {error}")))
}
