//! One instance on a GPU: its session, its streams, its staging.
//!
//! A batch is gathered from the members' bytes into pinned memory, or within the device from regions that clients lent, goes
//! to the device on one stream, is computed on a second, and leaves on a third: so the next batch goes there while this one
//! is computed. Only the last mark is waited for. Outputs whose shape cannot be told before are allocated by the library,
//! which then waits by itself.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hanok_backend::{Batch, ModelInstance, PipelinedInstance, ServingError};
use hanok_devices::{DeviceBuffer, Stream, StreamPriority};
use hanok_kernels::SegmentCopies;

use super::device_runtime::{DeviceRuntime, Generation};
use super::flight::{Flight, Marks};
use super::staging::Staging;
use super::trouble::Trouble;
use crate::library::Library;
use crate::output_shapes::OutputShapes;
use crate::session::{Loaded, RunOptions};
use crate::value::MemoryInfo;

/// Batches that are started and not ended, at most.
const MOST_FLIGHTS: usize = 2;

/// Options of executions without a graph, and those for each bucket.
#[derive(Debug)]
pub(super) struct Variants {
    /// Waits for the device: where the library allocates outputs.
    pub(super) waiting: RunOptions,
    /// Leaves waiting to us.
    pub(super) ahead: RunOptions,
    /// By bucket, ascending.
    pub(super) graphs: Vec<(usize, RunOptions)>,
}

/// What an instance is made of. Dropped in this order: the session before what it computes with.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) library: &'static Library,
    pub(crate) loaded: Loaded,
    pub(crate) shapes: OutputShapes,
    pub(crate) memory: MemoryInfo,
    pub(crate) stream: Stream,
    pub(crate) generation: Arc<Generation>,
    pub(crate) device: Arc<DeviceRuntime>,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct DeviceInstance {
    pub(super) parts: Parts,
    /// Copies to the device, and from it.
    pub(super) going: Stream,
    pub(super) coming: Stream,
    pub(super) variants: Variants,
    /// Buffers that graphs were captured with, by bucket and position: their addresses stay.
    pub(super) kept: HashMap<(usize, usize), DeviceBuffer>,
    pub(super) staging: Staging,
    /// Batches under way, the first to end in front.
    pub(super) flights: VecDeque<Flight>,
    pub(super) idle_marks: Vec<Marks>,
    pub(super) list: SegmentCopies,
}

/// Waits for the streams when an execution ends early, before memory in use is given to others.
pub(super) struct InFlight<'a>(pub(super) Option<[&'a Stream; 3]>);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        for stream in self.0.into_iter().flatten() {
            if let Err(error) = stream.synchronize() {
                tracing::debug!(%error, "a stream of a failed execution ended with an error");
            }
        }
    }
}

impl DeviceInstance {
    pub(crate) fn new(parts: Parts, graph_buckets: &[u32]) -> Result<Self, Trouble> {
        const AHEAD: (&str, &str) = ("disable_synchronize_execution_providers", "1");
        let graph = |(index, &bucket): (usize, &u32)| {
            let id = index.to_string();
            Ok((bucket as usize, parts.loaded.run_options(&[AHEAD, ("gpu_graph_id", &id)])?))
        };
        let variants = Variants {
            waiting: parts.loaded.run_options(&[("gpu_graph_id", "-1")])?,
            ahead: parts.loaded.run_options(&[AHEAD, ("gpu_graph_id", "-1")])?,
            graphs: graph_buckets.iter().enumerate().map(graph).collect::<Result<_, Trouble>>()?,
        };
        let context = parts.stream.context();
        let idle_marks = (0..MOST_FLIGHTS).map(|_| Marks::new(context)).collect::<Result<_, _>>()?;
        Ok(Self {
            going: Stream::new(context, StreamPriority::Default)?,
            coming: Stream::new(context, StreamPriority::Default)?,
            variants,
            kept: HashMap::new(),
            staging: Staging::new(context, &parts.generation.pinned),
            flights: VecDeque::new(),
            idle_marks,
            list: SegmentCopies::new(),
            parts,
        })
    }

    /// Puts a batch on its way.
    fn start(&mut self, batch: &Batch<'_>) -> Result<(), Trouble> {
        let Some(marks) = self.idle_marks.pop() else {
            return Err(ServingError::internal("more batches were started on an instance than it takes").into());
        };
        let launched = self.launch(batch, &marks);
        match launched {
            Ok(load) => self.flights.push_back(Flight { marks, load }),
            Err(trouble) => {
                self.idle_marks.push(marks);
                if self.flights.is_empty() {
                    // What the failed execution left in the ring is not in use: the streams were waited for.
                    self.staging.clear();
                }
                return Err(trouble);
            }
        }
        Ok(())
    }

    /// Waits for the first batch under way and hands its outputs over.
    fn finish(&mut self, batch: &mut Batch<'_>) -> Result<(), Trouble> {
        let Some(mut flight) = self.flights.pop_front() else {
            return Err(ServingError::internal("no batch was started on an instance").into());
        };
        let landed = self.land(&mut flight, batch);
        self.idle_marks.push(flight.marks);
        if landed.is_err() && self.flights.is_empty() {
            self.staging.clear();
        }
        landed
    }

    fn trouble(&self, trouble: Trouble) -> ServingError {
        self.parts.device.note(&self.parts.generation, trouble.severity());
        trouble.into_error()
    }
}

impl Drop for DeviceInstance {
    fn drop(&mut self) {
        if !self.flights.is_empty() {
            drop(InFlight(Some([&self.going, &self.parts.stream, &self.coming])));
            self.flights.clear();
        }
        // What an unloaded model leaves idle in the pool goes back to the device, for others.
        self.kept.clear();
        if let Err(error) = self.parts.generation.pool.trim() {
            tracing::debug!(%error, "the pool of a GPU could not be made smaller");
        }
    }
}

impl ModelInstance for DeviceInstance {
    fn execute(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        let result = self.start(batch).and_then(|()| self.finish(batch));
        result.map_err(|trouble| self.trouble(trouble))
    }

    fn device(&self) -> Option<u32> {
        Some(self.parts.device.ordinal())
    }

    fn pipelined(&mut self) -> Option<&mut dyn PipelinedInstance> {
        Some(self)
    }

    fn is_lost(&self) -> bool {
        self.parts.generation.is_lost()
    }
}

impl PipelinedInstance for DeviceInstance {
    fn begin(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        self.start(batch).map_err(|trouble| self.trouble(trouble))
    }

    fn end(&mut self, batch: &mut Batch<'_>) -> Result<(), ServingError> {
        self.finish(batch).map_err(|trouble| self.trouble(trouble))
    }
}
