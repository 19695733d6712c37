//! Declarations that are kept in a folder or on a Git branch: brought and kept in force, and never half.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hanok_api::DeclaredPlace;
use serde_json::{Value, json};

use crate::bench::{Bench, TRAFFIC, rollout};

impl Bench {
    fn declare(&self, file: &str, text: &str) {
        fs::create_dir_all(self.declared_folder()).unwrap();
        fs::write(self.declared_folder().join(file), text).unwrap();
    }

    /// Makes it look, and gives the status once it is as wanted.
    async fn looked(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            let asked = self.call("POST", "/v1/declared/look", &[], "").await;
            assert_eq!(asked.status, 202, "{asked:?}");
            let status = self.get("/v1/declared").await;
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "{status:#}");
        }
    }

    async fn synced(&self, author: &str) -> Value {
        let answer = self.call("POST", "/v1/declared/sync", &[("x-hanok-author", author)], "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Data of the journal's records of this type.
    async fn events(&self, wanted: &str) -> Vec<Value> {
        let page = self.get("/v1/journal?limit=1000").await;
        let events = page["events"].as_array().unwrap().iter().filter(|event| event["type"] == wanted);
        events.map(|event| event["data"].clone()).collect()
    }
}

fn weights(stable: u8) -> String {
    TRAFFIC
        .replace("weight: 100", &format!("weight: {stable}"))
        .replace("weight: 0", &format!("weight: {}", 100 - stable))
}

fn in_step(status: &Value) -> bool {
    status["state"] == "in_step" && status["drift"]["resources"] == json!([])
}

const APPLIED: &str = "io.hanok.resources.applied";
const REFUSED: &str = "io.hanok.declared.refused";
const ADOPTED: &str = "io.hanok.declared.adopted";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_folder_declares_is_brought_and_kept_in_force() {
    let mut bench = Bench::start().await;
    let unreachable = bench.looked(|status| status["state"] == "unreachable").await;
    assert!(unreachable["failure"]["remedy"].is_string(), "{unreachable}");
    let other = TRAFFIC.replace("{name: flight_delay}", "{name: by_hand}");
    bench.apply(&other).await;
    bench.declare("traffic.yaml", &weights(90));
    let status = bench.looked(in_step).await;
    assert_eq!(status["read"]["resources"], 1);
    assert_eq!(status["in_force"]["revision"], 2);
    assert_eq!(status["drift"]["not_declared"], json!(["Traffic/by_hand"]), "what it never declared is left alone");
    // Version 2 does not serve: drift between what is declared and what is there.
    assert!(status["drift"]["missing"].to_string().contains("does not serve"), "{status}");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000);

    // Somebody changes it by hand, is told, and it is set back.
    let answer = bench.apply(&weights(10)).await;
    let warning = answer["plan"]["warnings"].to_string();
    assert!(warning.contains("is declared in") && warning.contains("set back"), "{warning}");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 9_000);
    bench.looked(in_step).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000);
    let causes: Vec<Value> = bench.events(APPLIED).await.iter().map(|data| data["source"]["cause"].clone()).collect();
    assert_eq!(causes, [Value::Null, json!("declared"), Value::Null, json!("drift")]);

    // What is declared no longer goes; a restart changes nothing.
    bench.restart().await;
    let before = bench.get("/v1/status").await["revision"].clone();
    bench.looked(in_step).await;
    assert_eq!(bench.get("/v1/status").await["revision"], before);
    bench.declare("more.yaml", &TRAFFIC.replace("{name: flight_delay}", "{name: more}"));
    bench.looked(|status| in_step(status) && status["read"]["resources"] == 2).await;
    fs::remove_file(bench.declared_folder().join("more.yaml")).unwrap();
    bench.looked(|status| in_step(status) && status["read"]["resources"] == 1).await;
    let names: Vec<Value> = bench.get("/v1/resources").await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["by_hand", "flight_delay"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_declaration_leaves_what_is_in_force() {
    let mut bench = Bench::start().await;
    bench.declare("traffic.yaml", &weights(90));
    bench.looked(in_step).await;
    for (text, line, message) in [
        (weights(80).replace("weight: 20", "wieght: 20"), 7, "unknown field `wieght`"),
        (weights(80).replace("weight: 20", "weight: 70"), 5, "100"),
        ("apiVersion: [\n".to_owned(), 1, "expected YAML"),
    ] {
        bench.declare("traffic.yaml", &text);
        let status = bench.looked(|status| status["state"] == "broken" && status["problems"] != json!([])).await;
        let problem = &status["problems"][0];
        assert_eq!(problem["file"], "traffic.yaml", "{status:#}");
        assert_eq!(problem["line"], line, "{problem:#}");
        assert!(problem["message"].as_str().unwrap().contains(message), "{problem:#}");
        assert!(problem["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()));
        assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000, "{text}");
        // Put right, it is in force.
        bench.declare("traffic.yaml", &weights(90));
        bench.looked(in_step).await;
    }
    fs::remove_file(bench.declared_folder().join("traffic.yaml")).unwrap();
    let status = bench.looked(|status| status["state"] == "broken").await;
    assert!(status["problems"][0]["message"].as_str().unwrap().contains("at least one file"), "{status:#}");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000, "an empty folder is a mistake");
    let told = bench.events(REFUSED).await;
    assert_eq!(told.len(), 4, "{told:#?}");
    bench.restart().await;
    bench.looked(|status| status["state"] == "broken").await;
    assert_eq!(bench.events(REFUSED).await.len(), 4, "what was told once is not told again");
    // A file without documents is a decision.
    bench.declare("traffic.yaml", "# nothing any more\n");
    bench.looked(in_step).await;
    assert_eq!(bench.get("/v1/resources").await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_known_after_a_start_beside_a_place_that_is_broken_or_gone() {
    let mut bench = Bench::start().await;
    let differences = |bench: &Bench| {
        let text = bench.plane.as_ref().unwrap().metrics_renderer()();
        text.lines().find_map(|line| line.strip_prefix("hanok_declared_differences ")).unwrap().to_owned()
    };
    for state in ["broken", "unreachable"] {
        bench.declare("traffic.yaml", &weights(90));
        let before = bench.looked(in_step).await["in_force"].clone();
        if state == "broken" {
            bench.declare("traffic.yaml", "nothing: of ours\n");
        } else {
            fs::remove_dir_all(bench.declared_folder()).unwrap();
        }
        bench.restart().await;
        let status = bench.looked(|status| status["state"] == state).await;
        assert_eq!(status["in_force"], before, "{status:#}");
        assert_eq!(status["drift"]["resources"], json!([]));
        assert_eq!(differences(&bench), "0");
        // Nothing is promised that does not happen; what differs is told all the same.
        let warnings = bench.apply(&weights(10)).await["plan"]["warnings"].to_string();
        assert!(warnings.contains("as soon as a look finds a valid declaration there"), "{warnings}");
        // The status is compared as it is asked for, the metric tells of the last look.
        let told =
            |status: &Value| status["state"] == state && status["differences"] == 1 && differences(&bench) == "1";
        let status = bench.looked(told).await;
        let field = &status["drift"]["resources"][0]["differences"][0];
        assert_eq!((&field["before"], &field["after"]), (&json!(10), &json!(90)), "{status:#}");
        assert_eq!(bench.runtime.weight("flight_delay", "canary"), 9_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_may_always_be_put_in_force_whole_and_an_exchange_of_everything_in_steps() {
    let bench = Bench::start().await;
    let named = |name: &str| {
        let one = |index| TRAFFIC.replace("{name: flight_delay}", &format!("{{name: {name}{index}}}"));
        (0..150).map(one).collect::<Vec<_>>().join("---\n")
    };
    let declare = |files: [&str; 2]| {
        for (file, name) in ["a.yaml", "b.yaml"].into_iter().zip(files) {
            bench.declare(file, &named(name));
        }
    };
    declare(["a", "b"]);
    bench.looked(|status| in_step(status) && status["read"]["resources"] == 300).await;
    bench.declare("c.yaml", TRAFFIC);
    let status = bench.looked(|status| status["state"] == "broken").await;
    assert!(status["problems"][0]["message"].as_str().unwrap().contains("at most `300` resources"), "{status:#}");
    fs::remove_file(bench.declared_folder().join("c.yaml")).unwrap();
    declare(["c", "d"]);
    let status = bench.looked(|status| status["state"] == "refused").await;
    assert!(status["reason"].as_str().unwrap().contains("in several steps"), "{status:#}");
    // Told once, however often it is tried.
    let again = bench.synced("ann").await;
    assert_eq!(again["state"], "refused", "{again:#}");
    let told = bench.events(REFUSED).await;
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1]["reason"].as_str().unwrap().contains("in several steps"), "{told:#?}");
    declare(["c", "b"]);
    bench.looked(in_step).await;
    declare(["c", "d"]);
    bench.looked(|status| in_step(status) && status["read"]["resources"] == 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_place_removes_nothing_of_the_one_before() {
    let mut bench = Bench::start().await;
    bench.declare("traffic.yaml", &weights(90));
    bench.looked(in_step).await;
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("more.yaml"), TRAFFIC.replace("{name: flight_delay}", "{name: more}")).unwrap();
    for (place, not_declared) in [
        (DeclaredPlace::Folder(other.path().to_owned()), "Traffic/flight_delay"),
        (DeclaredPlace::Folder(bench.declared_folder()), "Traffic/more"),
    ] {
        bench.place = Some(place.clone());
        bench.restart().await;
        let status = bench.looked(in_step).await;
        assert_eq!(status["in_force"]["origin"]["place"], place.to_string());
        assert_eq!(status["drift"]["not_declared"], json!([not_declared]));
        assert_eq!(bench.get("/v1/resources").await["items"].as_array().unwrap().len(), 2);
        assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000);
    }
    // What the other place left behind may be changed by hand without a word of it.
    let answer = bench.apply(&weights(50).replace("{name: flight_delay}", "{name: more}")).await;
    assert!(!answer["plan"]["warnings"].to_string().contains("is declared in"), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_the_places_own_is_journaled_before_it_may_remove_it() {
    let bench = Bench::start().await;
    bench.apply(&weights(90)).await;
    bench.apply(&TRAFFIC.replace("{name: flight_delay}", "{name: by_hand}")).await;
    // As it is in force already.
    bench.declare("traffic.yaml", &weights(90));
    let status = bench.looked(in_step).await;
    assert_eq!(status["in_force"]["revision"], 2, "no revision is made");
    let adopted = bench.events(ADOPTED).await;
    assert_eq!(adopted.len(), 1, "{adopted:#?}");
    assert_eq!(adopted[0]["adopted"], json!([{ "kind": "Traffic", "name": "flight_delay" }]));
    assert_eq!(adopted[0]["origin"], status["in_force"]["origin"]);
    // With a change, beside something new.
    bench.declare("changed.yaml", &weights(50).replace("{name: flight_delay}", "{name: by_hand}"));
    bench.declare("new.yaml", &TRAFFIC.replace("{name: flight_delay}", "{name: new}"));
    bench.looked(|status| in_step(status) && status["read"]["resources"] == 3).await;
    let adopted = bench.events(ADOPTED).await;
    assert_eq!(adopted[1]["adopted"], json!([{ "kind": "Traffic", "name": "by_hand" }]));
    assert_eq!(bench.events(APPLIED).await[2]["revision"], adopted[1]["revision"]);
    bench.declare("changed.yaml", "# no more\n");
    bench.looked(|status| in_step(status) && status["read"]["resources"] == 2).await;
    assert_eq!(bench.events(ADOPTED).await.len(), 2);
    let removed = json!([{ "kind": "Traffic", "name": "by_hand", "action": "removed" }]);
    assert_eq!(bench.events(APPLIED).await[3]["changes"], removed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_order_ends_what_the_kill_switch_did() {
    let bench = Bench::start().await;
    bench.declare("traffic.yaml", &weights(100));
    bench.looked(in_step).await;
    bench.declare("traffic.yaml", &weights(50));
    bench.looked(|status| in_step(status) && status["in_force"]["revision"] == 2).await;
    assert_eq!(bench.call("POST", "/v1/traffic/kill-switch", &[], "").await.status, 200);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    bench.declare("traffic.yaml", &weights(70));
    let status = bench.looked(|status| status["state"] == "held").await;
    assert!(status["reason"].as_str().unwrap().contains("hanok declared sync"), "{status}");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 0);
    let status = bench.synced("bob").await;
    assert_eq!(status["state"], "in_step", "{status:#}");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 3_000);
    let applied = bench.events(APPLIED).await;
    let source = &applied.last().unwrap()["source"];
    assert_eq!((&source["cause"], &source["ordered_by"]), (&json!("order"), &json!("bob")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_only_told_where_that_is_wished() {
    let mut bench = Bench::start().await;
    bench.correct_drift = false;
    bench.restart().await;
    bench.declare("traffic.yaml", &weights(90));
    bench.looked(in_step).await;
    bench.apply(&weights(60)).await;
    let status = bench.looked(|status| status["state"] == "drifted").await;
    let change = &status["drift"]["resources"][0];
    assert_eq!((&change["kind"], &change["action"]), (&json!("Traffic"), &json!("changed")));
    let field = &change["differences"][0];
    assert_eq!(
        (&field["path"], &field["before"], &field["after"]),
        (&json!("spec.arms[0].weight"), &json!(60), &json!(90))
    );
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 4_000);
    // A new declaration is put in force all the same.
    bench.declare("traffic.yaml", &weights(80));
    bench.looked(in_step).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 2_000);
    bench.apply(&weights(60)).await;
    bench.looked(|status| status["state"] == "drifted").await;
    assert_eq!(bench.synced("ann").await["state"], "in_step");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_is_under_way_is_not_changed_and_then_it_is() {
    let bench = Bench::start().await;
    bench.declare("traffic.yaml", TRAFFIC);
    bench.declare("rollout.yaml", &rollout("r", &[5.0, 50.0], 10));
    bench.looked(in_step).await;
    bench.tick().await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 500);
    bench.declare("rollout.yaml", &rollout("r", &[7.0, 50.0], 10));
    let status = bench.looked(|status| status["state"] == "refused").await;
    let problem = &status["problems"][0];
    assert_eq!((&problem["file"], &problem["resource"]), (&json!("rollout.yaml"), &json!("Rollout/r")));
    assert!(problem["remedy"].as_str().unwrap().contains("abort"), "{problem:#}");
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 500);
    let aborted = bench.call("POST", "/v1/rollouts/r/abort", &[], "").await;
    assert_eq!(aborted.status, 200, "{aborted:?}");
    // It is tried again by itself.
    bench.looked(in_step).await;
    bench.tick().await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_git_branch_is_followed_and_its_commits_are_on_record() {
    let work = tempfile::tempdir().unwrap();
    git(work.path(), &["init", "--quiet", "--initial-branch=main"]);
    let commit = |text: &str, subject: &str| {
        fs::create_dir_all(work.path().join("ops")).unwrap();
        fs::write(work.path().join("ops/traffic.yaml"), text).unwrap();
        git(work.path(), &["add", "-A"]);
        git(work.path(), &["commit", "--quiet", "-m", subject]);
        git(work.path(), &["rev-parse", "HEAD"])
    };
    let first = commit(&weights(90), "Ninety");
    let mut bench = Bench::start().await;
    bench.place = Some(format!("git+file://{}#main:ops", work.path().display()).parse().unwrap());
    bench.restart().await;
    let status = bench.looked(in_step).await;
    assert_eq!(status["in_force"]["origin"]["commit"]["id"], first);
    let broken = commit("nothing: of ours\n", "Broken");
    let status = bench.looked(|status| status["state"] == "broken").await;
    assert_eq!(status["read"]["commit"]["id"], broken);
    assert_eq!(status["in_force"]["origin"]["commit"]["id"], first);
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 1_000);
    let third = commit(&weights(80), "Eighty");
    bench.looked(|status| in_step(status) && status["in_force"]["origin"]["commit"]["id"] == third).await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 2_000);
    // A commit that changes nothing is on record without a revision.
    let fourth = commit(&format!("# eighty\n{}", weights(80)), "Comment");
    bench.looked(|status| in_step(status) && status["in_force"]["origin"]["commit"]["id"] == fourth).await;
    let applied = bench.events(APPLIED).await;
    let commits: Vec<&Value> = applied.iter().map(|data| &data["source"]["origin"]["commit"]["id"]).collect();
    assert_eq!(commits, [&json!(first), &json!(third)]);
    assert_eq!(applied[1]["source"]["origin"]["commit"]["author"], "Ann <ann@example.org>");
    assert_eq!(bench.events(REFUSED).await[0]["origin"]["commit"]["id"], broken);
    let revisions = bench.get("/v1/revisions").await;
    assert_eq!(revisions["revisions"][0]["author"], format!("git:{third}"));
    // The branch is gone: what is in force stays.
    drop(work);
    bench.looked(|status| status["state"] == "unreachable").await;
    assert_eq!(bench.runtime.weight("flight_delay", "canary"), 2_000);
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").args(identity).args(arguments).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}
