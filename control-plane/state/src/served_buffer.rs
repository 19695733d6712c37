//! Served requests on their way to the disk: a bounded buffer that takes thousands a second without waiting.
//!
//! What is in it is lost when the process is killed; the writer empties it at the latest one flush interval after the
//! first row came in. Rows that could not be written stay and are tried again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::outcome::ServedRequest;
use crate::timestamp::Timestamp;

#[derive(Debug)]
pub(crate) struct ServedBuffer {
    rows: Mutex<Rows>,
    capacity: usize,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Rows {
    waiting: Vec<ServedRequest>,
    /// Rows that the writer has taken and not yet made durable.
    taken: usize,
    /// When the oldest waiting row came in, or when writing it last failed.
    since: Option<Instant>,
    /// `now` of whoever offered rows last; not the latest ever, or a clock that jumped ahead once would count for good.
    now: Timestamp,
}

impl ServedBuffer {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { rows: Mutex::default(), capacity, refused: AtomicU64::new(0) }
    }

    /// Takes as many of `rows` as there is room for; tells how many, and whether the buffer was empty before.
    pub(crate) fn offer(&self, mut offered: Vec<ServedRequest>, now: Timestamp) -> (usize, bool) {
        let mut rows = self.lock();
        let room = self.capacity.saturating_sub(rows.waiting.len() + rows.taken);
        let accepted = offered.len().min(room);
        self.refused.fetch_add((offered.len() - accepted) as u64, Ordering::Relaxed);
        offered.truncate(accepted);
        let was_empty = rows.waiting.is_empty();
        rows.waiting.append(&mut offered);
        rows.now = now;
        if !rows.waiting.is_empty() && rows.since.is_none() {
            rows.since = Some(Instant::now());
        }
        (accepted, was_empty)
    }

    /// How long the writer may still wait, if there is anything to write.
    pub(crate) fn due_in(&self, interval: Duration, rows_at_once: usize) -> Option<Duration> {
        let rows = self.lock();
        rows.since.map(|since| {
            if rows.waiting.len() >= rows_at_once { Duration::ZERO } else { interval.saturating_sub(since.elapsed()) }
        })
    }

    /// At most `most` rows to write, oldest first, and the `now` to write them with.
    pub(crate) fn take(&self, most: usize) -> (Vec<ServedRequest>, Timestamp) {
        let mut rows = self.lock();
        let most = most.min(rows.waiting.len());
        let later = rows.waiting.split_off(most);
        let taken = std::mem::replace(&mut rows.waiting, later);
        rows.taken += taken.len();
        if rows.waiting.is_empty() {
            rows.since = None;
        }
        (taken, rows.now)
    }

    /// The rows that were taken are on the disk.
    pub(crate) fn written(&self, count: usize) {
        self.lock().taken -= count;
    }

    /// The rows that were taken could not be written.
    pub(crate) fn put_back(&self, mut taken: Vec<ServedRequest>) {
        let mut rows = self.lock();
        rows.taken -= taken.len();
        taken.append(&mut rows.waiting);
        rows.waiting = taken;
        rows.since = Some(Instant::now());
    }

    /// Rows that are not on the disk yet, and rows refused so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let rows = self.lock();
        ((rows.waiting.len() + rows.taken) as u64, self.refused.load(Ordering::Relaxed))
    }

    /// Rows are only moved in and out whole: a panic elsewhere leaves them right.
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
