//! The clocks of all connections, swept once in a while instead of one timer per request.
//!
//! A connection notes what it is waiting for in two atomics; a sweep every half second closes those that wait too long:
//! a head that does not end (slow loris), a reply that is not taken, a connection that is idle, or one that has reached its
//! age. So a request that is not slow costs no timer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::Limits;

/// Interval of sweeps, and the precision of the clocks.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

const NEVER: u64 = u64::MAX;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const REQUEST: u8 = 2;
/// HTTP/2 multiplexes: its requests have no common head or idle time.
const MULTIPLEXED: u8 = 3;

/// What one connection is waiting for.
#[derive(Debug)]
pub(crate) struct ConnectionWatch {
    clock: Arc<CoarseClock>,
    phase: AtomicU8,
    phase_since_ms: AtomicU64,
    write_blocked_since_ms: AtomicU64,
    ambiguous: AtomicBool,
    /// When it is to finish, and when it is to end whatever it does.
    drain_at_ms: AtomicU64,
    close_at_ms: AtomicU64,
    signal: AtomicU8,
    woken: AtomicWaker,
}

/// What bytes that came in belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The start of a request's head.
    HeadStart,
    /// More of a head.
    Head,
    /// A body, or HTTP/2.
    Other,
}

/// What a connection is told from outside; later ones outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Signal {
    /// Finish what is in flight, take nothing new.
    Drain = 1,
    /// End at once.
    Close = 2,
}

#[derive(Debug)]
struct CoarseClock {
    milliseconds: AtomicU64,
}

impl ConnectionWatch {
    /// Bytes came in: the first ones of a request start the clock of its head.
    pub(crate) fn bytes_read(&self) -> Incoming {
        match self.phase.load(Relaxed) {
            IDLE => {
                self.enter(HEAD);
                Incoming::HeadStart
            }
            HEAD => Incoming::Head,
            _ => Incoming::Other,
        }
    }

    /// The head that came in has two framings.
    pub(crate) fn ambiguous_framing(&self) {
        self.ambiguous.store(true, Relaxed);
    }

    /// Whether a head with two framings came in on this connection, which is not to be used any longer then.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.ambiguous.load(Relaxed)
    }

    /// The head of a request is complete.
    pub(crate) fn request_started(&self) {
        if self.phase.load(Relaxed) != MULTIPLEXED {
            self.phase.store(REQUEST, Relaxed);
        }
    }

    /// The reply is on its way; the next bytes belong to the next request.
    pub(crate) fn request_finished(&self) {
        if self.phase.load(Relaxed) != MULTIPLEXED {
            self.enter(IDLE);
        }
    }

    /// The connection speaks HTTP/2.
    pub(crate) fn multiplexed(&self) {
        self.phase.store(MULTIPLEXED, Relaxed);
    }

    /// The connection takes nothing new after `age`, and ends `grace` later.
    pub(crate) fn lives_for(&self, age: Duration, grace: Option<Duration>) {
        // The clock may be late by as much: never sooner than asked for.
        let drain_at = self.clock.milliseconds.load(Relaxed).saturating_add(milliseconds(SWEEP_INTERVAL + age));
        self.drain_at_ms.store(drain_at, Relaxed);
        if let Some(grace) = grace {
            self.close_at_ms.store(drain_at.saturating_add(milliseconds(grace)), Relaxed);
        }
    }

    /// The peer does not take what is written.
    pub(crate) fn write_blocked(&self) {
        if self.write_blocked_since_ms.load(Relaxed) == 0 {
            self.write_blocked_since_ms.store(self.clock.milliseconds.load(Relaxed).max(1), Relaxed);
        }
    }

    /// Everything written was taken.
    pub(crate) fn write_finished(&self) {
        if self.write_blocked_since_ms.load(Relaxed) != 0 {
            self.write_blocked_since_ms.store(0, Relaxed);
        }
    }

    /// The strongest signal so far; registers the task to be woken by a later one.
    ///
    /// Polled with every wake of its connection, so it takes no lock.
    pub(crate) fn poll_signal(&self, context: &Context<'_>) -> Poll<Signal> {
        self.woken.register(context.waker());
        match self.signal.load(SeqCst) {
            0 => Poll::Pending,
            1 => Poll::Ready(Signal::Drain),
            _ => Poll::Ready(Signal::Close),
        }
    }

    fn send(&self, signal: Signal) {
        if self.signal.fetch_max(signal as u8, SeqCst) < signal as u8 {
            self.woken.wake();
        }
    }

    fn enter(&self, phase: u8) {
        self.phase_since_ms.store(self.clock.milliseconds.load(Relaxed), Relaxed);
        self.phase.store(phase, Relaxed);
    }

    fn is_overdue(&self, now_ms: u64, limits: &Limits) -> bool {
        let waited = |since_ms: u64, limit: Duration| now_ms.saturating_sub(since_ms) > milliseconds(limit);
        let blocked = self.write_blocked_since_ms.load(Relaxed);
        let since = self.phase_since_ms.load(Relaxed);
        (blocked != 0 && waited(blocked, limits.write_timeout))
            || match self.phase.load(Relaxed) {
                IDLE => waited(since, limits.idle_timeout),
                HEAD => waited(since, limits.head_timeout),
                _ => false,
            }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Watches every connection of the server.
#[derive(Debug)]
pub(crate) struct Watcher {
    clock: Arc<CoarseClock>,
    connections: Mutex<Vec<Weak<ConnectionWatch>>>,
}

impl Watcher {
    pub(crate) fn new() -> Self {
        Self { clock: Arc::new(CoarseClock { milliseconds: AtomicU64::new(1) }), connections: Mutex::default() }
    }

    /// Starts watching a new connection.
    pub(crate) fn watch(&self) -> Arc<ConnectionWatch> {
        let watch = Arc::new(ConnectionWatch {
            clock: Arc::clone(&self.clock),
            phase: AtomicU8::new(IDLE),
            phase_since_ms: AtomicU64::new(self.clock.milliseconds.load(Relaxed)),
            write_blocked_since_ms: AtomicU64::new(0),
            ambiguous: AtomicBool::new(false),
            drain_at_ms: AtomicU64::new(NEVER),
            close_at_ms: AtomicU64::new(NEVER),
            signal: AtomicU8::new(0),
            woken: AtomicWaker::new(),
        });
        self.connections.lock().push(Arc::downgrade(&watch));
        watch
    }

    /// Sweeps for ever; aborted by whoever owns the task.
    pub(crate) async fn run(self: Arc<Self>, limits: Limits) {
        let started = Instant::now();
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            interval.tick().await;
            let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            self.sweep(now_ms, &limits);
        }
    }

    /// Tells every connection.
    pub(crate) fn tell_all(&self, signal: Signal) {
        for watch in self.connections.lock().iter().filter_map(Weak::upgrade) {
            watch.send(signal);
        }
    }

    fn sweep(&self, now_ms: u64, limits: &Limits) {
        self.clock.milliseconds.store(now_ms, Relaxed);
        self.connections.lock().retain(|connection| {
            let Some(watch) = connection.upgrade() else { return false };
            if watch.is_overdue(now_ms, limits) || now_ms > watch.close_at_ms.load(Relaxed) {
                watch.send(Signal::Close);
            } else if now_ms > watch.drain_at_ms.load(Relaxed) {
                watch.send(Signal::Drain);
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closed(watch: &ConnectionWatch) -> bool {
        watch.signal.load(SeqCst) == Signal::Close as u8
    }

    #[test]
    fn each_clock_runs_only_while_its_thing_is_awaited() {
        let limits = Limits {
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(20),
            ..Limits::default()
        };
        let watcher = Watcher::new();
        let [idle, slow_head, working, blocked, multiplexed] = [(); 5].map(|()| watcher.watch());
        slow_head.bytes_read();
        working.bytes_read();
        working.request_started();
        blocked.bytes_read();
        blocked.request_started();
        blocked.request_finished();
        blocked.write_blocked();
        multiplexed.multiplexed();
        watcher.sweep(10_001, &limits);
        assert!(!is_closed(&slow_head));
        watcher.sweep(10_002, &limits);
        assert!(is_closed(&slow_head) && !is_closed(&blocked));
        watcher.sweep(20_002, &limits);
        assert!(is_closed(&blocked) && !is_closed(&idle));
        watcher.sweep(60_002, &limits);
        assert!(is_closed(&idle) && !is_closed(&working) && !is_closed(&multiplexed));
        drop((idle, slow_head, working, blocked, multiplexed));
        watcher.sweep(60_003, &limits);
        assert!(watcher.connections.lock().is_empty());
    }

    #[test]
    fn a_connection_of_its_age_finishes_and_ends_after_the_grace() {
        let (limits, watcher) = (Limits::default(), Watcher::new());
        let signal = |watch: &ConnectionWatch| watch.signal.load(SeqCst);
        watcher.sweep(1000, &limits);
        let [ageless, patient, cut] = [(); 3].map(|()| watcher.watch());
        for watch in [&ageless, &patient, &cut] {
            watch.multiplexed();
        }
        patient.lives_for(Duration::from_secs(5), None);
        cut.lives_for(Duration::from_secs(5), Some(Duration::from_secs(2)));
        watcher.sweep(6500, &limits);
        assert_eq!([0, 0, 0], [&ageless, &patient, &cut].map(|watch| signal(watch)));
        watcher.sweep(6501, &limits);
        assert_eq!(
            [0, Signal::Drain as u8, Signal::Drain as u8],
            [&ageless, &patient, &cut].map(|watch| signal(watch))
        );
        watcher.sweep(8500, &limits);
        assert_eq!(signal(&cut), Signal::Drain as u8);
        watcher.sweep(8501, &limits);
        assert_eq!(signal(&cut), Signal::Close as u8);
        watcher.sweep(u64::MAX - 1, &limits);
        assert_eq!([0, Signal::Drain as u8], [&ageless, &patient].map(|watch| signal(watch)));
    }
}
