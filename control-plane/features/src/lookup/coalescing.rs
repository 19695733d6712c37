//! Keys of many requests as one read.
//!
//! One task for each store: while a read is under way requests gather, and the next read takes them together. The group
//! is bounded by keys, its wait by the latest deadline of its members; each member waits no longer than its own.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::statistics::Counters;
use crate::columns::Columns;
use crate::error::FeatureError;
use crate::store::{OnlineStore, StoreHealth, StoreRead, ViewRead};

/// What a request wants of one store: for each view its part of the read.
pub(super) struct Ask {
    /// Number of the view in the service, and what is read of it.
    pub(super) views: Vec<(usize, ViewRead)>,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<Answer, FeatureError>>,
}

/// What a request gets: shared columns, and for each view which of them and which rows are its own.
pub(super) struct Answer {
    pub(super) columns: Arc<Vec<Columns>>,
    pub(super) views: Vec<Part>,
}

/// A request's rows of one view.
pub(super) struct Part {
    pub(super) columns: usize,
    /// Row of the columns for each key asked.
    pub(super) rows: Vec<usize>,
}

/// Bounds of a store's reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) keys_per_read: usize,
    pub(super) reads_under_way: usize,
}

/// Works until every sender is gone.
pub(super) async fn run(
    store: Arc<dyn OnlineStore>,
    health: Arc<StoreHealth>,
    mut asks: mpsc::Receiver<Ask>,
    bounds: Bounds,
    counters: Arc<Counters>,
) {
    let free = Arc::new(Semaphore::new(bounds.reads_under_way));
    let mut reads = JoinSet::new();
    while let Some(first) = asks.recv().await {
        // Whoever comes while every place is taken joins the group.
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        while reads.try_join_next().is_some() {}
        let mut keys = key_count(&first);
        let mut group = vec![first];
        while keys < bounds.keys_per_read
            && let Ok(ask) = asks.try_recv()
        {
            keys += key_count(&ask);
            group.push(ask);
        }
        group.retain(|ask| !ask.answer.is_closed());
        if group.is_empty() {
            continue;
        }
        let (store, health, counters) = (Arc::clone(&store), Arc::clone(&health), Arc::clone(&counters));
        reads.spawn(async move {
            read_group(&*store, &health, group, &counters).await;
            drop(place);
        });
    }
    while reads.join_next().await.is_some() {}
}

fn key_count(ask: &Ask) -> usize {
    ask.views.iter().map(|(_, read)| read.keys.len()).sum()
}

async fn read_group(store: &dyn OnlineStore, health: &StoreHealth, group: Vec<Ask>, counters: &Counters) {
    let Some(deadline) = group.iter().map(|ask| ask.deadline).max() else { return };
    let (read, parts) = merge(&group);
    let columns = match timeout_at(deadline, store.read(&read)).await {
        Ok(answered) => answered.and_then(|columns| {
            let fits = columns.len() == read.views.len();
            if fits { Ok(Arc::new(columns)) } else { Err(FeatureError::internal("the feature store misread", "views")) }
        }),
        Err(_) => Err(FeatureError::DeadlineExceeded),
    };
    match &columns {
        Ok(columns) => health.answered(columns, Instant::now()),
        Err(error) => health.failed(error, Instant::now()),
    }
    counters.store_read(read.views.iter().map(|view| view.keys.len()).sum(), columns.is_ok());
    for (ask, views) in group.into_iter().zip(parts) {
        // Whoever has gone does not wait for an answer.
        drop(ask.answer.send(columns.clone().map(|columns| Answer { columns, views })));
    }
}

/// One read of every key once, and each request's part of it.
fn merge(group: &[Ask]) -> (StoreRead, Vec<Vec<Part>>) {
    let mut read = StoreRead::default();
    let mut places: HashMap<usize, usize> = HashMap::new();
    let mut rows: HashMap<(usize, &[u8]), usize> = HashMap::new();
    let mut parts = Vec::with_capacity(group.len());
    for ask in group {
        let mut own = Vec::with_capacity(ask.views.len());
        for (number, wanted) in &ask.views {
            let columns = *places.entry(*number).or_insert_with(|| {
                read.views.push(ViewRead::new(Arc::clone(&wanted.view), Arc::clone(&wanted.places)));
                read.views.len() - 1
            });
            let keys = &mut read.views[columns].keys;
            let row = |key| {
                *rows.entry((columns, key)).or_insert_with(|| {
                    keys.push(key);
                    keys.len() - 1
                })
            };
            own.push(Part { columns, rows: wanted.keys.iter().map(row).collect() });
        }
        parts.push(own);
    }
    (read, parts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;

    use proptest::prelude::*;
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::{Ask, merge};
    use crate::declared::FeatureView;
    use crate::entity_key::KeyLayout;
    use crate::store::ViewRead;

    fn view(name: &str) -> Arc<FeatureView> {
        Arc::new(FeatureView {
            name: name.to_owned(),
            entities: Vec::new(),
            keys: KeyLayout::new(Vec::new()),
            store: String::new(),
            owner: String::new(),
            maximum_age: None,
            features: Vec::new(),
            source: None,
            offline: None,
        })
    }

    proptest! {
        #[test]
        fn every_key_is_read_once_and_everybody_gets_theirs(
            asks in prop::collection::vec(prop::collection::vec((0_usize..3, prop::collection::vec(0_u8..6, 0..5)), 0..3), 1..6),
        ) {
            let names = ["a", "b", "c"];
            let group: Vec<Ask> = asks.iter().map(|views| {
                let views = views.iter().map(|(number, keys)| {
                    let mut read = ViewRead::new(view(names[*number]), Arc::from([]));
                    keys.iter().for_each(|key| read.keys.push(&[*key]));
                    (*number, read)
                });
                Ask { views: views.collect(), deadline: Instant::now(), answer: oneshot::channel().0 }
            }).collect();
            let (read, parts) = merge(&group);
            for one in &read.views {
                let mut keys: Vec<&[u8]> = one.keys.iter().collect();
                let all = keys.len();
                keys.sort_unstable();
                keys.dedup();
                prop_assert_eq!(keys.len(), all);
            }
            for (ask, own) in group.iter().zip(&parts) {
                prop_assert_eq!(ask.views.len(), own.len());
                for ((_, wanted), part) in ask.views.iter().zip(own) {
                    let merged = &read.views[part.columns];
                    prop_assert_eq!(&merged.view.name, &wanted.view.name);
                    let got: Vec<_> = part.rows.iter().map(|row| merged.keys.get(*row).unwrap()).collect();
                    prop_assert_eq!(got, wanted.keys.iter().collect::<Vec<_>>());
                }
            }
        }
    }
}
