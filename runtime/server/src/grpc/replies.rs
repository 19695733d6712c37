//! Replies of one `ModelStreamInfer` call on their way to the client: bounded in number, and in the time for which none
//! is taken.
//!
//! HTTP/2 lets a client hold a call open for ever without reading, and nothing blocks on its connection meanwhile. Here
//! the call is given up then: what waits is dropped, and everybody who would send is told.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hanok_protocol::v2_grpc::wire::inference::ModelStreamInferResponse;
use hanok_scheduler::UnreadShare;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Status;

/// Replies that wait for a client to read.
const REPLY_BUFFER: usize = 64;

pub(super) type Reply = Result<ModelStreamInferResponse, Status>;

/// A reply, and what it takes of its client's budget until it is read.
#[derive(Debug)]
struct Waiting {
    reply: Reply,
    _share: Option<UnreadShare>,
}

#[derive(Debug)]
struct Exit {
    receiver: mpsc::Receiver<Waiting>,
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
    }
}

/// Where the tasks of a call put their replies.
#[derive(Clone, Debug)]
pub(super) struct ReplySender {
    sender: mpsc::Sender<Waiting>,
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
    let (sender, receiver) = mpsc::channel(REPLY_BUFFER);
    let exit = Arc::new(Mutex::new(Exit { receiver, taken: 0, given_up: false, failure: None }));
    (ReplySender { sender, exit: Arc::clone(&exit), patience }, Replies { exit })
}

impl ReplySender {
    /// Puts a reply in, waiting for room as long as the client may take.
    ///
    /// # Errors
    /// When nobody reads any more: the call is over then.
    pub(super) async fn send(&self, reply: Reply, share: Option<UnreadShare>) -> Result<(), NobodyReads> {
        let waiting = match self.sender.try_send(Waiting { reply, _share: share }) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(NobodyReads),
            Err(mpsc::error::TrySendError::Full(waiting)) => waiting,
        };
        let mut sending = pin!(self.sender.send(waiting));
        loop {
            let before = self.exit.lock().taken;
            match tokio::time::timeout(self.patience, sending.as_mut()).await {
                Ok(sent) => return sent.map_err(|_closed| NobodyReads),
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
        if !exit.given_up {
            let waiting = ready!(exit.receiver.poll_recv(context));
            exit.taken += 1;
            return Poll::Ready(waiting.map(|waiting| waiting.reply));
        }
        Poll::Ready(exit.failure.take().map(Err))
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

    use tokio_stream::StreamExt as _;

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
    fn the_clock_begins_anew_with_each_reply_that_is_taken() {
        run(async {
            let (sender, mut replies) = replies(Duration::from_millis(1));
            for number in 0..REPLY_BUFFER {
                sender.send(numbered(number), None).await.unwrap();
            }
            let mut first = pin!(sender.send(numbered(64), None));
            let mut second = pin!(sender.send(numbered(65), None));
            assert!(look(first.as_mut()).is_pending() && look(second.as_mut()).is_pending());
            assert!(replies.next().await.unwrap().is_ok());
            assert_eq!(first.await, Ok(()));
            // Its time is over when it is looked at next, but one was taken meanwhile; then none.
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(look(second.as_mut()).is_pending());
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(look(second.as_mut()), Poll::Ready(Err(NobodyReads)));
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
