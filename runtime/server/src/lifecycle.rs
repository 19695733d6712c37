//! The stages of the server's life, and how its parts learn of them.
//!
//! Stages only move forward. Readiness turns false at the first step of the way out, before any listener stops.

use tokio::sync::watch;

/// Stage of the server's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Models are being loaded; listeners may answer already.
    Starting,
    /// Serving.
    Serving,
    /// Not ready any more, serving on so that balancers notice.
    Leaving,
    /// Listeners are closed; in-flight work is finished.
    Draining,
    /// Over: connections are cut.
    Stopped,
}

/// The server's stage; shared by all its parts.
#[derive(Debug)]
pub struct Lifecycle {
    stage: watch::Sender<Stage>,
}

impl Lifecycle {
    /// A server that is starting.
    #[must_use]
    pub fn new() -> Self {
        Self { stage: watch::Sender::new(Stage::Starting) }
    }

    /// The stage now.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Moves to `stage`; never backwards.
    pub fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|current| {
            let forward = stage > *current;
            if forward {
                *current = stage;
            }
            forward
        });
    }

    /// A receiver that learns of every later stage.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

/// Waits until `stage` or a later one is reached.
pub(crate) async fn reached(receiver: &mut watch::Receiver<Stage>, stage: Stage) {
    // A dropped sender means that the server is gone, which is past every stage.
    drop(receiver.wait_for(|current| *current >= stage).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_move_forward_only() {
        let lifecycle = Lifecycle::new();
        let mut receiver = lifecycle.subscribe();
        lifecycle.advance(Stage::Draining);
        lifecycle.advance(Stage::Serving);
        assert_eq!(lifecycle.stage(), Stage::Draining);
        reached(&mut receiver, Stage::Leaving).await;
    }
}
