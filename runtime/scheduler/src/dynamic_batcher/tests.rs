//! The batcher in simulated time: overload, closed loops, and the bound of the delay.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "the figures of a simulation are worth reading")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::dynamic_batching::Decision;

#[derive(Clone, Copy, Debug)]
struct Client {
    id: u64,
    arrived: Instant,
}

impl Joins for Client {
    fn joins(&self, _first: &Self) -> bool {
        true
    }
}

fn rules(max_rows: u32, delay: Duration) -> BatchRules {
    BatchRules { max_rows, max_requests: usize::MAX, preferred: Vec::new(), max_delay: delay }
}

/// One instance, one queue, virtual time.
struct Simulation {
    batcher: DynamicBatcher<Client>,
    times: ServiceTimes,
    now: Instant,
    /// Batch in execution and its end.
    running: Option<(Instant, Instant, Vec<Taken<Client>>)>,
    wake: Option<Instant>,
    /// Time of the one core that refusals cost.
    stolen: Duration,
    refusal_cost: Duration,
    service: fn(u32) -> Duration,
    dispatched: Vec<(usize, BatchTrigger, Duration)>,
}

impl Simulation {
    fn new(rules: BatchRules, service: fn(u32) -> Duration, refusal_cost: Duration) -> Self {
        Self {
            batcher: DynamicBatcher::new(QueuePolicies::first_in_first_out(), rules, 0),
            times: ServiceTimes::new(),
            now: Instant::now(),
            running: None,
            wake: None,
            stolen: Duration::ZERO,
            refusal_cost,
            service,
            dispatched: Vec::new(),
        }
    }

    fn around(&self) -> Surroundings {
        let executing = self.running.as_ref().map_or(0, |(_, _, batch)| batch.len());
        Surroundings { executing, instances: 1, draining: false }
    }

    /// The next instant at which something happens by itself.
    fn next_event(&self) -> Option<Instant> {
        self.running.as_ref().map(|(_, end, _)| *end).into_iter().chain(self.wake).min()
    }

    /// Offers a request; false when it was refused.
    fn arrive(&mut self, id: u64, deadline: Option<Instant>) -> bool {
        let arrival = Arrival { rows: 1, priority: 0, timeout_microseconds: 0, deadline };
        if self.batcher.admit(&arrival, self.now, &self.times, self.around()).is_err() {
            self.stolen += self.refusal_cost;
            return false;
        }
        self.batcher.push(&arrival, self.now, Client { id, arrived: self.now });
        self.dispatch();
        true
    }

    /// Handles what happens at `self.now`; gives the requests answered now.
    fn step(&mut self) -> Vec<Client> {
        let mut answered = Vec::new();
        if self.running.as_ref().is_some_and(|(_, end, _)| *end <= self.now) {
            let (start, end, batch) = self.running.take().unwrap();
            self.times.record(u32::try_from(batch.len()).unwrap(), end - start, end);
            self.batcher.note_executed(batch.len(), end);
            answered.extend(batch.into_iter().map(|(client, _)| client));
        }
        if self.wake.is_some_and(|wake| wake <= self.now) {
            self.wake = None;
        }
        answered
    }

    fn dispatch(&mut self) {
        if self.running.is_some() {
            return;
        }
        let (around, mut dropped) = (self.around(), Vec::new());
        let decision = self.batcher.look(self.now, &self.times, around, &mut dropped);
        self.stolen += self.refusal_cost * u32::try_from(dropped.len()).unwrap();
        match decision {
            Decision::Idle => self.wake = None,
            Decision::WaitUntil(until) => self.wake = Some(until),
            Decision::Dispatch { requests, trigger } => {
                self.wake = None;
                let mut batch = Vec::new();
                self.batcher.take(requests, trigger, self.now, around, &mut batch);
                let oldest = batch.iter().map(|(_, entered)| self.now - *entered).max().unwrap();
                self.dispatched.push((batch.len(), trigger, oldest));
                let start = self.now + std::mem::take(&mut self.stolen);
                let end = start + (self.service)(u32::try_from(batch.len()).unwrap());
                self.running = Some((start, end, batch));
            }
        }
    }
}

/// Uniform numbers in (0, 1], repeatable (splitmix64).
struct Random(u64);

impl Random {
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64 + f64::EPSILON
    }
}

/// Goodput as a share of capacity: 1,000 requests a second, batch 8, 4 ms + 0.5 ms per request, deadline 100 ms,
/// Poisson arrivals for 20 s, a refusal costs 20 us of the same core.
fn goodput(load: f64, seed: u64) -> f64 {
    let service = |rows: u32| Duration::from_micros(4000 + 500 * u64::from(rows));
    let mut simulation = Simulation::new(rules(8, Duration::ZERO), service, Duration::from_micros(20));
    let (start, mut random) = (simulation.now, Random(seed));
    let end = start + Duration::from_secs(20);
    let deadline = Duration::from_millis(100);
    let mut arrival = start;
    let (mut good, mut id) = (0u32, 0);
    while arrival < end {
        match simulation.next_event().filter(|&event| event <= arrival) {
            Some(event) => {
                simulation.now = event;
                let answered = simulation.step();
                good += u32::try_from(answered.iter().filter(|one| event <= one.arrived + deadline).count()).unwrap();
                simulation.dispatch();
            }
            None => {
                simulation.now = arrival;
                simulation.arrive(id, Some(arrival + deadline));
                id += 1;
                arrival += Duration::from_secs_f64(-random.unit().ln() / (1000.0 * load));
            }
        }
    }
    f64::from(good) / 20_000.0
}

#[test]
fn overload_keeps_the_goodput() {
    let shares: Vec<(f64, f64)> = [0.8, 1.0, 1.5, 2.0, 3.0, 5.0].map(|load| (load, goodput(load, 7))).to_vec();
    for (load, share) in &shares {
        println!("offered {load}x: goodput {share:.3} of capacity");
    }
    let at = |wanted: f64| shares.iter().find(|(load, _)| (load - wanted).abs() < 1e-9).unwrap().1;
    assert!(at(0.8) > 0.78, "{shares:?}");
    assert!(at(1.5) >= 0.95 && at(2.0) >= 0.95, "{shares:?}");
    assert!(at(5.0) >= 0.90, "{shares:?}");
}

/// Mean time from one answer of all callers to the next, in a closed loop.
fn closed_loop(callers: u64, delay_us: u64) -> (Duration, Simulation) {
    let service = |rows: u32| Duration::from_micros(30 + 5 * u64::from(rows));
    let delay = Duration::from_micros(delay_us);
    let mut simulation = Simulation::new(rules(64, delay), service, Duration::ZERO);
    let start = simulation.now;
    let mut sends: BTreeMap<(Instant, u64), ()> = (0..callers).map(|id| ((start, id), ())).collect();
    let mut answers = 0u32;
    while answers < 40_000 {
        let send = sends.keys().next().copied();
        match simulation.next_event().filter(|&event| send.is_none_or(|(at, _)| event <= at)) {
            Some(event) => {
                simulation.now = event;
                for client in simulation.step() {
                    answers += 1;
                    // Each caller takes a little longer than the one before to send its next request.
                    sends.insert((event + Duration::from_micros(10 + 3 * client.id), client.id), ());
                }
                simulation.dispatch();
            }
            None => {
                let (at, id) = send.expect("a caller or an instance is always at work");
                sends.remove(&(at, id));
                simulation.now = at;
                assert!(simulation.arrive(id, None));
            }
        }
    }
    let rounds = answers / u32::try_from(callers).unwrap();
    ((simulation.now - start) / rounds, simulation)
}

#[test]
fn a_closed_loop_is_not_charged_for_the_delay() {
    for callers in [1, 2, 8, 32] {
        let (undelayed, _) = closed_loop(callers, 0);
        let (round, simulation) = closed_loop(callers, 500);
        println!("{callers} callers: {round:?} a round with a delay of 500 us, {undelayed:?} without");
        // Service and sending, with a twentieth of the delay for probes.
        let ideal = Duration::from_micros(30 + 5 * callers + 10 + 3 * callers);
        assert!(round < ideal + Duration::from_micros(25), "{callers} callers: {round:?}, ideal {ideal:?}");
        let late = &simulation.dispatched[simulation.dispatched.len() / 2..];
        let mean = late.iter().map(|(size, ..)| size).sum::<usize>() / late.len();
        assert!(mean as u64 * 10 >= callers * 9, "batches of {mean} for {callers} callers");
    }
}

/// One request after the other, `gap` apart, to a model that takes 2 us alone; gives the longest wait of the second half.
fn steady_arrivals(gap: Duration, count: u64) -> Duration {
    let delay = Duration::from_micros(500);
    let mut simulation = Simulation::new(rules(64, delay), |_| Duration::from_micros(2), Duration::ZERO);
    // What an execution alone takes is known from warming up.
    for _ in 0..3 {
        simulation.times.record(1, Duration::from_micros(2), simulation.now);
    }
    let mut arrival = simulation.now;
    for id in 0..count {
        while let Some(event) = simulation.next_event().filter(|&event| event <= arrival) {
            simulation.now = event;
            simulation.step();
            simulation.dispatch();
        }
        simulation.now = arrival;
        assert!(simulation.arrive(id, None));
        arrival += gap;
    }
    let late = &simulation.dispatched[simulation.dispatched.len() / 2..];
    late.iter().map(|(_, _, oldest)| *oldest).max().unwrap()
}

#[test]
fn a_model_that_takes_less_than_a_hand_over_waits_for_nobody_under_load() {
    assert_eq!(steady_arrivals(Duration::from_micros(50), 20_000), Duration::ZERO);
    // A few requests are no load: they wait for one another, as the policy says.
    assert!(steady_arrivals(Duration::from_micros(400), 40) >= Duration::from_micros(400));
}

#[test]
fn a_few_requests_within_the_delay_still_form_a_batch() {
    let mut simulation =
        Simulation::new(rules(8, Duration::from_micros(500)), |_| Duration::from_micros(50), Duration::ZERO);
    let start = simulation.now;
    for id in 0..4 {
        simulation.now = start + Duration::from_micros(100 * id);
        simulation.arrive(id, None);
        assert!(simulation.running.is_none());
    }
    simulation.now = simulation.wake.expect("it waits");
    assert_eq!(simulation.now, start + Duration::from_micros(500));
    simulation.step();
    simulation.dispatch();
    assert_eq!(simulation.dispatched, [(4, BatchTrigger::Delay, Duration::from_micros(500))]);
}

#[test]
fn a_request_leaves_in_time_for_its_deadline_in_spite_of_the_delay() {
    let mut simulation =
        Simulation::new(rules(8, Duration::from_millis(50)), |_| Duration::from_millis(1), Duration::ZERO);
    let start = simulation.now;
    simulation.arrive(0, Some(start + Duration::from_millis(10)));
    simulation.now = simulation.wake.expect("it waits");
    assert!(simulation.now < start + Duration::from_millis(10));
    simulation.step();
    simulation.dispatch();
    assert_eq!(simulation.dispatched.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn open_loops_lose_nothing_and_keep_the_delay_bound(
        gaps_us in prop::collection::vec(0u64..400, 1..200),
        delay_us in prop::sample::select(vec![0u64, 100, 500]),
        max_rows in 1u32..9,
    ) {
        let service = |rows: u32| Duration::from_micros(40 + 10 * u64::from(rows));
        let delay = Duration::from_micros(delay_us);
        let mut simulation = Simulation::new(rules(max_rows, delay), service, Duration::ZERO);
        let mut arrival = simulation.now;
        let mut answered = Vec::new();
        let mut busy_until = simulation.now;
        let mut pending: Vec<(u64, Instant)> = gaps_us.iter().enumerate().map(|(id, gap)| {
            arrival += Duration::from_micros(*gap);
            (id as u64, arrival)
        }).rev().collect();
        loop {
            let next = pending.last().copied();
            let before = simulation.dispatched.len();
            match (simulation.next_event(), next) {
                (Some(event), arrival) if arrival.is_none_or(|(_, at)| event <= at) => {
                    simulation.now = event;
                    answered.extend(simulation.step().into_iter().map(|client| client.id));
                    simulation.dispatch();
                }
                (_, Some((id, at))) => {
                    pending.pop();
                    simulation.now = at;
                    prop_assert!(simulation.arrive(id, None));
                }
                _ => break,
            }
            if let Some((size, _, oldest)) = simulation.dispatched.get(before).copied() {
                prop_assert!(size <= max_rows as usize);
                // No request waits longer than the delay while the instance is idle.
                let idle = simulation.now.saturating_duration_since(busy_until);
                prop_assert!(oldest.min(idle) <= delay, "{:?} of waiting, {:?} idle", oldest, idle);
            }
            if let Some((_, end, _)) = &simulation.running {
                busy_until = *end;
            }
        }
        prop_assert_eq!(answered, (0..gaps_us.len() as u64).collect::<Vec<_>>());
    }
}
