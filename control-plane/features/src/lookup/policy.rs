//! What becomes of one value: served, replaced, passed on as missing, or the end of the request.
//!
//! A pure function of what was found, what was declared and the present.

use std::time::Duration;

use crate::declared::Fallback;
use crate::error::Missing;
use crate::row::NO_TIME;

/// What is known of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is one, of this age in microseconds where known.
    Value(Option<i64>),
    /// There is none.
    Nothing(Missing),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// The found value is served.
    Serve,
    /// The found value is served although it is stale.
    ServeStale,
    /// The remembered value is served.
    ServeRemembered,
    /// The declared default is served.
    Default,
    /// It stays missing.
    Missing,
    /// The request fails.
    Fail(Missing),
}

/// Decides. `remembered` tells whether an older value is at hand.
///
/// An age that is not known is within no maximum; one below zero, because the store's clock is ahead, is within every.
pub(super) fn decide(
    found: Found,
    maximum_age: Option<Duration>,
    fallback: &Fallback,
    remembered: impl FnOnce() -> bool,
) -> Decision {
    let why = match found {
        Found::Value(age) => match stale(age, maximum_age) {
            None => return Decision::Serve,
            Some(why) => why,
        },
        Found::Nothing(why) => why,
    };
    match fallback {
        Fallback::Default(_) => Decision::Default,
        Fallback::Missing => Decision::Missing,
        Fallback::Fail => Decision::Fail(why),
        Fallback::LastKnown(_) if matches!(why, Missing::Stale { .. } | Missing::OfUnknownAge { .. }) => {
            Decision::ServeStale
        }
        // A store that tells that there is nothing is believed.
        Fallback::LastKnown(_)
            if matches!(why, Missing::StoreUnavailable(_) | Missing::StoreTooSlow) && remembered() =>
        {
            Decision::ServeRemembered
        }
        Fallback::LastKnown(Some(_)) => Decision::Default,
        Fallback::LastKnown(None) => Decision::Fail(why),
    }
}

/// The earliest event time that is not stale, for those who decide about many values at once; where no maximum is declared,
/// that of a time that is not known.
pub(super) fn not_before(now_micros: i64, maximum_age: Option<Duration>) -> i64 {
    let maximum = maximum_age.map(|maximum| i64::try_from(maximum.as_micros()).unwrap_or(i64::MAX));
    maximum.map_or(NO_TIME, |maximum| now_micros.saturating_sub(maximum).max(NO_TIME + 1))
}

fn stale(age_micros: Option<i64>, maximum_age: Option<Duration>) -> Option<Missing> {
    let maximum = maximum_age?;
    let Some(age) = age_micros else {
        return Some(Missing::OfUnknownAge { maximum_seconds: maximum.as_secs() });
    };
    let age = Duration::from_micros(u64::try_from(age).ok()?);
    (age > maximum).then_some(Missing::Stale { age_seconds: age.as_secs(), maximum_seconds: maximum.as_secs() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Decision, Found, decide, not_before};
    use crate::declared::Fallback;
    use crate::error::Missing;
    use crate::row::NO_TIME;
    use crate::value::Value;

    fn any_fallback() -> impl Strategy<Value = Fallback> {
        let value = Value::Float32(1.0);
        prop_oneof![
            Just(Fallback::Default(value.clone())),
            Just(Fallback::LastKnown(None)),
            Just(Fallback::LastKnown(Some(value))),
            Just(Fallback::Missing),
            Just(Fallback::Fail),
        ]
    }

    fn any_found() -> impl Strategy<Value = Found> {
        let why = vec![
            Missing::NotFound,
            Missing::Null,
            Missing::Unusable("wrong".into()),
            Missing::StoreUnavailable("gone".into()),
            Missing::StoreTooSlow,
        ];
        prop_oneof![
            prop::option::of(-5_000_000_i64..20_000_000).prop_map(Found::Value),
            prop::sample::select(why).prop_map(Found::Nothing),
        ]
    }

    proptest! {
        #[test]
        fn nothing_stale_is_served_unless_declared(
            found in any_found(), fallback in any_fallback(), maximum in prop::option::of(1_u64..10),
            remembered in any::<bool>(),
        ) {
            let maximum = maximum.map(Duration::from_secs);
            let decision = decide(found.clone(), maximum, &fallback, || remembered);
            let fresh = match (&found, maximum) {
                (Found::Value(Some(age)), Some(most)) => i128::from(*age) <= most.as_micros() as i128,
                (Found::Value(_), None) => true,
                _ => false,
            };
            prop_assert_eq!(decision == Decision::Serve, fresh);
            if let Found::Value(age) = found {
                let now = 1_000_000_000;
                let event = age.map_or(NO_TIME, |age| now - age);
                prop_assert_eq!(event >= not_before(now, maximum), fresh);
            }
            let last_known = matches!(fallback, Fallback::LastKnown(_));
            match decision {
                Decision::Serve => {}
                Decision::ServeStale => {
                    prop_assert!(last_known && maximum.is_some() && matches!(found, Found::Value(_)));
                }
                Decision::ServeRemembered => prop_assert!(last_known && remembered),
                Decision::Default => {
                    prop_assert!(matches!(fallback, Fallback::Default(_) | Fallback::LastKnown(Some(_))));
                }
                Decision::Missing => prop_assert_eq!(fallback, Fallback::Missing),
                Decision::Fail(_) => {
                    prop_assert!(fallback == Fallback::Fail || fallback == Fallback::LastKnown(None));
                }
            }
        }
    }
}
