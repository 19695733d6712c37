//! What has to be done now and then: outcomes expire, streams are kept within bounds, idempotency keys are forgotten.

use hanok_state::{MachineWrite, PAGE_RECORDS, Stream};

use super::error::ControlError;
use super::state::Controller;

/// Time between two rounds, in milliseconds.
const INTERVAL_MILLIS: u64 = 10_000;
/// How long an idempotency key is known, in milliseconds: a day.
const KEY_MILLIS: u64 = 86_400_000;
/// Keys forgotten in one round.
const MOST_KEYS: usize = 500;

impl Controller {
    pub(super) async fn keep_house(&mut self) -> Result<(), ControlError> {
        if self.now().saturating_sub(self.kept_house_at) < INTERVAL_MILLIS {
            return Ok(());
        }
        self.kept_house_at = self.now();
        let now = self.timestamp();
        self.store.expire_outcomes(now).await?;
        self.skip_unread_pairs().await?;
        for stream in [Stream::Journal, Stream::Pairs] {
            let report = self.store.retain(stream, self.settings.retention, now).await?;
            if report.readers_behind > 0 {
                tracing::warn!(
                    ?stream,
                    readers = report.readers_behind,
                    "readers lost records that were not kept longer"
                );
            }
        }
        let known = self.store.machines("idempotency", "", PAGE_RECORDS).await?;
        let old = known.into_iter().filter(|key| key.updated_at.plus_millis(KEY_MILLIS) < now).take(MOST_KEYS);
        let mut transaction = self.transaction();
        transaction.machines = old
            .map(|key| MachineWrite { kind: key.kind, name: key.name, expected: key.version, state: None })
            .collect();
        if !transaction.machines.is_empty() {
            self.commit(transaction).await?;
        }
        Ok(())
    }

    /// Moves the reader of pairs on while nobody reads outcomes, so that retention does not wait for it.
    async fn skip_unread_pairs(&mut self) -> Result<(), ControlError> {
        if self.judges.values().any(|judge| judge.reads_outcomes() && judge.is_watching()) {
            return Ok(());
        }
        let after = hanok_state::Sequence(self.pairs_cursor);
        let last = self.store.pairs(hanok_state::ReadFrom::After(after), 1).await?.last;
        if last > after {
            let step = hanok_state::CursorAdvance {
                stream: Stream::Pairs,
                name: super::state::PAIRS_CURSOR.to_owned(),
                expected: after,
                to: last,
            };
            self.store.advance_cursor(step, self.timestamp()).await?;
            (self.pairs_cursor, self.pairs_read) = (last.0, last.0);
        }
        Ok(())
    }
}
