//! What to do about what was seen: a pure function of what is declared, what is in force, and what was tried.
//!
//! Invariants, held by the tests below: nothing happens unless a whole declaration was read, and nothing but on order while the
//! kill switch holds the table; what is in step is left alone; what was refused is tried again ever less often, and at once
//! when it changes.

/// First wait after a refusal, in milliseconds; it doubles.
const FIRST_WAIT: u64 = 1_000;
/// Longest wait after a refusal, in milliseconds.
const LONGEST_WAIT: u64 = 60_000;
/// How long a folder must have stayed the same: whoever writes several files is let finish.
pub(super) const SETTLE_MILLIS: u64 = 300;

/// What the last look at the place gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It could not be read.
    Unreachable,
    /// It changed a moment ago and may be half written.
    Unsettled,
    /// It is no valid declaration.
    Broken,
    /// It declares something that can be compared with what is in force.
    Whole(Comparison),
}

/// What is declared beside what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Resources that differ, declared ones that are missing and former ones that are still there.
    pub(super) differences: usize,
    /// Whether this very content is the last that was taken from the place.
    pub(super) taken: bool,
    /// Whether it was taken from this very commit.
    pub(super) same_commit: bool,
    /// Whether the kill switch holds the table.
    pub(super) held: bool,
    /// Whether this replica acts.
    pub(super) acting: bool,
}

/// A refusal of this very content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) attempts: u32,
    pub(super) at: u64,
}

/// What a person or the settings want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    /// A person ordered that what is declared be in force, now.
    pub(super) ordered: bool,
    /// Set back what somebody changed by hand; else only tell.
    pub(super) correct_drift: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, and this is why.
    Leave(Why),
    /// Put in force what is declared.
    Apply(Cause),
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Unreachable,
    Unsettled,
    Broken,
    InStep,
    NotActing,
    Held,
    DriftOnlyTold,
    /// Refused before; not before this instant.
    Refused(u64),
}

/// Why something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The declaration is new.
    Declared,
    /// Only the commit is new: it is put on record.
    Commit,
    /// Somebody changed what is declared.
    Drift,
    /// A person ordered it.
    Order,
}

pub(super) fn decide(now: u64, seen: &Seen, refusal: Option<Refusal>, wishes: Wishes) -> Decision {
    let seen = match seen {
        Seen::Unreachable => return Decision::Leave(Why::Unreachable),
        Seen::Unsettled => return Decision::Leave(Why::Unsettled),
        Seen::Broken => return Decision::Leave(Why::Broken),
        Seen::Whole(seen) => seen,
    };
    if !seen.acting {
        return Decision::Leave(Why::NotActing);
    }
    let in_step = seen.differences == 0 && seen.taken && seen.same_commit;
    if wishes.ordered {
        let done = in_step && !seen.held;
        return if done { Decision::Leave(Why::InStep) } else { Decision::Apply(Cause::Order) };
    }
    if seen.held {
        return Decision::Leave(Why::Held);
    }
    if in_step {
        return Decision::Leave(Why::InStep);
    }
    if seen.taken && seen.differences > 0 && !wishes.correct_drift {
        return Decision::Leave(Why::DriftOnlyTold);
    }
    if let Some(again) = refusal.map(retry_at).filter(|again| now < *again) {
        return Decision::Leave(Why::Refused(again));
    }
    Decision::Apply(match (seen.taken, seen.differences) {
        (false, _) => Cause::Declared,
        (true, 0) => Cause::Commit,
        (true, _) => Cause::Drift,
    })
}

pub(super) fn retry_at(refusal: Refusal) -> u64 {
    let wait = FIRST_WAIT.saturating_mul(1 << refusal.attempts.saturating_sub(1).min(16)).min(LONGEST_WAIT);
    refusal.at.saturating_add(wait)
}

/// Whether what a folder holds has stayed the same for long enough. `before` is what the look before this one saw, and since
/// when.
pub(super) fn is_settled(now: u64, digest: &str, before: Option<(&str, u64)>) -> bool {
    before.is_some_and(|(seen, since)| seen == digest && now.saturating_sub(since) >= SETTLE_MILLIS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn comparison() -> impl Strategy<Value = Comparison> {
        (0_usize..3, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(differences, taken, same_commit, held, acting)| Comparison {
                differences,
                taken,
                same_commit: taken && same_commit,
                held,
                acting,
            },
        )
    }

    fn seen() -> impl Strategy<Value = Seen> {
        prop_oneof![
            Just(Seen::Unreachable),
            Just(Seen::Unsettled),
            Just(Seen::Broken),
            comparison().prop_map(Seen::Whole),
            comparison().prop_map(Seen::Whole),
        ]
    }

    fn wishes() -> impl Strategy<Value = Wishes> {
        (any::<bool>(), any::<bool>()).prop_map(|(ordered, correct_drift)| Wishes { ordered, correct_drift })
    }

    fn refusal() -> impl Strategy<Value = Option<Refusal>> {
        prop::option::of((1_u32..40, 0_u64..200_000).prop_map(|(attempts, at)| Refusal { attempts, at }))
    }

    proptest! {
        #[test]
        fn only_whole_declarations_act_and_the_kill_switch_is_lifted_on_order_only(
            now in 0_u64..300_000, seen in seen(), refusal in refusal(), wishes in wishes(),
        ) {
            let decision = decide(now, &seen, refusal, wishes);
            let Decision::Apply(cause) = decision else { return Ok(()) };
            let Seen::Whole(seen) = &seen else { panic!("acted on what could not be read") };
            prop_assert!(seen.acting);
            prop_assert!(!seen.held || wishes.ordered);
            prop_assert_eq!(cause == Cause::Order, wishes.ordered);
            // There is something to do.
            prop_assert!(seen.differences > 0 || !seen.taken || !seen.same_commit || seen.held);
            // What was changed by hand is set back only where that is wished.
            prop_assert!(cause != Cause::Drift || wishes.correct_drift);
        }

        #[test]
        fn doing_it_once_is_enough(now in 0_u64..300_000, seen in comparison(), refusal in refusal(), wishes in wishes()) {
            let decision = decide(now, &Seen::Whole(seen.clone()), refusal, wishes);
            if matches!(decision, Decision::Apply(_)) {
                // What applying leaves: nothing differs, content and commit are on record, nothing is held.
                let after = Comparison { differences: 0, taken: true, same_commit: true, held: false, ..seen };
                let then = decide(now, &Seen::Whole(after), None, wishes);
                prop_assert_eq!(then, Decision::Leave(Why::InStep));
            }
        }

        #[test]
        fn what_is_refused_is_tried_again_and_never_all_the_time(
            seen in comparison(), attempts in 1_u32..40, at in 0_u64..1_000_000, correct_drift: bool,
        ) {
            let wishes = Wishes { ordered: false, correct_drift };
            let seen = Seen::Whole(seen);
            let unhindered = decide(at, &seen, None, wishes);
            let refusal = Some(Refusal { attempts, at });
            // Not at once, but within the longest wait, if at all.
            prop_assert!(!matches!(decide(at, &seen, refusal, wishes), Decision::Apply(_)));
            prop_assert_eq!(decide(at + LONGEST_WAIT, &seen, refusal, wishes), unhindered);
            // Whoever was refused more often waits no shorter.
            let waits = |attempts| retry_at(Refusal { attempts, at }) - at;
            prop_assert!(waits(attempts) <= waits(attempts + 1) && waits(attempts) >= FIRST_WAIT);
        }
    }

    #[test]
    fn a_folder_settles_when_it_stays_the_same() {
        assert!(!is_settled(1_000, "a", None));
        assert!(!is_settled(1_000, "a", Some(("b", 0))));
        assert!(!is_settled(1_000, "a", Some(("a", 900))));
        assert!(is_settled(1_000, "a", Some(("a", 1_000 - SETTLE_MILLIS))));
    }
}
