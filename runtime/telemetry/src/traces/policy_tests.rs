//! Tests of the sampling decision and of how settings are merged.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::*;

const ON: TraceSettings = TraceSettings { level: TraceLevel::Timestamps, rate: 1, count: -1, log_frequency: 0 };

fn sampled(policy: &mut TracePolicy, model: &str, requests: usize) -> Vec<usize> {
    (1..=requests).filter(|_| policy.sample(model).is_some()).collect()
}

fn rate(rate: u32) -> TraceChanges {
    TraceChanges { rate: Change::Set(rate), ..TraceChanges::default() }
}

#[test]
fn w78_what_is_not_set_is_off() {
    let mut policy = TracePolicy::new(TraceSettings::default(), true);
    let settings = TraceSettings { level: TraceLevel::Off, rate: 1000, count: -1, log_frequency: 0 };
    assert_eq!(policy.settings(None), settings);
    assert!(!policy.samples());
    assert!(policy.sample("m").is_none());
}

#[test]
fn a_model_takes_from_the_global_setting_what_was_not_set_for_it() {
    let mut policy = TracePolicy::new(TraceSettings { rate: 6, ..ON }, true);
    policy.change(Some("m"), &rate(2)).unwrap();
    let frequency = TraceChanges { log_frequency: Change::Set(3), ..TraceChanges::default() };
    policy.change(None, &frequency).unwrap();
    assert_eq!(policy.settings(Some("m")), TraceSettings { rate: 2, log_frequency: 3, ..ON });
    assert_eq!(policy.settings(Some("other")), TraceSettings { rate: 6, log_frequency: 3, ..ON });
    policy.change(None, &rate(9)).unwrap();
    assert_eq!(policy.settings(Some("m")).rate, 2);
    policy.change(Some("m"), &TraceChanges { rate: Change::Clear, ..TraceChanges::default() }).unwrap();
    assert_eq!(policy.settings(Some("m")).rate, 9);
    assert!(policy.models.is_empty(), "a model without a setting of its own is as all others");
    policy.change(None, &TraceChanges { rate: Change::Clear, ..TraceChanges::default() }).unwrap();
    assert_eq!(policy.settings(Some("m")).rate, 6, "what is cleared globally is what the server was started with");
}

#[test]
fn a_count_tells_what_is_left_and_ends_the_traces() {
    let mut policy = TracePolicy::new(TraceSettings { count: 2, ..ON }, true);
    policy.change(Some("own"), &TraceChanges { count: Change::Set(1), ..TraceChanges::default() }).unwrap();
    assert_eq!(sampled(&mut policy, "m", 10), [1, 2]);
    assert_eq!(policy.settings(None).count, 0);
    assert!(policy.samples(), "the model with a count of its own is traced yet");
    assert_eq!(sampled(&mut policy, "own", 10), [1]);
    assert!(!policy.samples());
    policy.change(Some("own"), &rate(1)).unwrap();
    assert_eq!(policy.settings(Some("own")).count, 0, "a change of something else leaves what is left");
    policy.change(None, &TraceChanges { count: Change::Set(1), ..TraceChanges::default() }).unwrap();
    assert_eq!(sampled(&mut policy, "m", 3), [1]);
}

#[test]
fn settings_that_cannot_be_change_nothing() {
    let mut policy = TracePolicy::new(TraceSettings::default(), false);
    let on = TraceChanges { level: Change::Set(TraceLevel::Timestamps), ..TraceChanges::default() };
    let refused = policy.change(None, &on).unwrap_err();
    assert_eq!(refused.to_string(), "Attempting to set invalid trace setting :trace file name is not given");
    assert_eq!(policy.settings(None), TraceSettings::default());
    // Nothing is wrong with a rate of 0 while nothing is traced.
    policy.change(None, &rate(0)).unwrap();

    let mut policy = TracePolicy::new(ON, true);
    let refused = policy.change(Some("m"), &rate(0)).unwrap_err();
    assert_eq!(refused.to_string(), "Attempting to set invalid trace setting :sample rate must be non-zero");
    policy.change(Some("m"), &TraceChanges { level: Change::Set(TraceLevel::Off), ..rate(0) }).unwrap();
    let error = policy.change(Some("m"), &TraceChanges { level: Change::Clear, ..TraceChanges::default() });
    assert_eq!(error, Err(TraceSettingError::ZeroRate));
    assert_eq!(policy.settings(Some("m")).level, TraceLevel::Off);
}

#[test]
fn a_change_begins_a_new_stream() {
    let mut policy = TracePolicy::new(TraceSettings { log_frequency: 5, ..ON }, true);
    let before = policy.sample("m").unwrap();
    assert!(Arc::ptr_eq(&before, &policy.sample("other").unwrap()));
    policy.change(None, &rate(1)).unwrap();
    assert!(!Arc::ptr_eq(&before, &policy.sample("m").unwrap()));
}

fn change<T: Clone + std::fmt::Debug + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Change<T>> {
    prop_oneof![3 => Just(Change::Keep), 1 => Just(Change::Clear), 2 => value.prop_map(Change::Set)].boxed()
}

fn changes() -> impl Strategy<Value = TraceChanges> {
    let level = prop_oneof![Just(TraceLevel::Off), Just(TraceLevel::Timestamps)];
    (change(level), change(0_u32..5), change(-1_i32..6), change(0_u32..4))
        .prop_map(|(level, rate, count, log_frequency)| TraceChanges { level, rate, count, log_frequency })
}

#[derive(Clone, Debug)]
enum Step {
    Request(&'static str),
    Change(Option<&'static str>, TraceChanges),
}

fn step() -> impl Strategy<Value = Step> {
    let model = prop_oneof![Just("a"), Just("b")];
    let place = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    prop_oneof![
        8 => model.prop_map(Step::Request),
        1 => (place, changes()).prop_map(|(place, changes)| Step::Change(place, changes)),
    ]
}

proptest! {
    #[test]
    fn exactly_every_nth_is_sampled_until_the_count_is_over(rate in 1_u32..50, count in -1_i32..20, requests in 0_usize..300) {
        let mut policy = TracePolicy::new(TraceSettings { rate, count, ..ON }, true);
        let chosen: Vec<usize> = (1..=requests).filter(|_| policy.sample("m").is_some()).collect();
        let every = requests / rate as usize;
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        prop_assert_eq!(chosen.len(), every.min(most));
        prop_assert_eq!(policy.samples(), most > chosen.len());
    }

    #[test]
    fn the_switch_is_off_only_where_nothing_is_sampled(
        steps in prop::collection::vec(step(), 0..60),
        started in (1_u32..4, -1_i32..5, any::<bool>()),
    ) {
        let (rate, count, on) = started;
        let level = if on { TraceLevel::Timestamps } else { TraceLevel::Off };
        let mut policy = TracePolicy::new(TraceSettings { level, rate, count, log_frequency: 0 }, true);
        for step in steps {
            match step {
                Step::Request(model) => {
                    let (open, before) = (policy.samples(), policy.settings(Some(model)));
                    let chosen = policy.sample(model).is_some();
                    prop_assert!(open || !chosen);
                    let after = policy.settings(Some(model));
                    let left = if chosen && before.count > 0 { before.count - 1 } else { before.count };
                    prop_assert_eq!(after, TraceSettings { count: left, ..before });
                    prop_assert!(!chosen || (before.level != TraceLevel::Off && before.count != 0));
                }
                Step::Change(model, changes) => {
                    let before = policy.settings(model);
                    match policy.change(model, &changes) {
                        Err(_) => prop_assert_eq!(policy.settings(model), before),
                        Ok(()) => {
                            let after = policy.settings(model);
                            if let Change::Set(rate) = changes.rate {
                                prop_assert_eq!(after.rate, rate);
                            }
                            if let Change::Set(count) = changes.count {
                                prop_assert_eq!(after.count, count);
                            }
                            prop_assert!(after.level == TraceLevel::Off || after.rate > 0);
                        }
                    }
                }
            }
        }
    }
}
