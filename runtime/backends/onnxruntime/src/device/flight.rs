//! A batch on its way over the device: what it uses until it is done.
//!
//! Invariant: nothing here is dropped or used again before the last mark was waited for, or the streams are at rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hanok_backend::{DeviceTimes, RegionSlice, ServingError};
use hanok_devices::{Context, DeviceBuffer, DeviceError, Event, RingRange};
use hanok_telemetry::{DeviceMarks, DeviceSpans};
use hanok_tensor::Shape;
use smallvec::SmallVec;

/// Marks on the streams of an instance, in the order in which they are reached.
#[derive(Debug)]
pub(super) struct Marks {
    /// Before the first copy to the device.
    pub(super) copying: Event,
    /// The inputs are on the device.
    pub(super) copied: Event,
    /// Computing begins.
    pub(super) computing: Event,
    /// Computing has ended.
    pub(super) computed: Event,
    /// The outputs may be copied.
    pub(super) ready: Event,
    /// Everything is done.
    pub(super) done: Event,
}

impl Marks {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        let event = || Event::new(context);
        Ok(Self {
            copying: event()?,
            copied: event()?,
            computing: event()?,
            computed: event()?,
            ready: event()?,
            done: event()?,
        })
    }

    /// Where on the host's clock they are, after the last mark was reached, which the host knows since `seen`; work was put on
    /// the device from `begun` on.
    pub(super) fn spans(&self, begun: Instant, seen: Instant) -> Result<DeviceSpans, DeviceError> {
        let marks = DeviceMarks {
            copying: self.done.since(&self.copying)?,
            copied: self.done.since(&self.copied)?,
            computing: self.done.since(&self.computing)?,
            computed: self.done.since(&self.computed)?,
        };
        Ok(DeviceSpans::place(&marks, begun, seen))
    }

    /// What the device's clock says, after the last mark was reached; `gathering` was spent by the processor.
    pub(super) fn times(&self, gathering: Duration) -> Result<DeviceTimes, DeviceError> {
        let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Ok(DeviceTimes {
            input_ns: nanoseconds(gathering.saturating_add(self.copied.since(&self.copying)?)),
            infer_ns: nanoseconds(self.computed.since(&self.computing)?),
            output_ns: nanoseconds(self.done.since(&self.computed)?),
        })
    }
}

/// Where an output's bytes are when the batch is done.
#[derive(Debug)]
pub(super) enum Landed {
    /// In pinned memory, from this offset of the block of outputs on; `copied` are the parts that are there, the others are
    /// in regions.
    Staged { offset: usize, length: usize, copied: SmallVec<[(usize, usize); 2]> },
    /// On the host already: the library allocated it.
    Host(Bytes),
}

/// An output to come.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) index: usize,
    /// As the model gives it, with the rows of padding.
    pub(super) shape: Shape,
    pub(super) landed: Landed,
}

/// What a batch under way needs and gives.
#[derive(Debug, Default)]
pub(super) struct Load {
    pub(super) rows: usize,
    pub(super) padded: usize,
    pub(super) outputs: Vec<Output>,
    /// Pinned memory of the inputs, and behind it that of the outputs.
    pub(super) going: Option<RingRange>,
    pub(super) coming: Option<RingRange>,
    /// Outputs that go to regions: member and index.
    pub(super) placed: Vec<(usize, u16)>,
    /// Members whose region is too small.
    pub(super) refused: Vec<(usize, ServingError)>,
    /// Time of the processor before the first copy.
    pub(super) gathering: Duration,
    /// When the first copy was put on its stream.
    pub(super) begun: Option<Instant>,
    /// Held until the device is done with them.
    pub(super) buffers: SmallVec<[DeviceBuffer; 2]>,
    pub(super) regions: SmallVec<[RegionSlice; 4]>,
}

/// A batch under way.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) marks: Marks,
    pub(super) load: Load,
}
