//! `ModelStreamInfer` (W-87, W-88): many requests and replies over one call.
//!
//! Replies of ordinary models keep the order of their requests; those of decoupled models come as they come. A failed
//! request does not end the stream, unless the client asked for that. Everything is bounded: what is outstanding, what
//! waits to be sent; a client that does not read stops being read, and after the time for taking a reply its call ends.

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use hanok_backend::{InferenceResponse, ParameterValue, Parameters, ServingError};
use hanok_protocol::v2_grpc::wire::inference::{ModelInferRequest, ModelStreamInferResponse};
use hanok_protocol::v2_grpc::{stream_error, stream_response, to_status};
use hanok_repository::FilledRequest;
use hanok_scheduler::{Submission, UnreadBudget};
use hanok_telemetry::{Activity, RequestTrace};
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic::metadata::MetadataMap;

use super::infer::{Understood, call_timeout, reply_message, understand};
use super::replies::{NobodyReads, Replies, ReplySender, replies};
use super::sent_trace::SentTrace;
use crate::admission::Permit;
use crate::inference::{Outcome, by_deadline, infer, mark};
use crate::request_tracing::Arrival;
use crate::state::ServerState;

/// Most requests of one stream that are not answered yet.
const MAX_OUTSTANDING: usize = 256;
/// Name of the parameter that marks the last reply to a request.
const FINAL_RESPONSE: &str = "triton_final_response";

/// One stream and its tasks; dropping the set it lives in ends them.
pub(super) struct InferStream {
    state: Arc<ServerState>,
    metadata: MetadataMap,
    /// What the client's connection may leave unread.
    unread: Arc<UnreadBudget>,
    replies: ReplySender,
    errors_end_stream: bool,
}

impl InferStream {
    pub(super) fn open(state: Arc<ServerState>, metadata: MetadataMap, unread: Arc<UnreadBudget>) -> (Self, Replies) {
        let (sender, replies) = replies(state.limits.write_timeout);
        let errors_end_stream =
            metadata.get("triton_grpc_error").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        (Self { state, metadata, unread, replies: sender, errors_end_stream }, replies)
    }

    /// Takes requests until the client has sent its last and every reply is out, or the client is gone.
    pub(super) async fn run(self, mut requests: Streaming<ModelInferRequest>) {
        let mut ordered = FuturesOrdered::new();
        let mut decoupled = JoinSet::new();
        let mut open = true;
        // From when the next message is awaited, where traces are on.
        let mut awaited = self.state.tracer.is_on().then(Instant::now);
        while open || !ordered.is_empty() || !decoupled.is_empty() {
            let may_read = open && ordered.len() + decoupled.len() < MAX_OUTSTANDING;
            tokio::select! {
                () = self.replies.closed() => return,
                Some(reply) = ordered.next(), if !ordered.is_empty() => {
                    if self.deliver(reply).await.is_err() {
                        return;
                    }
                }
                Some(_) = decoupled.join_next(), if !decoupled.is_empty() => {}
                request = requests.message(), if may_read => match request {
                    Ok(Some(message)) => {
                        let is_traced = self.state.tracer.is_on();
                        let arrival = Arrival::over_grpc(is_traced.then(|| awaited.unwrap_or_else(Instant::now)));
                        match self.begin(message, arrival) {
                            Begun::Ordinary(reply) => ordered.push_back(reply),
                            Begun::Decoupled(task) => {
                                let replies = self.replies.clone();
                                let errors_end_stream = self.errors_end_stream;
                                let profile = self.state.behaviour.profile;
                                decoupled.spawn(async move {
                                    task.run(&replies, errors_end_stream, profile).await;
                                });
                            }
                        }
                        awaited = is_traced.then(Instant::now);
                    }
                    Ok(None) => open = false,
                    Err(status) => {
                        // The client broke off, or sent what is no message: the stream ends with that.
                        let _told = self.replies.send(Err(status), None).await;
                        return;
                    }
                },
            }
        }
    }

    /// Understands and submits one request at once, so that order of arrival is order of submission.
    fn begin(&self, message: ModelInferRequest, mut arrival: Arrival) -> Begun {
        let received = arrival.received;
        let id = message.id.clone();
        let entered = self.state.admission.request().and_then(|permit| {
            let timeout = call_timeout(&self.metadata);
            let understood = understand(&self.state, self.metadata.clone(), message, &mut arrival, timeout, None)?;
            Ok((permit, understood))
        });
        match entered {
            Err(error) => {
                let trace = arrival.trace;
                Begun::Ordinary(Box::pin(std::future::ready(OrdinaryReply { reply: Err((error, id)), trace })))
            }
            Ok((permit, understood)) if understood.routed.ready.config.decoupled => {
                let (state, unread) = (Arc::clone(&self.state), Arc::clone(&self.unread));
                let trace = arrival.trace;
                Begun::Decoupled(Box::new(DecoupledRequest { state, unread, permit, understood, id, trace }))
            }
            // Features come before the submission, so order of arrival is not kept; models with sequences have none.
            Ok((permit, understood)) if understood.routed.ready.features.is_some() => {
                let state = Arc::clone(&self.state);
                Begun::Ordinary(Box::pin(async move {
                    let _permit = permit;
                    let trace = arrival.trace;
                    let Understood { routed, request, plan, held: _held, .. } = understood;
                    let replied = infer(&state.traffic, &routed, request, &id).await.and_then(|mut response| {
                        mark_final(&mut response, true);
                        reply_message(&routed, &plan, &id, &mut response)
                    });
                    OrdinaryReply { reply: replied.map(stream_response).map_err(|error| (error, id)), trace }
                }))
            }
            Ok((permit, understood)) => {
                let Understood { routed, request, plan, held, .. } = understood;
                let deadline = request.deadline;
                let state = Arc::clone(&self.state);
                let shadowed = routed.shadowed(&request);
                let (trace, times) = (arrival.trace, request.trace.clone());
                mark(times.as_deref(), Activity::RequestStart);
                let submission = routed.ready.scheduler.submit(request);
                Begun::Ordinary(Box::pin(async move {
                    let _held = (permit, held);
                    let mut outcome = Outcome::begin(&state.traffic, &routed, received, &id);
                    let result = match submission {
                        Submission::Done(result) => result,
                        Submission::Pending(answer) => by_deadline(answer, deadline).await,
                    };
                    mark(times.as_deref(), Activity::ResponseComplete);
                    outcome.settle(&result);
                    if let (Some(request), Ok(response)) = (shadowed, &result) {
                        state.traffic.copy(&routed, request, response);
                    }
                    let replied = result.and_then(|mut response| {
                        mark_final(&mut response, true);
                        reply_message(&routed, &plan, &id, &mut response)
                    });
                    drop(outcome);
                    mark(times.as_deref(), Activity::RequestEnd);
                    OrdinaryReply { reply: replied.map(stream_response).map_err(|error| (error, id)), trace }
                }))
            }
        }
    }

    async fn deliver(&self, OrdinaryReply { reply, trace }: OrdinaryReply) -> Result<(), NobodyReads> {
        let trace = trace.map(SentTrace::begin);
        let reply = match reply {
            Ok(reply) => Ok(reply),
            Err((error, _)) if self.errors_end_stream => Err(to_status(&error, self.state.behaviour.profile)),
            Err((error, id)) => Ok(stream_error(&error, &id)),
        };
        let ends = reply.is_err();
        self.replies.send_last(reply, None, trace).await?;
        if ends { Err(NobodyReads) } else { Ok(()) }
    }
}

/// The one reply to a request, or why there is none and to which id; and the request's trace.
struct OrdinaryReply {
    reply: Result<ModelStreamInferResponse, (ServingError, String)>,
    trace: Option<Box<RequestTrace>>,
}

enum Begun {
    Ordinary(std::pin::Pin<Box<dyn Future<Output = OrdinaryReply> + Send>>),
    Decoupled(Box<DecoupledRequest>),
}

/// A request to a decoupled model: none or many replies.
struct DecoupledRequest {
    state: Arc<ServerState>,
    unread: Arc<UnreadBudget>,
    permit: Permit,
    understood: Understood,
    id: String,
    trace: Option<Box<RequestTrace>>,
}

impl DecoupledRequest {
    async fn run(self, replies: &ReplySender, errors_end_stream: bool, profile: hanok_protocol::StatusProfile) {
        let Self { state, unread, permit, understood, id, trace } = self;
        let _permit = permit;
        let Understood { routed, request, plan, empty_final_response, held: _held } = understood;
        let times = request.trace.clone();
        mark(times.as_deref(), Activity::RequestStart);
        let mut outcome = Outcome::begin(&state.traffic, &routed, request.received, &id);
        let filled = match &routed.ready.features {
            None => Ok(FilledRequest { request, told: Parameters::new() }),
            Some(step) => step.fill(request).await,
        };
        let (request, mut told) = match filled {
            Ok(FilledRequest { request, told }) => (request, told),
            Err(error) => {
                outcome.fail(&error);
                mark(times.as_deref(), Activity::RequestEnd);
                let reply =
                    if errors_end_stream { Err(to_status(&error, profile)) } else { Ok(stream_error(&error, &id)) };
                // Whoever has gone does not wait for an answer.
                let _told = replies.send_last(reply, None, trace.map(SentTrace::begin)).await;
                return;
            }
        };
        let mut trace = trace;
        let mut responses = routed.ready.scheduler.submit_stream(request, &unread);
        while let Some(response) = responses.next().await {
            if response.last {
                mark(times.as_deref(), Activity::ResponseComplete);
            }
            let message = match response.result {
                Some(Ok(mut body)) => {
                    body.parameters.append(&mut told);
                    mark_final(&mut body, response.last);
                    if response.last {
                        outcome.succeed(&body);
                    }
                    reply_message(&routed, &plan, &id, &mut body).map(stream_response)
                }
                Some(Err(error)) => {
                    outcome.fail(&error);
                    Err(error)
                }
                None => {
                    let mut body = InferenceResponse::default();
                    mark_final(&mut body, true);
                    outcome.succeed(&body);
                    if !empty_final_response {
                        mark(times.as_deref(), Activity::RequestEnd);
                        return;
                    }
                    reply_message(&routed, &plan, &id, &mut body).map(stream_response)
                }
            };
            let reply = match message {
                Err(error) if errors_end_stream => Err(to_status(&error, profile)),
                Err(error) => Ok(stream_error(&error, &id)),
                Ok(reply) => Ok(reply),
            };
            if let Some(times) = &times {
                times.mark_first(Activity::GrpcSendStart);
            }
            let ending = if response.last { trace.take() } else { None };
            if ending.is_some() {
                mark(times.as_deref(), Activity::RequestEnd);
            }
            let sent = replies.send_last(reply, response.share, ending.map(SentTrace::begin)).await;
            if sent.is_err() || response.last {
                return;
            }
        }
    }
}

fn mark_final(response: &mut InferenceResponse, last: bool) {
    response.parameters.push((FINAL_RESPONSE.into(), ParameterValue::Bool(last)));
}
