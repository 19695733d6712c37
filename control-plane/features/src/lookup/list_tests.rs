//! Lists that a store does not tell any more: what is remembered of them must fit the input as it is now.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Lookup, LookupSettings, Origin, ResolveRequest};
use crate::columns::Columns;
use crate::data_type::ElementType;
use crate::declared::read_features;
use crate::entity_key::{KeyParts, KeyValue};
use crate::error::{ErrorCode, FeatureError};
use crate::store::{OnlineStore, OpenStores, ReadFuture, StoreRead};
use crate::tensor_format::{InputForm, TensorFormat};
use crate::value::Value;

fn now() -> i64 {
    1_000_000_000
}

fn list(values: &[f32]) -> Value {
    Value::List(ElementType::Float32, values.iter().copied().map(Value::Float32).collect())
}

/// A store of lists by key; a read with a key that is hidden fails as a whole.
#[derive(Debug, Default)]
struct Lists {
    lists: Mutex<BTreeMap<&'static str, Vec<f32>>>,
    hidden: Mutex<Vec<&'static str>>,
}

impl OnlineStore for Lists {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let mut columns: Columns = read.views[0].empty_answer();
            for (row, key) in read.views[0].keys.iter().enumerate() {
                let KeyValue::String(key) = KeyParts::read(key).unwrap().values[0].1 else { panic!("keys are texts") };
                if self.hidden.lock().contains(&key) {
                    return Err(FeatureError::unavailable("the feature store cannot be reached", "refused"));
                }
                if let Some(values) = self.lists.lock().get(key) {
                    columns.set_value(0, row, &list(values), Some(now()))?;
                }
            }
            Ok(vec![columns])
        })
    }
}

fn start(store: &Arc<Lists>, fallback: &str, cache: &str) -> Lookup {
    let text = format!(
        "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: origin}}\nspec: {{type: string}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{embedded: {{path: x}}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: weather}}\n\
         spec: {{entities: [origin], store: main, owner: me, \
         features: [{{name: wind, type: list<float32>, {fallback}}}]}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: delay}}\n\
         spec: {{owner: me, features: [weather:wind] {cache}}}\n"
    );
    let set = read_features(&text).unwrap();
    let stores = OpenStores::default().with("main", Arc::clone(store) as Arc<dyn OnlineStore>);
    Lookup::start(&set, "delay", &stores, LookupSettings::default(), now).unwrap()
}

type Served = Result<Vec<(Value, Origin)>, FeatureError>;

async fn ask(lookup: &Lookup, keys: &[&str], dims: &[i64]) -> Served {
    let mut request = ResolveRequest::new(keys.len()).texts("origin", keys);
    request.forms = Arc::from([InputForm::new(TensorFormat::Fp32, dims)]);
    let resolved = lookup.resolve(&request).await?;
    let column = resolved.column(0).unwrap();
    // What is served is what the tensor takes.
    let elements = keys.iter().enumerate().find_map(|(row, _)| match column.value(row) {
        Some(crate::value::ValueRef::List(list)) => Some(list.len()),
        _ => None,
    });
    column.write_tensor(TensorFormat::Fp32, elements.unwrap_or_default(), &mut Vec::new()).unwrap();
    Ok((0..keys.len()).map(|row| (column.value(row).unwrap().to_owned(), resolved.origin(0, row))).collect())
}

#[tokio::test(start_paused = true)]
async fn a_remembered_list_that_does_not_fit_is_not_served() {
    for (fallback, other) in [("fallback: last_known, default: [8, 9]", true), ("fallback: last_known", false)] {
        let store = Arc::<Lists>::default();
        store.lists.lock().insert("JFK", vec![1.0, 2.0, 3.0]);
        let lookup = start(&store, fallback, "");
        let taken = ask(&lookup, &["JFK"], &[3]).await.unwrap();
        assert_eq!(taken, [(list(&[1.0, 2.0, 3.0]), Origin::Store)]);
        store.hidden.lock().push("JFK");
        let known = ask(&lookup, &["JFK"], &[3]).await.unwrap();
        assert_eq!(known, [(list(&[1.0, 2.0, 3.0]), Origin::LastKnown)]);
        // Another model with the same service, or the same one in a newer version, takes two.
        let answer = ask(&lookup, &["JFK"], &[2]).await;
        if other {
            assert_eq!(answer.unwrap(), [(list(&[8.0, 9.0]), Origin::Default)]);
        } else {
            let error = answer.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
            assert!(error.to_string().ends_with("the feature store is unavailable"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_remembered_list_has_the_length_of_what_is_told_now() {
    let store = Arc::<Lists>::default();
    let keys = [("JFK", vec![1.0, 2.0, 3.0]), ("EWR", vec![4.0, 5.0]), ("LGA", vec![6.0, 7.0])];
    store.lists.lock().extend(keys);
    let cached = ", cache: {maximum_age_milliseconds: 1000, maximum_megabytes: 1}";
    for (cache, fallback) in [(cached, "fallback: last_known, default: [8, 9]"), ("", "fallback: last_known")] {
        store.hidden.lock().clear();
        let lookup = start(&store, fallback, cache);
        for key in ["JFK", "EWR", "LGA"] {
            ask(&lookup, &[key], &[-1]).await.unwrap();
        }
        store.hidden.lock().extend(["JFK", "EWR", "LGA"]);
        if cache.is_empty() {
            // All are remembered: the first says how long they are, and there is no other value for the others.
            let answer = ask(&lookup, &["EWR", "LGA"], &[-1]).await.unwrap();
            assert!(answer.iter().all(|(_, origin)| *origin == Origin::LastKnown), "{answer:?}");
            let error = ask(&lookup, &["EWR", "JFK"], &[-1]).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
            continue;
        }
        // Within the cache's age nothing is asked, and what is there has two lengths: that is told when it is written.
        let answer = ask(&lookup, &["EWR", "LGA"], &[-1]).await.unwrap();
        assert!(answer.iter().all(|(_, origin)| *origin == Origin::Cache), "{answer:?}");
    }
    // One row is told now, and the one remembered from before has another length.
    store.hidden.lock().clear();
    let lookup = start(&store, "fallback: last_known, default: [8, 9]", "");
    ask(&lookup, &["JFK"], &[-1]).await.unwrap();
    store.hidden.lock().push("JFK");
    let given = ResolveRequest {
        forms: Arc::from([InputForm::new(TensorFormat::Fp32, &[-1])]),
        ..ResolveRequest::new(2).texts("origin", ["JFK", "EWR"]).overriding("wind", [None, Some(list(&[0.0, 0.5]))])
    };
    let resolved = lookup.resolve(&given).await.unwrap();
    let column = resolved.column(0).unwrap();
    assert_eq!(column.value(0).unwrap().to_owned(), list(&[8.0, 9.0]));
    assert_eq!((resolved.origin(0, 0), resolved.origin(0, 1)), (Origin::Default, Origin::Override));
    column.write_tensor(TensorFormat::Fp32, 2, &mut Vec::new()).unwrap();
}
