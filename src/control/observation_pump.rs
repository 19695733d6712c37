//! Carries what the runtime observes to where the control plane reads it, and tells the table which arms are unwell.
//!
//! One named thread. It looks often while a table is in force and seldom while none is.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanok_api::{HealthRecord, RequestRecord, RetainedRecords, RuntimeRecord, ShadowRecord};
use hanok_routing::ServedVersion;
use hanok_routing::arm_health::HealthMonitor;
use hanok_routing::observation::{Observation, ObservationReader};
use hanok_server::{ComparedCopy, Traffic};

/// Time between two looks while a table is in force.
const BUSY: Duration = Duration::from_millis(20);
/// Time between two looks while none is.
const IDLE: Duration = Duration::from_millis(250);
/// Records of one look; more wait for the next.
const BATCH: usize = 1 << 15;

/// The thread; dropping it ends it after its look.
#[derive(Debug)]
pub(crate) struct ObservationPump {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ObservationPump {
    pub(super) fn start(
        mut reader: ObservationReader,
        traffic: Arc<Traffic>,
        records: Arc<RetainedRecords>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new().name("hanok-observe".to_owned()).spawn(move || {
            let mut look = Look { traffic, records, monitor: HealthMonitor::default(), batch: Vec::new(), dropped: 0 };
            loop {
                let busy = look.once(&mut reader);
                let pause = if busy { BUSY } else { IDLE };
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for ObservationPump {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the observations ended by a panic");
        }
    }
}

struct Look {
    traffic: Arc<Traffic>,
    records: Arc<RetainedRecords>,
    monitor: HealthMonitor,
    batch: Vec<Observation>,
    dropped: u64,
}

impl Look {
    /// Carries what is there; whether a table is in force.
    fn once(&mut self, reader: &mut ObservationReader) -> bool {
        let snapshot = self.traffic.router().tables().in_force();
        self.batch.clear();
        reader.drain(&mut self.batch, BATCH);
        let now = epoch_microseconds();
        let changes = self.monitor.absorb(&snapshot, &self.batch, now);
        for change in &changes {
            let (model, arm) = (&*change.arm.public_model, &*change.arm.name);
            tracing::warn!(model, arm, from = ?change.from, to = ?change.to, "an arm's health changed");
        }
        let verdicts = self.traffic.shadows().take_verdicts(BATCH);
        let requests = self.batch.drain(..).map(|observation| RuntimeRecord::Request(RequestRecord { observation }));
        let health = changes.iter().map(|change| RuntimeRecord::Health(HealthRecord::of(change, now)));
        self.records.extend(requests.chain(verdicts.into_iter().map(shadow_record)).chain(health));
        let dropped = self.traffic.observation_counts().dropped + self.traffic.shadows().lost_verdicts();
        self.records.count_dropped(dropped - self.dropped);
        self.dropped = dropped;
        snapshot.version() > 0
    }
}

fn shadow_record(copy: ComparedCopy) -> RuntimeRecord {
    let ComparedCopy { request_id, target, candidate_version, agreed, sticky_key_hash, at_microseconds } = copy;
    let declared = if let ServedVersion::Number(number) = target.version { number } else { 0 };
    RuntimeRecord::Shadow(ShadowRecord {
        public_model: target.public_model.clone(),
        candidate_model: target.model.clone(),
        candidate_version: if candidate_version > 0 { candidate_version } else { declared },
        compare: target.compare.clone(),
        disagrees: !agreed,
        request_id,
        sticky_key_hash,
        finished_microseconds: at_microseconds,
    })
}

fn epoch_microseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
