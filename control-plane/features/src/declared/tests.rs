//! Declarations as people write them: what is read, and how each fault is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::time::Duration;

use super::{Fallback, ModelInput, StoreKind, read_features};
use crate::tensor_format::TensorFormat;
use crate::value::Value;

const GOOD: &str = "\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: main}
spec: {embedded: {path: features.db}}
---
# Comments stand where they like.
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec:
  entities: [origin]
  store: main
  owner: flights
  maximum_age_seconds: 7200
  features:
    - {name: temperature, type: float64, default: .nan}
    - {name: sky, type: string, fallback: last_known, default: clear, maximum_age_seconds: 60}
    - {name: visibility, type: float32, fallback: missing}
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: delay}
spec:
  owner: flights
  features: [weather:temperature, {feature: weather:sky, as: SKY}]
  deadline_milliseconds: 20
  cache: {}
";

fn problems(text: &str) -> Vec<String> {
    read_features(text).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn what_holds_together_is_read() {
    let set = read_features(GOOD).unwrap();
    let view = set.view("weather").unwrap();
    assert_eq!(view.maximum_age, Some(Duration::from_secs(7200)));
    assert_eq!(view.features[1].maximum_age, Some(Duration::from_secs(60)));
    assert!(matches!(view.features[0].fallback, Fallback::Default(Value::Float64(value)) if value.is_nan()));
    assert_eq!(view.features[1].fallback, Fallback::LastKnown(Some(Value::String("clear".to_owned()))));
    let service = set.service("delay").unwrap();
    assert_eq!(service.features[1].input, "SKY");
    assert_eq!(service.deadline, Duration::from_millis(20));
    assert!(matches!(set.stores()["main"].kind, StoreKind::Embedded { .. }));
    assert_eq!(
        set.view("wether").unwrap_err().to_string(),
        "feature view `wether` does not exist; did you mean `weather`?"
    );
}

#[test]
fn every_fault_is_told_with_its_line() {
    let wrong = GOOD
        .replace("entities: [origin]", "entities: [orgin]")
        .replace("type: float64, default: .nan", "type: float46")
        .replace("default: clear", "default: 7")
        .replace("weather:sky", "weather:sy")
        .replace("  owner: flights\n  maximum", "  maximum")
        .replace("name: visibility, type: float32", "name: visibi.lity, type: int32");
    let expected = [
        "line 20 (FeatureView/weather): spec.features[0].type: expected one of `bool`",
        "line 21 (FeatureView/weather): spec.features[1].default: expected a value of type `string`, got `7`",
        "line 22 (FeatureView/weather): spec.features[2].name: expected 1 to 127 letters",
        "line 22 (FeatureView/weather): spec.features[2].fallback: expected a type with NaN",
        "line 16 (FeatureView/weather): spec: missing field `owner`",
        "line 16 (FeatureView/weather): spec.entities[0]: expected the name of an `Entity`, got `orgin`; did you mean \
         `origin`?",
    ];
    let found = problems(&wrong);
    for expected in expected {
        assert!(found.iter().any(|one| one.starts_with(expected)), "{expected}: {found:#?}");
    }
}

#[test]
fn words_that_yaml_takes_for_true_and_false_are_explained() {
    let quotes = "put the text in quotes";
    for (from, to, told, hint) in [
        ("default: clear", "default: no", "default: expected a value of type `string`, got `false`", quotes),
        ("default: clear", "default: Y", "default: expected a value of type `string`, got `true`", quotes),
        ("name: visibility,", "name: n,", "name: expected a text, got `false`", quotes),
        ("owner: flights", "owner: on", "owner: expected a text, got `true`", quotes),
        ("entities: [origin]", "entities: [off]", "expected the name of an `Entity`, got `false`", quotes),
        (
            "type: float64, default: .nan",
            "type: bool, default: 'yes'",
            "expected a value of type `bool`",
            "write `true` or `false`, without quotes",
        ),
        (
            "type: float64, default: .nan",
            "type: list<bool>, default: [true, 'Off']",
            "expected",
            "write `true` or `false`, without quotes",
        ),
    ] {
        let found = problems(&GOOD.replace(from, to));
        assert!(found.iter().any(|one| one.contains(told) && one.ends_with(hint)), "{to}: {found:#?}");
    }
    read_features(&GOOD.replace("type: float64, default: .nan", "type: bool, default: yes")).unwrap();
    let number = problems(&GOOD.replace("default: clear", "default: 7"));
    assert!(!number[0].contains("quotes"), "{number:#?}");
}

#[test]
fn a_number_that_is_too_large_is_not_infinity() {
    let found = problems(&GOOD.replace("default: .nan", "default: 1e400"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].ends_with("default: expected a value of type `float64`, got `\"1e400\"`"), "{found:#?}");
    read_features(&GOOD.replace("default: .nan", "default: -.inf")).unwrap();
}

#[test]
fn services_are_checked_against_views() {
    let found = problems(&GOOD.replace("weather:sky", "weather:sy"));
    assert_eq!(
        found,
        [
            "line 30 (FeatureService/delay): spec.features[1]: expected the name of a feature of view `weather`, got `sy`; \
          did you mean `sky`?"
        ]
    );
}

#[test]
fn two_features_do_not_fill_one_input() {
    let found = problems(&GOOD.replace("as: SKY", "as: temperature"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("spec.features[1]: expected an input of its own, got `temperature` again"), "{found:#?}");
}

#[test]
fn what_is_no_yaml_is_told_with_its_line() {
    let found = problems("a: 1\nb: [1\nc: }\n");
    assert!(found[0].contains("expected YAML: "), "{found:#?}");
    assert!(found[0].starts_with("line 3"), "{found:#?}");
    assert!(problems("a: 1\na: 2\n")[0].starts_with("line 2: expected YAML: "), "{:#?}", problems("a: 1\na: 2\n"));
    assert!(problems(&"[".repeat(100_000))[0].contains("expected YAML"));
    assert!(problems(&"x".repeat(5 << 20))[0].contains("expected at most `4194304` bytes"));
}

#[test]
fn secrets_in_addresses_are_refused_and_not_repeated() {
    let text =
        GOOD.replace("embedded: {path: features.db}", "feast_redis: {url: \"redis://:hunter2@db:6379\", project: p}");
    let found = problems(&text);
    assert!(found[0].contains("expected no credentials in the address"), "{found:#?}");
    assert!(!found.concat().contains("hunter2"));
}

#[test]
fn addresses_that_are_none_are_refused() {
    let on = |url: &str| GOOD.replace("embedded: {path: features.db}", &format!("feast_http: {{url: \"{url}\"}}"));
    for good in ["http://h", "https://h:8443/base", "http://[::1]:80", "http://h:1/"] {
        read_features(&on(good)).unwrap_or_else(|problems| panic!("{good}: {problems:?}"));
    }
    for wrong in [
        "http://h h:1/",
        "http://h:1/?token=hunter2",
        "http://h:1/#hunter2",
        "http://h:99999",
        "http://h:0",
        "http://h:x",
        "http://:80",
        "ftp://h",
        "http://h:1/\\thunter2",
    ] {
        let found = problems(&on(wrong));
        assert!(found[0].contains("spec.feast_http.url: expected `http://HOST:PORT`"), "{wrong}: {found:#?}");
        assert!(!found.concat().contains("hunter2"));
    }
    let redis = GOOD.replace("embedded: {path: features.db}", "feast_redis: {url: \"redis://db:99999\", project: p}");
    assert!(problems(&redis)[0].contains("expected `redis://HOST:PORT/DATABASE`"));
}

#[test]
fn keys_of_bytes_do_not_go_over_http() {
    let text = GOOD
        .replace("embedded: {path: features.db}", "feast_http: {url: \"http://h\"}")
        .replace("spec: {type: string}", "spec: {type: bytes}");
    let found = problems(&text);
    assert!(
        found[0].contains("spec.entities: expected no join key of type `bytes` with a store over HTTP, got `origin`"),
        "{found:#?}"
    );
}

#[test]
fn a_maximum_age_needs_a_store_that_tells_times() {
    let on = |store: &str| GOOD.replace("embedded: {path: features.db}", store);
    let hash = "redis_hash: {url: \"redis://db\", key: \"{origin}\"";
    let found = problems(&on(&format!("{hash}}}")));
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[0].starts_with("line 19 (FeatureView/weather): spec.maximum_age_seconds: expected no maximum age"));
    assert!(found[1].contains("spec.features[1].maximum_age_seconds"), "{found:#?}");
    read_features(&on(&format!("{hash}, event_time: at}}"))).unwrap();
    assert!(!problems(&on("hopsworks: {url: \"http://h\", token_file: t, feature_store: f}")).is_empty());
}

#[test]
fn views_of_one_redis_do_not_share_keys() {
    let two = |key: &str| {
        let text = GOOD.replace(
            "embedded: {path: features.db}",
            &format!("redis_hash: {{url: \"redis://db\", event_time: at, key: \"{key}\"}}"),
        );
        let view = "apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {name: weather_old}\n\
                    spec: {entities: [origin], store: main, owner: me, features: [{name: x, type: int32}]}\n";
        format!("{text}---\n{view}")
    };
    let found = problems(&two("{view}_{origin}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0].contains("(FeatureView/weather_old): spec.store: expected a `key` of store `main` that tells"),
        "{found:#?}"
    );
    read_features(&two("{view}:{origin}")).unwrap();
}

#[test]
fn a_service_is_checked_against_its_model() {
    let set = read_features(GOOD).unwrap();
    let service = set.service("delay").unwrap();
    let input = |name: &str, format, dims: &[i64]| ModelInput { name: name.to_owned(), format, dims: dims.to_vec() };
    let fits = [
        input("temperature", Some(TensorFormat::Fp32), &[1]),
        input("SKY", Some(TensorFormat::Bytes), &[]),
        input("other", None, &[3]),
    ];
    assert_eq!(set.check_model(service, &fits), []);
    let wrong = [input("temperatur", Some(TensorFormat::Fp32), &[1]), input("SKY", Some(TensorFormat::Int64), &[2])];
    let found: Vec<String> = set.check_model(service, &wrong).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "declaration (FeatureService/delay): spec.features[0]: expected the name of an input of the model, got \
             `temperature`; did you mean `temperatur`?",
            "declaration (FeatureService/delay): spec.features[1]: expected a feature that fits `INT64` of input `SKY`, \
             got `string`",
            "declaration (FeatureService/delay): spec.features[1]: expected an input of one element a row, `SKY` has `2`",
        ]
    );
}

#[test]
fn defaults_and_single_values_are_checked_against_the_input_s_dimensions() {
    let text = GOOD.replace("type: float64, default: .nan", "type: list<float32>, default: [1, 2]");
    let set = read_features(&text).unwrap();
    let check = |wind: &[i64], sky: &[i64]| -> Vec<String> {
        let input = |name: &str, format, dims: &[i64]| ModelInput {
            name: name.to_owned(),
            format: Some(format),
            dims: dims.to_vec(),
        };
        let inputs = [input("temperature", TensorFormat::Fp32, wind), input("SKY", TensorFormat::Bytes, sky)];
        set.check_model(set.service("delay").unwrap(), &inputs).iter().map(ToString::to_string).collect()
    };
    assert_eq!(check(&[2], &[-1]), Vec::<String>::new());
    assert_eq!(check(&[-1, 2], &[1]), Vec::<String>::new());
    let found = check(&[3], &[1]);
    assert!(
        found[0].ends_with("the default does not fit input `temperature`: expected a list of `3` elements, got `2`"),
        "{found:#?}"
    );
    assert_eq!(check(&[-1, 3], &[1]).len(), 1);
    let found = check(&[2], &[-1, 2]);
    assert!(found[0].ends_with("expected an input of one element a row, `SKY` has `2`"), "{found:#?}");
}
