//! Bounds of one pull: files, bytes, time. Everything that grows with what a stranger sends is checked against these.

use std::time::Duration;

/// Bounds of one pull. [`Limits::default`] suits models of up to 20 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most files of one model.
    pub files: usize,
    /// Most bytes of one model, over all of its files, unpacked.
    pub bytes: u64,
    /// Longest time for one resolve or one fetch, retries included.
    pub time: Duration,
    /// Longest time for telling what a reference names now, without its bytes: a watch that waits longer sees nothing.
    pub look: Duration,
    /// Longest silence of the other side: while connecting, before the head of an answer, between two pieces of a body.
    pub silence: Duration,
    /// How much an answer must bring at least while it is waited for.
    pub rate: MinimumRate,
    /// Most bytes of a document that is read as a whole: JSON answers, `MLmodel`, listings of one page.
    pub document_bytes: u64,
    /// Most files that are downloaded at the same time.
    pub parallel_files: usize,
    /// How often a download is tried again when nothing new arrived since the last try.
    pub retries: u32,
}

/// The least that an answer must bring on average over each stretch of time in which it is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinimumRate {
    /// Bytes a second; 0 asks for nothing.
    pub bytes_per_second: u64,
    /// Length of a stretch.
    pub over: Duration,
}

impl Default for MinimumRate {
    fn default() -> Self {
        Self { bytes_per_second: 1024, over: Duration::from_secs(60) }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 10_000,
            bytes: 20 << 30,
            time: Duration::from_secs(3600),
            look: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            rate: MinimumRate::default(),
            document_bytes: 8 << 20,
            parallel_files: 4,
            retries: 4,
        }
    }
}
