//! Properties of planning: what was applied is nothing to do, and going back leads back.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::bench::Bench;

/// Traffic of up to three models with two to four arms each, by weights in basis points.
fn declarations() -> impl Strategy<Value = Vec<Value>> {
    let traffic = (0_usize..3, prop::collection::vec(0_u16..=3_333, 1..4), any::<bool>(), 0_u64..3).prop_map(
        |(name, weights, tell, label)| {
            let rest = 10_000 - weights.iter().sum::<u16>();
            let arms: Vec<Value> = std::iter::once(rest)
                .chain(weights)
                .enumerate()
                .map(|(arm, weight)| json!({ "name": format!("arm{arm}"), "weight": f64::from(weight) / 100.0 }))
                .collect();
            json!({
                "apiVersion": "hanok.dev/v1",
                "kind": "Traffic",
                "metadata": { "name": format!("model{name}") },
                "spec": { "arms": arms, "tell": tell, "labels": { "good": label + 1 } },
            })
        },
    );
    prop::collection::vec(traffic, 1..4).prop_map(|mut documents| {
        documents.sort_by_key(|document| document["metadata"]["name"].to_string());
        documents.dedup_by_key(|document| document["metadata"]["name"].to_string());
        documents
    })
}

#[test]
fn what_was_applied_is_nothing_to_do() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::start());
    let json_body = [("content-type", "application/json")];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let checked = runner.run(&(declarations(), declarations()), |(first, second)| {
        runtime.block_on(async {
            for declared in [&first, &second] {
                let body = Value::from(declared.clone()).to_string();
                let applied = bench.call("POST", "/v1/apply?prune", &json_body, &body).await;
                assert_eq!(applied.status, 200, "{applied:?}");
                let planned = bench.call("POST", "/v1/apply?prune&dry_run", &json_body, &body).await.json();
                assert_eq!(planned["plan"]["changes"], json!([]), "{planned}");
                assert_eq!(planned["plan"]["traffic"], json!([]), "{planned}");
                // The runtime has the declared weights to the basis point.
                for document in declared {
                    for arm in document["spec"]["arms"].as_array().unwrap() {
                        let model = document["metadata"]["name"].as_str().unwrap();
                        let weight = f64::from(bench.runtime.weight(model, arm["name"].as_str().unwrap())) / 100.0;
                        assert_eq!(json!(weight), arm["weight"], "{model}");
                    }
                }
            }
            let before = bench.get("/v1/resources").await;
            let revision = before["revision"].as_u64().unwrap();
            // To where the first set was and back: the same resources again.
            for target in [revision.saturating_sub(1), revision] {
                let body = json!({ "revision": target }).to_string();
                assert_eq!(bench.call("POST", "/v1/rollback", &[], &body).await.status, 200);
            }
            assert_eq!(bench.get("/v1/resources").await["items"], before["items"]);
        });
        Ok(())
    });
    checked.unwrap();
}
