//! What a server holds to trace requests, and what a sampled request carries.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::array_file::probe;
use super::numbered_files::{TraceFiles, TraceStream, numbered_path};
use super::policy::TracePolicy;
use super::record::TraceRecord;
use super::record_queue::RecordQueue;
use super::writer::{self, WriterCounts};
use super::{Activity, TraceChanges, TraceClock, TraceSettingError, TraceSettings, TraceTimes};

/// A trace file that cannot be written.
#[derive(Debug)]
pub struct TraceFileError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for TraceFileError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the trace file `{}` cannot be written: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for TraceFileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What became of the traces of ended requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceCounts {
    /// They are in a file.
    pub written: u64,
    /// They found no room on the way to the writer.
    pub dropped: u64,
    /// The file could not be written.
    pub failed: u64,
}

/// Samples requests by settings that may change, and has their traces written.
#[derive(Debug)]
pub struct Tracer {
    on: AtomicBool,
    file: Option<PathBuf>,
    clock: TraceClock,
    policy: Mutex<TracePolicy>,
    traces: AtomicU64,
    queue: Arc<RecordQueue>,
    dropped: AtomicU64,
    counts: Arc<WriterCounts>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Tracer {
    /// A tracer that writes to `file`; without one nothing is ever traced, whatever the settings are.
    ///
    /// # Errors
    /// When the file cannot be written, is no file, or is a link; or when there is no thread to be had.
    pub fn start(settings: TraceSettings, file: Option<&Path>, clock: TraceClock) -> Result<Self, TraceFileError> {
        let policy = TracePolicy::new(settings, file.is_some());
        let tracer = Self {
            on: AtomicBool::new(policy.samples()),
            file: file.map(Path::to_owned),
            clock,
            policy: Mutex::new(policy),
            traces: AtomicU64::new(0),
            queue: Arc::default(),
            dropped: AtomicU64::new(0),
            counts: Arc::default(),
            writer: Mutex::new(None),
        };
        if let Some(file) = file {
            // A folder that takes no other file is enough for those who want one.
            let is_numbered = settings.log_frequency > 0 || settings.count > 0;
            let numbered = is_numbered.then(|| numbered_path(file, 0));
            for path in std::iter::once(file.to_owned()).chain(numbered) {
                probe(&path).map_err(|source| TraceFileError { path, source })?;
            }
            let writer = writer::start(&tracer.queue, &tracer.counts, TraceFiles::new(file));
            let writer = writer.map_err(|source| TraceFileError { path: file.to_owned(), source })?;
            *tracer.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        }
        Ok(tracer)
    }

    /// Whether any request may be traced at the moment: one relaxed load, which is all that an untraced request pays.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Counts a request by the settings of `asked_for`, the name that its client gave; a trace when it is to be traced, told to
    /// be of the version that serves.
    #[must_use]
    pub fn sample(self: &Arc<Self>, asked_for: &str, model: &str, version: u64) -> Option<Box<RequestTrace>> {
        let mut policy = self.policy();
        let stream = policy.sample(asked_for)?;
        if !policy.samples() {
            self.on.store(false, Relaxed);
        }
        drop(policy);
        Some(Box::new(RequestTrace {
            tracer: Arc::clone(self),
            stream,
            id: self.traces.fetch_add(1, Relaxed) + 1,
            model: model.into(),
            version,
            request_id: "".into(),
            times: Arc::new(TraceTimes::new(self.clock)),
        }))
    }

    /// The settings of a model, or the global ones.
    #[must_use]
    pub fn settings(&self, model: Option<&str>) -> TraceSettings {
        self.policy().settings(model)
    }

    /// The file that was named at the start.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Changes the settings of a model, or the global ones. They hold for requests that come later.
    ///
    /// # Errors
    /// For settings that trace and cannot be; nothing is changed then.
    pub fn change(&self, model: Option<&str>, changes: &TraceChanges) -> Result<(), TraceSettingError> {
        let mut policy = self.policy();
        policy.change(model, changes)?;
        self.on.store(policy.samples(), Relaxed);
        Ok(())
    }

    /// Waits until the traces of requests that have ended are in their files. Blocks, for `patience` at most; whether they are.
    pub fn settle(&self, patience: Duration) -> bool {
        self.queue.settle(patience)
    }

    /// Takes no more traces, writes those that there are and ends the thread. Blocks.
    pub fn stop(&self) {
        self.on.store(false, Relaxed);
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes traces ended by a panic");
        }
    }

    /// What became of traces so far.
    #[must_use]
    pub fn counts(&self) -> TraceCounts {
        TraceCounts {
            written: self.counts.written.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            failed: self.counts.failed.load(Relaxed),
        }
    }

    fn policy(&self) -> MutexGuard<'_, TracePolicy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The trace of one request. Dropping it ends it: it goes to the file as it is then.
#[derive(Debug)]
pub struct RequestTrace {
    tracer: Arc<Tracer>,
    stream: Arc<TraceStream>,
    id: u64,
    model: Box<str>,
    version: u64,
    request_id: Box<str>,
    times: Arc<TraceTimes>,
}

impl RequestTrace {
    /// Notes the client's id.
    pub fn set_request_id(&mut self, id: &str) {
        self.request_id = id.into();
    }

    /// Where moments are noted, by whoever works on the request.
    #[must_use]
    pub const fn times(&self) -> &Arc<TraceTimes> {
        &self.times
    }

    /// Notes that `activity` is met now.
    pub fn mark(&self, activity: Activity) {
        self.times.mark(activity);
    }
}

impl Drop for RequestTrace {
    fn drop(&mut self) {
        let record = TraceRecord {
            stream: Arc::clone(&self.stream),
            id: self.id,
            model: std::mem::take(&mut self.model),
            version: self.version,
            request_id: std::mem::take(&mut self.request_id),
            moments: self.times.moments(),
        };
        if !self.tracer.queue.push(record) {
            self.tracer.dropped.fetch_add(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::traces::{Change, TraceLevel};
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn tracer(settings: TraceSettings, file: &Path) -> Arc<Tracer> {
        let clock = TraceClock::new(Instant::now(), Duration::from_secs(1_000));
        Arc::new(Tracer::start(settings, Some(file), clock).unwrap())
    }

    fn request(tracer: &Arc<Tracer>, model: &str) {
        if let Some(mut trace) = tracer.sample(model, model, 1) {
            trace.set_request_id("id");
            trace.mark(Activity::RequestStart);
        }
    }

    #[test]
    fn ended_requests_are_in_the_file_once_and_settings_change_between_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace.json");
        let on = TraceSettings { level: TraceLevel::Timestamps, rate: 2, ..TraceSettings::default() };
        let tracer = tracer(on, &file);
        assert!(tracer.is_on());
        (0..10).for_each(|_| request(&tracer, "m"));
        assert!(tracer.settle(LONG));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches("\"model_name\":\"m\"").count(), 5, "{text}");
        assert!(
            text.starts_with("[{\"id\":1,\"model_name\":\"m\",\"model_version\":1,\"request_id\":\"id\"},{\"id\":1,")
        );
        assert!(text.ends_with("}]}]"), "{text}");

        let counted = TraceChanges { count: Change::Set(3), rate: Change::Set(1), ..TraceChanges::default() };
        tracer.change(Some("m"), &counted).unwrap();
        tracer.change(None, &TraceChanges { level: Change::Set(TraceLevel::Off), ..TraceChanges::default() }).unwrap();
        assert!(!tracer.is_on(), "the model takes its level from there");
        let level = TraceChanges { level: Change::Set(TraceLevel::Timestamps), ..TraceChanges::default() };
        tracer.change(Some("m"), &level).unwrap();
        assert!(tracer.is_on());
        (0..10).for_each(|_| request(&tracer, "m"));
        assert!(!tracer.is_on(), "the count is over");
        tracer.stop();
        let text = std::fs::read_to_string(numbered_path(&file, 0)).unwrap();
        assert_eq!(text.matches("model_name").count(), 3, "{text}");
        assert_eq!(tracer.counts(), TraceCounts { written: 8, dropped: 0, failed: 0 });
    }

    #[test]
    fn what_ends_when_nobody_writes_any_more_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let on = TraceSettings { level: TraceLevel::Timestamps, rate: 1, ..TraceSettings::default() };
        let tracer = tracer(on, &folder.path().join("trace.json"));
        let late = tracer.sample("m", "m", 1);
        tracer.stop();
        drop(late);
        assert_eq!(tracer.counts(), TraceCounts { written: 0, dropped: 1, failed: 0 });
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let path = Path::new("/nonexistent/trace.json");
        let clock = TraceClock::new(Instant::now(), Duration::ZERO);
        let error = Tracer::start(TraceSettings::default(), Some(path), clock).unwrap_err().to_string();
        assert!(error.starts_with("the trace file `/nonexistent/trace.json` cannot be written: "), "{error}");

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("trace.json");
        std::fs::create_dir(numbered_path(&file, 0)).unwrap();
        assert!(Tracer::start(TraceSettings::default(), Some(&file), clock).is_ok(), "nothing goes to a numbered file");
        for settings in [
            TraceSettings { log_frequency: 2, ..TraceSettings::default() },
            TraceSettings { count: 2, ..TraceSettings::default() },
        ] {
            let error = Tracer::start(settings, Some(&file), clock).unwrap_err().to_string();
            assert!(error.contains("trace.json.0` cannot be written: "), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_lost_while_serving_costs_traces_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let on = TraceSettings { level: TraceLevel::Timestamps, rate: 1, ..TraceSettings::default() };
        let tracer = tracer(on, &place.join("trace.json"));
        std::fs::remove_dir(&place).unwrap();
        request(&tracer, "m");
        assert!(tracer.settle(LONG));
        std::fs::create_dir(&place).unwrap();
        request(&tracer, "m");
        assert!(tracer.settle(LONG));
        assert_eq!(tracer.counts(), TraceCounts { written: 1, dropped: 0, failed: 1 });
    }
}
