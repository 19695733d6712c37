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
