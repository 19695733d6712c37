//! Stretches of time on the command line, and what is told while they are worked through.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use hanok_features::ErrorCode::InvalidArgument;
use hanok_offline::{Period, nanos_of_instant};

use crate::commands::error::CommandError;
use crate::features::mistake;

/// How often progress is told where nobody sees a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// An instant of the command line.
pub(super) fn instant(option: &str, text: &str) -> Result<i64, CommandError> {
    nanos_of_instant(text).ok_or_else(|| {
        let form = "an instant (`2013-01-31`, `2013-01-31T05:00:00Z`, seconds since the epoch)";
        mistake(InvalidArgument, &format!("`{option}`: expected {form}, got `{text}`"))
    })
}

/// From the one to before the other.
pub(super) fn period(from: i64, to: i64) -> Result<Period, CommandError> {
    Ok(Period::new(from, to)?)
}

/// Tells on standard error how far long work is: one line that is drawn anew on a terminal, elsewhere a line now and then.
#[derive(Debug)]
pub(super) struct Progress {
    what: String,
    terminal: bool,
    last: Instant,
    drawn: bool,
}

impl Progress {
    pub(super) fn new(what: String) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal(), last: Instant::now(), drawn: false }
    }

    pub(super) fn tell(&mut self, done: u64, of: u64, unit: &str) {
        let every = if self.terminal { REDRAW_EVERY } else { LINE_EVERY };
        if self.last.elapsed() < every && !(self.drawn && done == of) {
            return;
        }
        self.last = Instant::now();
        self.drawn = true;
        let mut out = std::io::stderr().lock();
        let line = format!("{}: {done} of {of} {unit}", self.what);
        // Whoever closed standard error wants none of it.
        drop(if self.terminal { write!(out, "\r{line}") } else { writeln!(out, "{line}") });
        if self.terminal && done == of {
            drop(writeln!(out));
        }
    }
}
