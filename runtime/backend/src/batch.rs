//! One execution: the gathered inputs of several requests, and the way to answer each of them.
//!
//! Not a queue and not a policy: which requests are together was decided before. The invariant: every member gets
//! exactly one final response.

use bytes::Bytes;
use hanok_model_config::ModelConfig;
use hanok_telemetry::DeviceSpans;
use hanok_tensor::{BytesElements, DataType, Shape};
use smallvec::SmallVec;

use crate::{DeviceTimes, InferenceRequest, InferenceResponse, OutputTensor, RegionSlice, ServingError};

/// Where the responses of one request go.
pub trait ResponseSink: Send {
    /// Delivers a response; `last` marks the final one, after which nothing more is sent.
    fn send(&mut self, response: Result<InferenceResponse, ServingError>, last: bool);

    /// Whether the caller is gone, so that further work for it is wasted.
    fn is_cancelled(&self) -> bool;

    /// Ends a decoupled request without a further response.
    fn close(&mut self);
}

/// One input of the whole batch.
#[derive(Clone, Debug)]
pub struct BatchInput<'a> {
    /// All dimensions; the first is the sum of the members' rows when the model batches.
    pub shape: Shape,
    /// The bytes of all members, in order. The start is aligned to 64 bytes when several members were gathered, and
    /// may be unaligned for a single one, whose bytes are used in place. Empty for an instance that gathers by itself
    /// ([`crate::ModelInstance::device`]), which reads [`Batch::parts`].
    pub data: &'a [u8],
}

/// What one member brings to an input.
#[derive(Clone, Copy, Debug)]
pub enum InputPart<'a> {
    /// Bytes on the host.
    Host(&'a [u8]),
    /// Memory of the instance's device.
    Region(&'a RegionSlice),
}

/// One request within a batch.
pub struct Member<'a> {
    request: &'a InferenceRequest,
    sink: &'a mut dyn ResponseSink,
    answered: bool,
    /// Outputs that the instance has written to their regions.
    placed: Vec<u16>,
}

impl<'a> Member<'a> {
    /// A member that is not answered yet.
    pub fn new(request: &'a InferenceRequest, sink: &'a mut dyn ResponseSink) -> Self {
        Self { request, sink, answered: false, placed: Vec::new() }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &'a InferenceRequest {
        self.request
    }

    /// Whether the caller is gone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.sink.is_cancelled()
    }

    /// Notes that the output at `index` is in its region already, whole: its bytes are not looked for in the response.
    pub fn note_placed(&mut self, index: u16) {
        self.placed.push(index);
    }

    /// Gives the one and final response. Ignored when there was one already. Outputs that the request wants in regions are
    /// there when it goes out: this blocks while they are copied.
    pub fn respond(&mut self, response: Result<InferenceResponse, ServingError>) {
        if !std::mem::replace(&mut self.answered, true) {
            self.send(response, true);
        }
    }

    fn send(&mut self, mut response: Result<InferenceResponse, ServingError>, last: bool) {
        if let (Some(regions), Ok(answer)) = (&self.request.regions, &mut response)
            && let Err(error) = regions.deliver(answer, &self.placed)
        {
            response = Err(error);
        }
        self.sink.send(response, last);
    }

    /// Gives one of several responses (decoupled models). Ignored after the final one.
    pub fn respond_partial(&mut self, response: Result<InferenceResponse, ServingError>) {
        if !self.answered {
            self.send(response, false);
        }
    }

    /// Ends a decoupled request that has no further response.
    pub fn close(&mut self) {
        if !std::mem::replace(&mut self.answered, true) {
            self.sink.close();
        }
    }

    /// Whether the final response was given.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.answered
    }
}

impl std::fmt::Debug for Member<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Member").field("request", &self.request.id).field("answered", &self.answered).finish()
    }
}

/// One execution of a model.
#[derive(Debug)]
pub struct Batch<'a> {
    config: &'a ModelConfig,
    rows: usize,
    inputs: SmallVec<[Option<BatchInput<'a>>; 2]>,
    members: &'a mut [Member<'a>],
    outputs: SmallVec<[Option<OutputTensor>; 2]>,
    device_times: Option<DeviceTimes>,
    device_spans: Option<DeviceSpans>,
}

impl<'a> Batch<'a> {
    /// A batch of `members`, whose `inputs` are gathered in the order of the configuration.
    #[must_use]
    pub fn new(
        config: &'a ModelConfig,
        inputs: SmallVec<[Option<BatchInput<'a>>; 2]>,
        members: &'a mut [Member<'a>],
    ) -> Self {
        let rows = members.iter().map(|member| member.request.rows as usize).sum();
        let outputs = config.outputs.iter().map(|_| None).collect();
        Self { config, rows, inputs, members, outputs, device_times: None, device_spans: None }
    }

    /// The model's configuration.
    #[must_use]
    pub const fn config(&self) -> &'a ModelConfig {
        self.config
    }

    /// Rows of all members together; 1 for a model that does not batch.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The input at `index` of the configuration; `None` when optional and absent.
    #[must_use]
    pub fn input(&self, index: usize) -> Option<&BatchInput<'a>> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    /// What each member brings to the input at `index`, in order; one part where it was gathered already. For instances that
    /// gather by themselves.
    pub fn parts(&self, index: usize) -> impl Iterator<Item = InputPart<'_>> {
        let gathered = self.input(index).map(|input| input.data).filter(|data| !data.is_empty());
        let members = if gathered.is_some() { &[][..] } else { &*self.members };
        let of = move |member: &'_ Member<'a>| {
            let request = member.request;
            let slice = request.regions.as_ref().and_then(|regions| regions.input(index));
            let bytes = || request.inputs.get(index).and_then(Option::as_ref).map(|input| &input.data[..]);
            slice.map(InputPart::Region).or_else(|| bytes().map(InputPart::Host))
        };
        gathered.map(InputPart::Host).into_iter().chain(members.iter().filter_map(of))
    }

    /// Gives the times of the execution by the device's own clock, which then stand in the statistics.
    pub fn set_device_times(&mut self, times: DeviceTimes) {
        self.device_times = Some(times);
    }

    /// The times of the execution by the device's own clock.
    #[must_use]
    pub const fn device_times(&self) -> Option<DeviceTimes> {
        self.device_times
    }

    /// Whether a trace of any member is wanted.
    #[must_use]
    pub fn is_traced(&self) -> bool {
        self.members.iter().any(|member| member.request.trace.is_some())
    }

    /// Gives where on the host's clock the batch was on its device, for the traces of its members.
    pub fn set_device_spans(&mut self, spans: DeviceSpans) {
        self.device_spans = Some(spans);
    }

    /// Where on the host's clock the batch was on its device, if that was told.
    #[must_use]
    pub const fn device_spans(&self) -> Option<DeviceSpans> {
        self.device_spans
    }

    /// Whether any member wants the output at `index`.
    #[must_use]
    pub fn wants_output(&self, index: usize) -> bool {
        self.members.iter().any(|member| member.request.outputs.wants(index))
    }

    /// Gives the output at `index` for the whole batch: `[rows, ...]`, split among the members afterwards.
    pub fn set_output(&mut self, index: usize, data_type: DataType, shape: Shape, data: Bytes) {
        if let Some(output) = self.outputs.get_mut(index) {
            *output = Some(OutputTensor { data_type, shape, data });
        }
    }

    /// Whether the output at `index` was given for the whole batch.
    #[must_use]
    pub fn has_output(&self, index: usize) -> bool {
        self.outputs.get(index).is_some_and(Option::is_some)
    }

    /// The members, to read.
    #[must_use]
    pub fn members(&self) -> &[Member<'a>] {
        self.members
    }

    /// The members, for backends that answer each on its own.
    pub fn members_mut(&mut self) -> &mut [Member<'a>] {
        self.members
    }

    /// Whether no member has its final response yet; partial responses do not count.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.members.iter().all(|member| !member.answered)
    }

    /// Answers every member that is not answered yet: from the batch's outputs, or with `failure`.
    ///
    /// `timing` is called with a member's request and gives the timing of its response.
    pub fn finish(
        mut self,
        failure: Option<&ServingError>,
        timing: impl Fn(&InferenceRequest) -> crate::RequestTiming,
    ) {
        if let Some(error) = failure {
            for member in self.members.iter_mut() {
                member.respond(Err(error.clone()));
            }
            return;
        }
        let batching = self.config.max_batch_size > 0;
        let mut first_row = 0;
        let mut splitters: SmallVec<[RowSplitter; 2]> = SmallVec::new();
        for (index, output) in self.outputs.iter_mut().enumerate() {
            splitters.push(RowSplitter::new(index, output.take(), self.rows, batching));
        }
        for member in self.members.iter_mut() {
            let rows = member.request.rows as usize;
            let mut response = InferenceResponse { timing: timing(member.request), ..Default::default() };
            let mut failed = None;
            for (index, splitter) in splitters.iter_mut().enumerate() {
                let part = splitter.take(first_row, rows);
                if !member.request.outputs.wants(index) {
                    response.outputs.push(None);
                    continue;
                }
                match part {
                    Ok(tensor) => response.outputs.push(Some(tensor)),
                    Err(error) => failed = Some(error),
                }
            }
            first_row += rows;
            member.respond(match failed {
                Some(error) => Err(error),
                None => Ok(response),
            });
        }
    }
}

/// Cuts one output of a batch into the members' rows, front to back, as views.
struct RowSplitter {
    index: usize,
    output: Option<OutputTensor>,
    total_rows: usize,
    batching: bool,
    offset: usize,
}

impl RowSplitter {
    fn new(index: usize, output: Option<OutputTensor>, total_rows: usize, batching: bool) -> Self {
        Self { index, output, total_rows, batching, offset: 0 }
    }

    fn take(&mut self, first_row: usize, rows: usize) -> Result<OutputTensor, ServingError> {
        let Some(whole) = &self.output else {
            return Err(ServingError::internal("the model gave no value for an output that was asked for"));
        };
        if !self.batching || (first_row == 0 && rows == self.total_rows) {
            return Ok(whole.clone());
        }
        if whole.shape.first().is_none_or(|&outer| usize::try_from(outer) != Ok(self.total_rows)) {
            return Err(ServingError::internal("the model's output does not have one row per input row")
                .with_operator_detail(format!(
                    "output {} has shape {}, expected {} rows",
                    self.index, whole.shape, self.total_rows
                )));
        }
        let length = match whole.data_type {
            DataType::Bytes => {
                let elements_per_row: i64 = whole.shape[1..].iter().product();
                let count = rows.saturating_mul(usize::try_from(elements_per_row).unwrap_or(0));
                let rest = &whole.data[self.offset..];
                let mut elements = BytesElements::new(rest);
                for _ in 0..count {
                    if !matches!(elements.next(), Some(Ok(_))) {
                        return Err(ServingError::internal("the model's output is not a valid BYTES tensor"));
                    }
                }
                rest.len() - elements.rest().len()
            }
            _ => whole.data.len() / self.total_rows.max(1) * rows,
        };
        let data = whole.data.slice(self.offset..self.offset + length);
        self.offset += length;
        let mut shape = whole.shape.clone();
        shape[0] = i64::try_from(rows).unwrap_or(i64::MAX);
        Ok(OutputTensor { data_type: whole.data_type, shape, data })
    }
}
