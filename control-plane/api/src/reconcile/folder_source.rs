//! A folder as a source: read by a thread of its own, which may hang without anybody else hanging with it.
//!
//! A disk that is mounted over a network may not answer for hours, and nothing ends a read of it. So whoever looks waits no
//! longer than a deadline, never more than one read hangs, and the thread that hangs is the one thread here that nobody joins:
//! it holds nothing and ends with its read, or with the process.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::folder::read_folder;
use super::snapshot::{LookFailure, Snapshot};

/// Longest time of one look.
const DEADLINE: Duration = Duration::from_secs(30);

type Looked = Result<Snapshot, LookFailure>;

/// A folder.
pub(super) struct FolderSource {
    read: Arc<dyn Fn() -> Looked + Send + Sync>,
    deadline: Duration,
    /// A read that has not ended.
    under_way: Option<oneshot::Receiver<Looked>>,
}

impl fmt::Debug for FolderSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("FolderSource")
    }
}

impl FolderSource {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { read: Arc::new(move || read_folder(&folder)), deadline: DEADLINE, under_way: None }
    }

    /// What the folder holds now. Dropped before it ends, it leaves the read to itself.
    pub(super) async fn look(&mut self) -> Looked {
        let until = Instant::now() + self.deadline;
        if let Some(former) = &mut self.under_way {
            // What it saw is old by now, but only when it has ended another one may begin.
            let ended = timeout_at(until, former).await;
            ended.map_err(|_| self.late()).map(drop)?;
        }
        let (told, waiting) = oneshot::channel();
        let read = Arc::clone(&self.read);
        let thread = std::thread::Builder::new().name("declared-look".to_owned());
        // Whoever asked may have stopped waiting.
        thread.spawn(move || drop(told.send(read()))).map_err(|error| {
            LookFailure::new(format!("a thread could not be started: {error}"), "see which limits this process has")
        })?;
        let waiting = self.under_way.insert(waiting);
        match timeout_at(until, waiting).await {
            Ok(looked) => {
                self.under_way = None;
                looked.unwrap_or_else(|_| Err(LookFailure::new("reading the folder ended early", "report it")))
            }
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> LookFailure {
        LookFailure::new(
            format!("the folder could not be read within `{}` seconds", self.deadline.as_secs()),
            "see that the disk it is on answers",
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, mpsc};

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_is_told_and_alone() {
        let begun = Arc::new(AtomicUsize::new(0));
        let (answer, answers) = mpsc::channel::<&str>();
        let (counted, answers) = (Arc::clone(&begun), Mutex::new(answers));
        let read = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            // As long as nothing is sent, the disk does not answer.
            let answer = answers.lock().unwrap().recv().unwrap();
            Err(LookFailure::new(answer, ""))
        };
        let deadline = Duration::from_millis(20);
        let mut source = FolderSource { read: Arc::new(read), deadline, under_way: None };
        for _ in 0..3 {
            let failure = source.look().await.unwrap_err();
            assert!(failure.message.starts_with("the folder could not be read within"), "{failure:?}");
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1, "no second read hangs");
        // The disk answers: what the read that hung saw is thrown away, what is there now counts.
        answer.send("old").unwrap();
        answer.send("new").unwrap();
        source.deadline = DEADLINE;
        assert_eq!(source.look().await.unwrap_err().message, "new");
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
