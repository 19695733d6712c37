//! One instance on a GPU: its session, its streams, its staging.
//!
//! A batch is gathered from the members' bytes into pinned memory, or within the device from regions that clients lent, goes
//! to the device on one stream, is computed on a second, and leaves on a third: so the next batch goes there while this one
//! is computed. Only the last mark is waited for. Outputs whose shape cannot be told before are allocated by the library,
//! which then waits by itself.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Instant;

use hanok_backend::{Batch, ModelInstance, PipelinedInstance, ServingError};
use hanok_devices::{DeviceBuffer, Stream, StreamPriority};
use hanok_kernels::SegmentCopies;

use super::device_runtime::{DeviceRuntime, Generation};
use super::flight::{Flight, Marks};
use super::graphs::Graphs;
use super::staging::Staging;
use super::trouble::Trouble;
use crate::failure::Failure;
use crate::library::Library;
use crate::output_shapes::OutputShapes;
use crate::session::{Loaded, RunOptions};
use crate::value::MemoryInfo;

/// Batches that are started and not ended, at most.
const MOST_FLIGHTS: usize = 2;

/// Options of executions without a graph, and those for each graph.
#[derive(Debug)]
pub(super) struct Variants {
    /// Waits for the device: where the library allocates outputs.
    pub(super) waiting: RunOptions,
    /// Leaves waiting to us.
    pub(super) ahead: RunOptions,
    /// By the graph's number; made when it is first used.
    pub(super) graphs: Vec<RunOptions>,
}

impl Variants {
    /// Makes the options with which the graph of this number is captured, and later replayed.
    pub(super) fn prepare(&mut self, loaded: &Loaded, number: usize) -> Result<(), Failure> {
        while self.graphs.len() <= number {
            let id = self.graphs.len().to_string();
            self.graphs.push(loaded.run_options(&[AHEAD, ("gpu_graph_id", &id)])?);
        }
        Ok(())
    }
}

/// Leaves waiting for the device to us.
const AHEAD: (&str, &str) = ("disable_synchronize_execution_providers", "1");

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
    /// Dropped first, where no graph is captured beside it.
    pub(super) parts: ManuallyDrop<Parts>,
    /// Copies to the device, and from it.
    pub(super) going: Stream,
    pub(super) coming: Stream,
    pub(super) variants: Variants,
    pub(super) graphs: Graphs,
    /// Until when a capture waits for others; `None` while batches of clients are computed: they wait for nobody.
    pub(super) wait_for_capture: Option<Instant>,
    /// Buffers that graphs were captured with, by the graph's number and position, inputs first: their addresses stay.
    pub(super) kept: HashMap<(usize, usize), DeviceBuffer>,
    pub(super) staging: Staging,
    /// Batches under way, the first to end in front.
    pub(super) flights: VecDeque<Flight>,
    pub(super) idle_marks: Vec<Marks>,
    pub(super) list: SegmentCopies,
    /// Called when the context is lost by another instance.
    look: Option<Look>,
}

/// What the scheduler gives to be called.
struct Look(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Look {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Look").field(&Arc::strong_count(&self.0)).finish()
    }
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
        let variants = Variants {
            waiting: parts.loaded.run_options(&[("gpu_graph_id", "-1")])?,
            ahead: parts.loaded.run_options(&[AHEAD, ("gpu_graph_id", "-1")])?,
            graphs: Vec::new(),
        };
        let context = parts.stream.context();
        let idle_marks = (0..MOST_FLIGHTS).map(|_| Marks::new(context)).collect::<Result<_, _>>()?;
        Ok(Self {
            going: Stream::new(context, StreamPriority::Default)?,
            coming: Stream::new(context, StreamPriority::Default)?,
            variants,
            graphs: Graphs::new(graph_buckets),
            wait_for_capture: None,
            kept: HashMap::new(),
            staging: Staging::new(context, &parts.generation.pinned),
            flights: VecDeque::new(),
            idle_marks,
            list: SegmentCopies::new(),
            look: None,
            parts: ManuallyDrop::new(parts),
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
                return Err(trouble.or_worse(|| self.parts.stream.synchronize()));
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
        landed.map_err(|trouble| trouble.or_worse(|| self.parts.stream.synchronize()))
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
        #[allow(unsafe_code, reason = "the session gives memory back, which must not meet a capture")]
        // SAFETY: taken here and nowhere else, and not used after that.
        let Parts { loaded, stream: _stream, generation, .. } = unsafe { ManuallyDrop::take(&mut self.parts) };
        let _beside = generation.context.beside_captures();
        if generation.is_lost() && self.graphs.are_captured() {
            // The library ends the process when it cannot destroy a captured graph, and in a lost context it cannot. Such a
            // session is left behind: its memory on the device goes with the context, and contexts are remade a few times only.
            std::mem::forget(loaded);
        } else {
            drop(loaded);
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

    fn watch_loss(&mut self, look: Arc<dyn Fn() + Send + Sync>) {
        self.parts.generation.watch(&look);
        self.look = Some(Look(look));
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
