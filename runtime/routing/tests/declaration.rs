//! The declared form of a table: what it accepts, what it refuses and with which words, rules and labels.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_routing::{
    FactValue, PlainFacts, Reason, RequestedVersion, Router, ServedVersion, TableError, TrafficTable, UnknownLabel,
};
use serde_json::{Value, json};

fn read(value: Value) -> TrafficTable {
    serde_json::from_value(value).unwrap()
}

fn router(value: Value) -> Router {
    let router = Router::default();
    router.tables().compare_and_set(0, read(value)).unwrap();
    router
}

fn full() -> Value {
    json!({
        "version": 7,
        "models": {
            "fraud": {
                "arms": [
                    {"name": "stable", "version": "production", "weight_basis_points": 9_499},
                    {"name": "canary", "version": 4, "weight_basis_points": 501},
                    {"name": "other", "model": "fraud_ensemble", "weight_basis_points": 0}
                ],
                "sticky": {"parameter": "account"},
                "salt": "fraud-4",
                "rules": [
                    {"when": {"header": "X-Tenant"}, "matches": {"exact": "acme"}, "arm": "canary"},
                    {"when": {"parameter": "tier"}, "matches": {"prefix": "gold"}, "arm": "other"},
                    {"when": "identity", "matches": {"regex": "^svc-[a-z]+$"}, "arm": "stable"},
                    {"when": {"header": "x-tenant"}, "matches": {"regex": "."}, "arm": "other"}
                ],
                "labels": {"production": 3, "canary": 4},
                "shadow": [
                    {"target": {"arm": "canary"}, "share_basis_points": 10_000, "compare": "scores"},
                    {"target": {"version": {"model": "fraud_next", "version": 1}}, "share_basis_points": 0, "compare": "s"}
                ],
                "outlier_ejection": {"consecutive_failures": 3},
                "tell": true
            }
        }
    })
}

#[test]
fn a_table_survives_writing_and_reading() {
    let table = read(full());
    assert_eq!(table.problems(), vec![]);
    let written = serde_json::to_value(&table).unwrap();
    assert_eq!(read(written), table);
}

#[test]
fn unknown_fields_and_impossible_values_are_refused() {
    let with = |path: &str, value: Value| {
        let mut table = full();
        let (parent, field) = path.rsplit_once('/').unwrap();
        table.pointer_mut(parent).unwrap()[field] = value;
        serde_json::from_value::<TrafficTable>(table).map_err(|error| error.to_string())
    };
    for (path, value) in [
        ("/models/fraud/armz", json!([])),
        ("/models/fraud/arms/0/weight", json!(1)),
        ("/models/fraud/rules/0/matches", json!({"exact": "a", "prefix": "b"})),
        ("/models/fraud/rules/0/when", json!({"cookie": "a"})),
        ("/models/fraud/shadow/1/target/version/arm", json!("a")),
        ("/models/fraud/outlier_ejection/probe", json!(1)),
        ("/models/fraud/arms/0/version", json!(-1)),
        ("/models/fraud/arms/0/weight_basis_points", json!(0.5)),
        ("/models/fraud/sticky", json!("header")),
    ] {
        assert!(with(path, value).is_err(), "{path}");
    }
    assert!(with("/models/fraud/sticky", json!("sequence")).is_ok());
}

#[test]
fn every_problem_is_named_with_its_path() {
    let table = read(json!({
        "version": 0,
        "models": {
            "m": {
                "arms": [
                    {"name": "a", "version": "gone", "weight_basis_points": 6_000},
                    {"name": "a", "version": 0, "weight_basis_points": 6_000},
                    {"name": "", "model": "elsewhere", "version": "stable", "weight_basis_points": 0}
                ],
                "sticky": {"header": ""},
                "rules": [{"when": {"header": "h"}, "matches": {"regex": "a("}, "arm": "b"}],
                "labels": {"7": 7, "latest": 1, "ok": 2},
                "shadow": [{"target": {"arm": "z"}, "share_basis_points": 10_001, "compare": ""}],
                "outlier_ejection": {"probes": 0, "longest_ejection_milliseconds": 5},
                "allocation": [{"arm": "a", "buckets": 10_000}, {"arm": "q", "buckets": 1}]
            },
            "empty": {"arms": []}
        }
    }));
    let problems = table.problems();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    for path in [
        "version",
        "models.m.arms[0].version",
        "models.m.arms[1].name",
        "models.m.arms[1].version",
        "models.m.arms[2].name",
        "models.m.arms[2].version",
        "models.m.arms",
        "models.m.sticky",
        "models.m.allocation[1].arm",
        "models.m.allocation",
        "models.m.rules[0].arm",
        "models.m.rules[0].matches",
        "models.m.shadow[0].target",
        "models.m.shadow[0].share_basis_points",
        "models.m.shadow[0].compare",
        "models.m.labels.7",
        "models.m.labels.latest",
        "models.m.outlier_ejection.probes",
        "models.m.outlier_ejection.longest_ejection_milliseconds",
        "models.empty.arms",
    ] {
        assert!(paths.contains(&path), "`{path}` is missing from {problems:#?}");
    }
    let text = |path: &str| problems.iter().find(|problem| problem.path == path).unwrap().to_string();
    assert_eq!(text("models.m.arms"), "models.m.arms: expected weights that sum to `100` percent, got `120`");
    assert_eq!(text("models.m.arms[0].version"), "models.m.arms[0].version: `gone` is not a label of model `m`");
    assert_eq!(
        text("models.m.rules[0].matches"),
        "models.m.rules[0].matches: `a(` is not a regular expression: unclosed group"
    );
    let refused = Router::default().tables().compare_and_set(0, TrafficTable { version: 1, ..table });
    assert_eq!(refused, Err(TableError::Invalid(problems[1..].to_vec())), "all but that of the version");
}

/// Name of the arm and the reason.
fn outcome(router: &Router, facts: &PlainFacts<'_>) -> (String, Reason) {
    let decision = router.route("fraud", RequestedVersion::Any, facts).unwrap();
    (decision.arm.unwrap().name.to_string(), decision.reason)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let router = router(full());
    let acme = [("x-tenant", &b"acme"[..])];
    let else_tenant = [("x-tenant", &b"acme2"[..])];
    let gold = [("tier", FactValue::from("gold-1"))];
    let plain = PlainFacts { number: 9_000, ..PlainFacts::default() };
    let rule = |arm: &str| (arm.to_owned(), Reason::Rule);
    assert_eq!(outcome(&router, &PlainFacts { headers: &acme, parameters: &gold, ..plain }), rule("canary"));
    assert_eq!(outcome(&router, &PlainFacts { headers: &else_tenant, parameters: &gold, ..plain }), rule("other"));
    assert_eq!(outcome(&router, &PlainFacts { identity: Some("svc-batch"), ..plain }), rule("stable"));
    assert_eq!(outcome(&router, &PlainFacts { headers: &else_tenant, ..plain }), rule("other"));
    assert_eq!(outcome(&router, &PlainFacts { identity: Some("svc-9"), ..plain }), ("stable".into(), Reason::Weight));
}

#[test]
fn versions_labels_and_arms_resolve() {
    let router = router(full());
    let facts = PlainFacts { number: 9_000, ..PlainFacts::default() };
    let route = |model: &str, version| router.route(model, version, &facts);
    let stable = route("fraud", RequestedVersion::Any).unwrap();
    assert_eq!((stable.version, stable.model("fraud"), stable.tell), (ServedVersion::Number(3), "fraud", true));
    assert_eq!(stable.table_version, 7);
    for (version, served) in [
        (RequestedVersion::Number(99), ServedVersion::Number(99)),
        (RequestedVersion::Label("canary"), ServedVersion::Number(4)),
        (RequestedVersion::Label("latest"), ServedVersion::Latest),
    ] {
        let decision = route("fraud", version).unwrap();
        assert_eq!((decision.version, decision.arm, decision.reason), (served, None, Reason::Explicit));
        assert!(decision.shadows.is_empty());
    }
    let unknown = UnknownLabel { model: "fraud".into(), label: "nightly".into() };
    assert_eq!(route("fraud", RequestedVersion::Label("nightly")), Err(unknown.clone()));
    assert_eq!(unknown.to_string(), "model `fraud` has no version or label `nightly`");
    assert!(route("else", RequestedVersion::Label("canary")).is_err());
    let unsplit = route("else", RequestedVersion::Any).unwrap();
    assert_eq!((unsplit.arm, unsplit.version, unsplit.reason), (None, ServedVersion::Latest, Reason::NoEntry));
}

#[test]
fn sticky_keys_are_the_text_of_the_value() {
    let table = |sticky: Value| {
        let arms = json!([{"name": "a", "weight_basis_points": 5_000}, {"name": "b", "version": 2, "weight_basis_points": 5_000}]);
        router(json!({"version": 1, "models": {"fraud": {"arms": arms, "sticky": sticky, "salt": "s"}}}))
    };
    let by_header = table(json!({"header": "X-Key"}));
    let by_parameter = table(json!({"parameter": "key"}));
    let by_tensor = table(json!({"tensor": "KEY"}));
    let mut seen = [0; 2];
    for number in -200_i64..200 {
        let text = number.to_string();
        let decide = |router: &Router, facts: PlainFacts<'_>| {
            let decision = router.route("fraud", RequestedVersion::Any, &facts).unwrap();
            assert_eq!(decision.reason, Reason::Sticky);
            (decision.arm.unwrap().name.to_string(), decision.sticky_key_hash)
        };
        let header = decide(&by_header, PlainFacts { headers: &[("x-key", text.as_bytes())], ..PlainFacts::default() });
        let value = FactValue::from(number);
        let parameter = decide(&by_parameter, PlainFacts { parameters: &[("key", value)], ..PlainFacts::default() });
        let tensor = decide(&by_tensor, PlainFacts { tensor_keys: &[("KEY", value)], ..PlainFacts::default() });
        assert_eq!((&header, &header), (&parameter, &tensor), "{number}");
        seen[usize::from(header.0 == "b")] += 1;
    }
    assert!(seen.iter().all(|&count| count > 150), "{seen:?}");
    for (value, text) in [
        (FactValue::from(u64::MAX), "18446744073709551615"),
        (FactValue::from(i64::MIN), "-9223372036854775808"),
        (FactValue::from(0_u64), "0"),
        (FactValue::from(true), "true"),
    ] {
        assert_eq!(value.as_bytes(), text.as_bytes());
    }
}

#[test]
fn shadows_copy_what_others_serve() {
    let router = router(full());
    let canary = PlainFacts { headers: &[("x-tenant", b"acme")], ..PlainFacts::default() };
    let decision = router.route("fraud", RequestedVersion::Any, &canary).unwrap();
    assert!(decision.shadows.is_empty(), "the canary needs no copy of what it serves");
    let stable = PlainFacts { number: 9_000, ..PlainFacts::default() };
    let decision = router.route("fraud", RequestedVersion::Any, &stable).unwrap();
    assert_eq!(decision.shadows.len(), 1, "the share of the second is 0");
    let shadow = decision.shadows.iter().next().unwrap();
    assert_eq!((&*shadow.model, shadow.version, &*shadow.compare), ("fraud", ServedVersion::Number(4), "scores"));
}

#[test]
fn a_segment_is_told_of_requests_that_somebody_observes() {
    let table = |unobserved: bool| {
        json!({ "version": 1, "models": { "m": {
            "arms": [{ "name": "a", "weight_basis_points": 10_000 }],
            "segment": { "header": "X-Country" },
            "unobserved": unobserved,
        } } })
    };
    let segment = |table: Value, value: &[u8]| {
        let headers = [("x-country", value)];
        let facts = PlainFacts { headers: &headers, ..PlainFacts::default() };
        router(table).route("m", RequestedVersion::Any, &facts).unwrap().segment
    };
    assert_eq!(segment(table(false), b" kr ").as_deref(), Some("kr"));
    assert_eq!(segment(table(true), b"kr"), None);
    for nothing in [&b"  "[..], &[0xff, 0xfe], &[b'k'; 201]] {
        assert_eq!(segment(table(false), nothing), None);
    }
}
