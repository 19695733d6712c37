//! Replies of one `ModelStreamInfer` call on their way to the client: bounded in number, and in the time for which none
//! is taken.
//!
//! The transport makes one frame of all that waits, and does so before the client has room for it. So the replies of a
//! frame keep their places, and what they take of the client's budget, until the transport asks for more.
//!
//! HTTP/2 lets a client hold a call open for ever without reading, and nothing blocks on its connection meanwhile. Here
//! the call is given up then: what waits is dropped, and everybody who would send is told.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hanok_protocol::v2_grpc::wire::inference::ModelStreamInferResponse;
use hanok_scheduler::UnreadShare;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tonic::Status;

use super::sent_trace::SentTrace;

/// Replies that wait for a client to read, those of the frame that is on its way included.
const REPLY_BUFFER: usize = 64;

pub(super) type Reply = Result<ModelStreamInferResponse, Status>;

/// What a reply holds until the client has room for it.
type Place = (OwnedSemaphorePermit, Option<UnreadShare>);

#[derive(Debug)]
struct Exit {
    receiver: mpsc::UnboundedReceiver<(Reply, Place, Option<SentTrace>)>,
    room: Arc<Semaphore>,
    /// The places of the frame that the transport fills or sends.
    frame: Vec<Place>,
    /// Whether the transport was told that nothing more goes into this frame.
    frame_ended: bool,
    /// Replies that the transport took.
    taken: u64,
    given_up: bool,
    /// What the client is told if it reads after all.
    failure: Option<Status>,
}

impl Exit {
    fn close(&mut self) {
        self.receiver.close();
        while self.receiver.try_recv().is_ok() {}
        self.frame.clear();
        self.room.close();
    }
}

/// Where the tasks of a call put their replies.
#[derive(Clone, Debug)]
pub(super) struct ReplySender {
    sender: mpsc::UnboundedSender<(Reply, Place, Option<SentTrace>)>,
    room: Arc<Semaphore>,
    exit: Arc<Mutex<Exit>>,
    patience: Duration,
}

/// The replies as the transport takes them; dropping them closes the senders.
#[derive(Debug)]
pub(super) struct Replies {
    exit: Arc<Mutex<Exit>>,
}

/// Nobody reads: the client left, or took no reply for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NobodyReads;

/// The two ends of a call, which is given up when replies wait for room and none is taken for `patience`.
pub(super) fn replies(patience: Duration) -> (ReplySender, Replies) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(REPLY_BUFFER));
    let exit = Arc::new(Mutex::new(Exit {
        receiver,
        room: Arc::clone(&room),
        frame: Vec::new(),
        frame_ended: false,
        taken: 0,
        given_up: false,
        failure: None,
    }));
    (ReplySender { sender, room, exit: Arc::clone(&exit), patience }, Replies { exit })
}

impl ReplySender {
    /// Puts a reply in, waiting for room as long as the client may take.
    ///
    /// # Errors
    /// When nobody reads any more: the call is over then.
    pub(super) async fn send(&self, reply: Reply, share: Option<UnreadShare>) -> Result<(), NobodyReads> {
        self.send_last(reply, share, None).await
    }

    /// As [`ReplySender::send`], of the last reply to a request: its trace, if it has one, ends when the transport takes it.
    ///
    /// # Errors
    /// As [`ReplySender::send`].
    pub(super) async fn send_last(
        &self,
        reply: Reply,
        share: Option<UnreadShare>,
        trace: Option<SentTrace>,
    ) -> Result<(), NobodyReads> {
        let place = self.place().await?;
        self.sender.send((reply, (place, share), trace)).map_err(|_closed| NobodyReads)
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, NobodyReads> {
        match Arc::clone(&self.room).try_acquire_owned() {
            Ok(place) => return Ok(place),
            Err(TryAcquireError::Closed) => return Err(NobodyReads),
            Err(TryAcquireError::NoPermits) => {}
        }
        let mut place = pin!(Arc::clone(&self.room).acquire_owned());
        loop {
            let before = self.exit.lock().taken;
            match tokio::time::timeout(self.patience, place.as_mut()).await {
                Ok(place) => return place.map_err(|_closed| NobodyReads),
                Err(_elapsed) if self.exit.lock().taken == before => {
                    self.give_up();
                    return Err(NobodyReads);
                }
                // The client reads, and others were before us.
                Err(_elapsed) => {}
            }
        }
    }

    /// Waits until nobody reads any more.
    pub(super) async fn closed(&self) {
        self.sender.closed().await;
    }

    fn give_up(&self) {
        let mut exit = self.exit.lock();
        if !exit.given_up {
            exit.close();
            exit.given_up = true;
            let text = format!("the call was ended: no reply was read within `{}` s", self.patience.as_secs());
            exit.failure = Some(Status::resource_exhausted(text));
            tracing::debug!("a call was ended: its client took no reply in time");
        }
    }
}

impl tokio_stream::Stream for Replies {
    type Item = Reply;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        let mut exit = self.exit.lock();
        if exit.given_up {
            return Poll::Ready(exit.failure.take().map(Err));
        }
        if std::mem::take(&mut exit.frame_ended) {
            exit.frame.clear();
        }
        match exit.receiver.poll_recv(context) {
            Poll::Ready(Some((reply, place, trace))) => {
                exit.frame.push(place);
                if let Some(trace) = trace {
                    trace.end();
                }
                exit.taken += 1;
                Poll::Ready(Some(reply))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                exit.frame_ended = true;
                if exit.frame.len() == REPLY_BUFFER {
                    // Nobody can put in a reply, which else wakes the transport.
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.exit.lock().close();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use tokio_stream::{Stream as _, StreamExt as _};

    use super::*;

    fn numbered(number: usize) -> Reply {
        Ok(ModelStreamInferResponse { error_message: number.to_string(), ..Default::default() })
    }

    fn run<Output>(test: impl Future<Output = Output>) -> Output {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
    }

    fn look<Sending: Future>(sending: Pin<&mut Sending>) -> Poll<Sending::Output> {
        sending.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn a_call_whose_client_never_reads_is_given_up() {
        run(async {
            let (sender, mut replies) = replies(Duration::from_millis(1));
            for number in 0..REPLY_BUFFER {
                assert_eq!(sender.send(numbered(number), None).await, Ok(()));
            }
            // Its clock runs only now.
            let (first, second) = tokio::join!(sender.send(numbered(64), None), sender.send(numbered(65), None));
            assert_eq!((first, second), (Err(NobodyReads), Err(NobodyReads)));
            sender.closed().await;
            assert_eq!(sender.send(numbered(66), None).await, Err(NobodyReads));
            // Nothing is kept of what it could have read, and it is told.
            assert_eq!(sender.exit.lock().receiver.len(), 0);
            assert_eq!(replies.next().await.unwrap().unwrap_err().code(), tonic::Code::ResourceExhausted);
            assert!(replies.next().await.is_none());
        });
    }

    #[test]
    fn a_frame_keeps_its_places_until_the_transport_asks_for_more() {
        run(async {
            let (sender, mut replies) = replies(Duration::from_secs(60));
            for number in 0..REPLY_BUFFER {
                sender.send(numbered(number), None).await.unwrap();
            }
            let mut further = pin!(sender.send(numbered(64), None));
            let mut context = Context::from_waker(std::task::Waker::noop());
            for _reply in 0..REPLY_BUFFER {
                assert!(Pin::new(&mut replies).poll_next(&mut context).is_ready());
                assert!(look(further.as_mut()).is_pending());
            }
            // The frame ends here, and waits for the client; then the transport comes back.
            assert!(Pin::new(&mut replies).poll_next(&mut context).is_pending());
            assert!(look(further.as_mut()).is_pending());
            assert!(Pin::new(&mut replies).poll_next(&mut context).is_pending());
            assert_eq!(look(further.as_mut()), Poll::Ready(Ok(())));
            assert!(Pin::new(&mut replies).poll_next(&mut context).is_ready());
        });
    }

    #[test]
    fn the_clock_begins_anew_with_each_reply_that_is_taken() {
        run(async {
            let (sender, mut replies) = replies(Duration::from_millis(1));
            for number in 0..REPLY_BUFFER {
                sender.send(numbered(number), None).await.unwrap();
            }
            let mut waiting: Vec<_> =
                (0..=REPLY_BUFFER).map(|number| Box::pin(sender.send(numbered(number), None))).collect();
            assert!(waiting.iter_mut().all(|one| look(one.as_mut()).is_pending()));
            for _reply in 0..REPLY_BUFFER {
                assert!(replies.next().await.unwrap().is_ok());
            }
            // The end of the frame, and the beginning of the next.
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(Pin::new(&mut replies).poll_next(&mut context).is_pending());
            assert!(Pin::new(&mut replies).poll_next(&mut context).is_pending());
            let mut last = waiting.pop().unwrap();
            assert!(waiting.iter_mut().all(|one| look(one.as_mut()) == Poll::Ready(Ok(()))));
            // Its time is over when it is looked at next, but some were taken meanwhile; then none.
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(look(last.as_mut()).is_pending());
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(look(last.as_mut()), Poll::Ready(Err(NobodyReads)));
        });
    }

    #[test]
    fn one_who_reads_slowly_gets_everything_in_order() {
        run(async {
            let (sender, mut replies) = replies(Duration::from_secs(60));
            let count = 5 * REPLY_BUFFER;
            let sending = async move {
                for number in 0..count {
                    sender.send(numbered(number), None).await.unwrap();
                }
            };
            let reading = async {
                let mut seen = 0;
                while let Some(reply) = replies.next().await {
                    assert_eq!(reply.unwrap().error_message, seen.to_string());
                    seen += 1;
                    tokio::task::yield_now().await;
                }
                seen
            };
            assert_eq!(tokio::join!(sending, reading).1, count);
        });
    }

    #[test]
    fn one_who_leaves_ends_those_who_wait() {
        run(async {
            let (sender, replies) = replies(Duration::from_secs(60));
            for number in 0..REPLY_BUFFER {
                sender.send(numbered(number), None).await.unwrap();
            }
            let leaving = async move { drop(replies) };
            let (sent, ()) = tokio::join!(sender.send(numbered(64), None), leaving);
            assert_eq!(sent, Err(NobodyReads));
            assert_eq!(sender.exit.lock().receiver.len(), 0);
        });
    }
}
