//! Calls from within the process: the same rules as over the port.

use hanok_api::{Spec, read_declarations};
use serde_json::json;

use crate::bench::{Bench, TRAFFIC, rollout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_and_its_rollout_are_seen_ended_and_begun_anew() {
    let bench = Bench::start().await;
    let calls = bench.plane.as_ref().unwrap().calls();
    assert_eq!(calls.traffic_of("flight_delay").await.unwrap(), None);
    let declared = |text: &str| read_declarations(text, false).unwrap();
    assert_eq!(calls.apply(declared(TRAFFIC), "watch").await.unwrap(), 1);
    let standing = calls.traffic_of("flight_delay").await.unwrap().unwrap();
    assert_eq!((standing.shares[0].clone(), standing.rollout), (("stable".to_owned(), 10_000), None));
    let plan = declared(&rollout("r", &[5.0], 10));
    calls.apply(plan.clone(), "watch").await.unwrap();
    bench.pass(1).await;
    let standing = calls.traffic_of("flight_delay").await.unwrap().unwrap();
    let Spec::Rollout(spec) = &plan[0].spec else { panic!("{plan:?}") };
    let found = standing.rollout.unwrap();
    assert_eq!((found.name.as_str(), found.over), ("r", false));
    assert_eq!((&found.baseline, &found.candidate), (&spec.baseline, &spec.candidate));
    assert_eq!(standing.shares.iter().map(|(_, share)| share).sum::<u32>(), 10_000);
    assert!(standing.shares.iter().any(|(_, share)| *share == 500), "{:?}", standing.shares);
    calls.abort("r", "watch").await.unwrap();
    let over = calls.traffic_of("flight_delay").await.unwrap().unwrap().rollout.unwrap();
    assert!(over.over);
    assert!(calls.abort("r", "watch").await.unwrap_err().to_string().contains("aborted"));
    // The same again is no change; taken back first, it begins anew.
    calls.apply(plan.clone(), "watch").await.unwrap();
    assert_eq!(bench.phase("r").await, json!("aborted"));
    calls.withdraw("r", "watch").await.unwrap();
    assert_eq!(calls.traffic_of("flight_delay").await.unwrap().unwrap().rollout, None);
    calls.apply(plan, "watch").await.unwrap();
    bench.pass(1).await;
    assert_eq!(bench.phase("r").await, json!({"running": {"step": 0}}));
    let problem = calls.apply(declared(&rollout("s", &[5.0], 10)), "watch").await.unwrap_err().to_string();
    assert!(problem.contains("one rollout"), "{problem}");
}
