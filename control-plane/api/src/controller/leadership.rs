//! The right to act, where several replicas share a store. Without lease settings this replica is alone.

use hanok_state::{LeaseAnswer, StateError};

use super::error::ControlError;
use super::state::Controller;
use super::tick::duration_millis;

const LEASE: &str = "controller";

impl Controller {
    /// Whether this replica may act now. A lease that is new means that memory may be old.
    pub(super) async fn ensure_leadership(&mut self) -> Result<bool, ControlError> {
        let Some(settings) = self.settings.lease.clone() else { return Ok(true) };
        let (now, term) = (self.timestamp(), duration_millis(settings.term).max(1));
        if let Some(grant) = self.lease.clone() {
            // Renewed when a third of the term has passed, so that one failure is no loss.
            if now < grant.expires_at.minus_millis(term / 3 * 2) {
                return Ok(true);
            }
            match self.store.renew_lease(grant, term, now).await {
                Ok(renewed) => {
                    self.lease = Some(renewed);
                    return Ok(true);
                }
                Err(StateError::Fenced { .. }) => self.lease = None,
                Err(error) => return Err(error.into()),
            }
        }
        match self.store.acquire_lease(LEASE, &settings.holder, term, now).await? {
            LeaseAnswer::Granted(grant) => {
                self.lease = Some(grant);
                self.other_leader = None;
                self.needs_reload = true;
                Ok(true)
            }
            LeaseAnswer::Held { holder, .. } => {
                self.other_leader = Some(holder);
                self.needs_reload = true;
                Ok(false)
            }
        }
    }

    /// Refuses to change anything unless this replica acts and memory is what the store holds.
    pub(super) async fn ready_to_change(&mut self) -> Result<(), ControlError> {
        if !self.ensure_leadership().await? {
            return Err(ControlError::NotLeader { holder: self.other_leader.clone().unwrap_or_default() });
        }
        if self.needs_reload {
            self.reload().await?;
        }
        Ok(())
    }
}
