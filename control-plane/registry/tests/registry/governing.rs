//! Stages, approvals, aliases: who may do what, and that it is on record.

use std::collections::{BTreeMap, BTreeSet};

use hanok_registry::{
    Action, AliasExpectation, ErrorCode, NewApproval, RegistryError, RegistrySettings, Stage, StageMove, StageRule,
    Verdict,
};

use crate::bench::{Bench, actor, meant, to};

fn decision(stage: Stage, verdict: Verdict, checks: &[(&str, bool)]) -> NewApproval {
    let checks: BTreeMap<String, bool> = checks.iter().map(|(check, passed)| ((*check).to_owned(), *passed)).collect();
    NewApproval { stage, verdict, checks, note: None }
}

#[test]
fn a_stage_with_a_rule_waits_for_approval() {
    let bench = Bench::new(RegistrySettings::default());
    let rule = StageRule { approvals: 1, checks: BTreeSet::from(["auc".to_owned()]), four_eyes: true };
    let set = |stage, rule: &StageRule| bench.registry.set_rule("m", stage, rule.clone(), &actor("ann", 1));
    assert_eq!(set(Stage::None, &rule).unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(set(Stage::Production, &rule).unwrap().policy.rules[&Stage::Production], rule);
    set(Stage::Production, &rule).unwrap();
    let changes = bench.registry.log(Some("m"), 0, 100).unwrap();
    assert_eq!(changes.iter().map(|entry| entry.action).collect::<Vec<_>>(), [Action::ModelCreated, Action::PolicySet]);
    bench.pulled("m", 1, b"one", 2).unwrap();
    let promote = |stage, by: &str| bench.registry.promote(&meant("m/1"), to(stage), &actor(by, 3));
    assert_eq!(promote(Stage::Staging, "ann").unwrap().stage, Stage::Staging);
    let refused = promote(Stage::Production, "ann").unwrap_err();
    assert_eq!(refused.code(), ErrorCode::FailedPrecondition);
    assert_eq!(
        refused.to_string(),
        "`m/1` is not approved for stage `production`: expected 1 approvals, found 0; check `auc` is not on record"
    );
    let approve = |by: &str, verdict, checks: &[(&str, bool)]| {
        bench.registry.approve(&meant("m/1"), &decision(Stage::Production, verdict, checks), &actor(by, 4)).unwrap();
    };
    approve("ann", Verdict::Approved, &[("auc", true)]);
    assert!(promote(Stage::Production, "ann").is_err(), "her own approval does not count");
    approve("bob", Verdict::Rejected, &[]);
    approve("cyd", Verdict::Approved, &[]);
    assert!(promote(Stage::Production, "ann").unwrap_err().to_string().ends_with("rejected by `bob`"));
    approve("bob", Verdict::Approved, &[]);
    assert_eq!(promote(Stage::Production, "dan").unwrap().stage, Stage::Production);
    // What was approved for one stage is not approved for another.
    let staging = StageRule { approvals: 1, ..StageRule::default() };
    assert_eq!(set(Stage::Staging, &staging).unwrap().policy.rules.len(), 2, "one rule is set, the other stays");
    assert!(promote(Stage::Staging, "dan").is_err());
    // A rule that wants nothing is none.
    assert_eq!(set(Stage::Staging, &StageRule::default()).unwrap().policy.rules.len(), 1);
    let record = bench.registry.record(&meant("m/1")).unwrap();
    assert_eq!(record.approvals.len(), 4);
    assert_eq!(record.approvals[1].by, "bob");
    let log = bench.registry.log(Some("m"), 0, 100).unwrap();
    let stages: Vec<_> = log.iter().filter(|entry| entry.action == Action::StageChanged).collect();
    assert_eq!(stages.len(), 2);
    assert_eq!(
        (stages[1].actor.as_str(), stages[1].detail.to_string().as_str()),
        ("dan", r#"{"before":"staging","after":"production"}"#)
    );
}

#[test]
fn others_are_archived_in_the_same_transaction() {
    let bench = Bench::new(RegistrySettings::default());
    for number in 1..=3 {
        bench.pulled("m", number, &number.to_le_bytes(), 1).unwrap();
    }
    let promote = |reference: &str, others| {
        bench.registry.promote(
            &meant(reference),
            StageMove { archive_others: others, ..to(Stage::Production) },
            &actor("ann", 2),
        )
    };
    promote("m/1", false).unwrap();
    promote("m/2", false).unwrap();
    promote("m/3", true).unwrap();
    let stages: Vec<Stage> = bench.registry.versions(Some("m")).unwrap().iter().map(|version| version.stage).collect();
    assert_eq!(stages, [Stage::Archived, Stage::Archived, Stage::Production]);
    let error = promote("m/1", false).unwrap_err();
    assert_eq!(error, RegistryError::NoTransition { from: Stage::Archived, to: Stage::Production });
    assert_eq!(error.to_string(), "stage: a version in stage `archived` cannot go to `production`");
}

#[test]
fn archiving_others_obeys_the_rule_for_what_is_archived() {
    let bench = Bench::new(RegistrySettings::default());
    for number in 1..=2 {
        bench.pulled("m", number, &number.to_le_bytes(), 1).unwrap();
    }
    bench.registry.promote(&meant("m/1"), to(Stage::Production), &actor("ann", 2)).unwrap();
    let rule = StageRule { approvals: 1, ..StageRule::default() };
    bench.registry.set_rule("m", Stage::Archived, rule, &actor("ann", 2)).unwrap();
    let change = StageMove { archive_others: true, ..to(Stage::Production) };
    let replace = || bench.registry.promote(&meant("m/2"), change, &actor("ann", 3));
    assert_eq!(
        replace().unwrap_err().to_string(),
        "`m/1` is not approved for stage `archived`: expected 1 approvals, found 0"
    );
    assert_eq!((bench.version("m/1").stage, bench.version("m/2").stage), (Stage::Production, Stage::None));
    let approval = decision(Stage::Archived, Verdict::Approved, &[]);
    bench.registry.approve(&meant("m/1"), &approval, &actor("bob", 3)).unwrap();
    replace().unwrap();
    assert_eq!((bench.version("m/1").stage, bench.version("m/2").stage), (Stage::Archived, Stage::Production));
}

#[test]
fn a_rejection_stands_where_there_is_no_rule() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let decide = |verdict| {
        let decision = decision(Stage::Production, verdict, &[]);
        bench.registry.approve(&meant("m/1"), &decision, &actor("bob", 2)).unwrap();
    };
    let promote = |stage| bench.registry.promote(&meant("m/1"), to(stage), &actor("ann", 3));
    decide(Verdict::Rejected);
    assert_eq!(
        promote(Stage::Production).unwrap_err().to_string(),
        "`m/1` is not approved for stage `production`: rejected by `bob`"
    );
    promote(Stage::Staging).unwrap();
    decide(Verdict::Approved);
    promote(Stage::Production).unwrap();
}

#[test]
fn one_person_is_one_however_the_name_is_written() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let rule = StageRule { approvals: 2, four_eyes: true, ..StageRule::default() };
    bench.registry.set_rule("m", Stage::Production, rule, &actor("ann", 1)).unwrap();
    for name in ["Ann", " ann ", "bob", "BOB "] {
        let decision = decision(Stage::Production, Verdict::Approved, &[]);
        bench.registry.approve(&meant("m/1"), &decision, &actor(name, 2)).unwrap();
    }
    // As a row of an older version has it.
    let database = rusqlite::Connection::open(bench.root().join("registry.sqlite")).unwrap();
    database.execute_batch("UPDATE approvals SET author = 'an\u{200b}n ' WHERE author = 'Ann'").unwrap();
    let refused = bench.registry.promote(&meant("m/1"), to(Stage::Production), &actor("cyd", 3)).unwrap_err();
    assert!(refused.to_string().ends_with("expected 2 approvals, found 1"), "{refused}");
    let last = bench.registry.record(&meant("m/1")).unwrap().approvals.pop().unwrap();
    assert_eq!(last.by, "BOB");
    assert!(hanok_registry::Actor::new("an\u{200b}n", crate::bench::at(1)).is_err());
}

#[test]
fn a_stage_moves_by_compare_and_set() {
    let bench = Bench::new(RegistrySettings::default());
    bench.pulled("m", 1, b"one", 1).unwrap();
    let move_from = |expected, stage| {
        let change = StageMove { expected: Some(expected), ..to(stage) };
        bench.registry.promote(&meant("m/1"), change, &actor("ann", 2))
    };
    assert_eq!(move_from(Stage::None, Stage::Staging).unwrap().stage, Stage::Staging);
    let moved = move_from(Stage::None, Stage::Production).unwrap_err();
    assert_eq!(moved.code(), ErrorCode::Conflict);
    assert_eq!(moved.to_string(), "version `m/1` has moved: expected stage `none`, found `staging`");
    assert_eq!(move_from(Stage::Staging, Stage::Archived).unwrap().stage, Stage::Archived);
    // To where it is already, from elsewhere than expected: somebody else was there first.
    assert_eq!(move_from(Stage::Staging, Stage::Archived).unwrap_err().code(), ErrorCode::Conflict);
}

#[test]
fn an_alias_moves_by_compare_and_set() {
    let bench = Bench::new(RegistrySettings::default());
    for number in 1..=2 {
        bench.pulled("m", number, &number.to_le_bytes(), 1).unwrap();
    }
    let set = |to, expected| bench.registry.set_alias("m", "champion", to, expected, &actor("ann", 2));
    assert_eq!(set(Some(1), AliasExpectation::Absent).unwrap(), None);
    let moved = set(Some(2), AliasExpectation::Absent).unwrap_err();
    assert_eq!(moved.code(), ErrorCode::Conflict);
    assert_eq!(moved.to_string(), "alias `m@champion` has moved: expected nothing, found version 1");
    assert_eq!(set(Some(2), AliasExpectation::Version(1)).unwrap(), Some(1));
    assert_eq!(bench.version("m@champion").name.number, 2);
    assert_eq!(bench.version("m/2").aliases, ["champion"]);
    assert_eq!(set(Some(3), AliasExpectation::Anything).unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(set(Some(2), AliasExpectation::Anything).unwrap(), Some(2));
    assert_eq!(set(None, AliasExpectation::Version(2)).unwrap(), Some(2));
    assert_eq!(
        bench.registry.version(&meant("m@champion")).unwrap_err().to_string(),
        "alias `m@champion` does not exist"
    );
    let log = bench.registry.log(Some("m"), 0, 100).unwrap();
    // One record for each change, none for what changed nothing.
    assert_eq!(log.iter().filter(|entry| entry.action == Action::AliasMoved).count(), 3);
}

#[test]
fn of_many_who_move_an_alias_one_wins() {
    let bench = Bench::new(RegistrySettings::default());
    for number in 1..=8 {
        bench.pulled("m", number, &number.to_le_bytes(), 1).unwrap();
    }
    let won: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (1..=8)
            .map(|number| {
                let registry = hanok_registry::Registry::open(&bench.root(), RegistrySettings::default()).unwrap();
                scope.spawn(move || {
                    let expected = AliasExpectation::Absent;
                    registry.set_alias("m", "a", Some(number), expected, &actor("ann", 2)).is_ok()
                })
            })
            .collect();
        tries.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(won, 1);
}
