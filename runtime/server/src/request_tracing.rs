//! The trace of a request at the doors: when it came, whether it is sampled, and what of it both protocols tell alike.
//!
//! A request is sampled when it is known which version serves it, by the name that its client asked for; one that no version
//! is found for is not counted. While nothing is traced, a request pays the one load in [`hanok_telemetry::Tracer::is_on`].

use std::sync::Arc;
use std::time::Instant;

use hanok_backend::InferenceRequest;
use hanok_telemetry::{Activity, RequestTrace};

use crate::state::ServerState;
use crate::traffic::Routed;

/// When a request came, and its trace when it is sampled.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// From when its time is counted.
    pub(crate) received: Instant,
    /// When it was read, from and to; only while traces are on.
    read: Option<[(Activity, Instant); 2]>,
    /// Its trace, from [`Arrival::sample`] on; dropping it ends it.
    pub(crate) trace: Option<Box<RequestTrace>>,
}

impl Arrival {
    /// A request whose head has come over HTTP now.
    pub(crate) fn over_http() -> Self {
        Self { received: Instant::now(), read: None, trace: None }
    }

    /// A message that has come over gRPC now; `awaited` since then, where traces are on.
    pub(crate) fn over_grpc(awaited: Option<Instant>) -> Self {
        let received = Instant::now();
        let read = awaited.map(|since| [(Activity::GrpcWaitReadStart, since), (Activity::GrpcWaitReadEnd, received)]);
        Self { received, read, trace: None }
    }

    /// Notes that the body has come, where traces are on.
    pub(crate) fn body_has_come(&mut self) {
        self.read = Some([(Activity::HttpReceiveStart, self.received), (Activity::HttpReceiveEnd, Instant::now())]);
    }

    /// Counts the request, which `routed` serves, and begins its trace when it is sampled.
    pub(crate) fn sample(&mut self, state: &ServerState, asked_for: &str, routed: &Routed) {
        let Some(read) = self.read else { return };
        let ready = &routed.ready;
        self.trace = state.tracer.sample(asked_for, &ready.model, ready.version);
        if let Some(trace) = &self.trace {
            for (activity, at) in read {
                trace.times().mark_at(activity, at);
            }
        }
    }

    /// Lets the request carry its trace.
    pub(crate) fn understood(&mut self, request: &mut InferenceRequest) {
        if let Some(trace) = &mut self.trace {
            trace.set_request_id(&request.id);
            request.trace = Some(Arc::clone(trace.times()));
        }
    }
}
