//! The time of day, for what is written into the registry.

use std::time::{SystemTime, UNIX_EPOCH};

use hanok_state::Timestamp;

/// Now.
///
/// # Errors
/// When the clock of this machine is set to a time that cannot be written down.
pub(crate) fn now() -> Result<Timestamp, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_millis(millis).map_err(|error| format!("the clock of this machine cannot be used: {error}"))
}
