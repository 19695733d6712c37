//! What a server says about itself and its models, whichever protocol said it.

use hanok_tensor::{DataType, Shape};
use serde_json::Value;

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TensorContract {
    /// Name.
    pub(crate) name: String,
    /// Element type.
    pub(crate) data_type: DataType,
    /// Dimensions; -1 is chosen by the request, and stands first in a model that batches.
    pub(crate) shape: Shape,
}

/// A model as its metadata tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelContract {
    /// Name.
    pub(crate) name: String,
    /// Versions that can be asked for.
    pub(crate) versions: Vec<String>,
    /// Platform or backend.
    pub(crate) platform: String,
    /// Inputs in the server's order.
    pub(crate) inputs: Vec<TensorContract>,
    /// Outputs in the server's order.
    pub(crate) outputs: Vec<TensorContract>,
}

impl ModelContract {
    /// Adds those inputs of the model's configuration that are named and that its metadata leaves out: features fill them
    /// where the client does not.
    pub(super) fn add_configured(&mut self, config: &Value, named: &[&str]) {
        let batches = config["max_batch_size"].as_i64().unwrap_or(0) > 0;
        for input in config["input"].as_array().into_iter().flatten() {
            let name = input["name"].as_str().unwrap_or_default();
            let data_type = input["data_type"].as_str().and_then(DataType::from_config_name);
            let (Some(data_type), true) = (data_type, named.contains(&name)) else { continue };
            // Whole numbers of 64 bits may be texts in protobuf's JSON.
            let dimension = |json: &Value| json.as_i64().or_else(|| json.as_str()?.parse().ok()).unwrap_or(-1);
            let dims = input["dims"].as_array().into_iter().flatten().map(dimension);
            let shape = batches.then_some(-1).into_iter().chain(dims).collect();
            self.inputs.push(TensorContract { name: name.to_owned(), data_type, shape });
        }
    }
}

/// One line of the repository index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// Model.
    pub(crate) name: String,
    /// Version; empty for a model that was never loaded.
    pub(crate) version: String,
    /// `READY`, `UNAVAILABLE`, ...; may be empty.
    pub(crate) state: String,
    /// Why it is in that state; often empty.
    pub(crate) reason: String,
}

/// How often, and for how many nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountAndTime {
    /// Occurrences.
    pub(crate) count: u64,
    /// Nanoseconds altogether.
    pub(crate) ns: u64,
}

/// Cumulative statistics of one model, summed over its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelStatistics {
    /// Rows.
    pub(crate) inference_count: u64,
    /// Executions (batches).
    pub(crate) execution_count: u64,
    /// Requests that succeeded.
    pub(crate) success: CountAndTime,
    /// Requests that failed.
    pub(crate) fail: CountAndTime,
    /// Time in the queue.
    pub(crate) queue: CountAndTime,
    /// Time of gathering inputs.
    pub(crate) compute_input: CountAndTime,
    /// Time in the model.
    pub(crate) compute_infer: CountAndTime,
    /// Time of splitting outputs.
    pub(crate) compute_output: CountAndTime,
    /// Executions by batch size, ascending.
    pub(crate) batches: Vec<(u64, u64)>,
}

/// An inference request as a command makes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct InferenceCall {
    /// Model.
    pub(crate) model: String,
    /// Version, or the server's choice.
    pub(crate) version: Option<String>,
    /// Inputs.
    pub(crate) inputs: Vec<super::TensorValue>,
    /// Outputs to ask for; empty asks for all.
    pub(crate) outputs: Vec<String>,
    /// Ask for the best classes of each output instead of its values.
    pub(crate) classification: Option<u32>,
    /// Time-out that the server is asked to keep (the parameter `timeout`).
    pub(crate) timeout: Option<std::time::Duration>,
}

impl InferenceCall {
    /// The time-out in the unit of the protocol.
    pub(super) fn timeout_microseconds(&self) -> Option<u64> {
        self.timeout.map(|timeout| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct InferenceAnswer {
    /// Model that answered.
    pub(crate) model: String,
    /// Version that answered.
    pub(crate) version: String,
    /// Outputs in the server's order.
    pub(crate) outputs: Vec<super::TensorValue>,
}

impl ModelStatistics {
    /// Adds executions of one batch size.
    pub(crate) fn add_batches(&mut self, size: u64, count: u64) {
        match self.batches.binary_search_by_key(&size, |&(known, _)| known) {
            Ok(index) => self.batches[index].1 += count,
            Err(index) => self.batches.insert(index, (size, count)),
        }
    }

    /// What happened since `before`; a counter that went back (the model was reloaded) counts from zero.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let time = |now: CountAndTime, then: CountAndTime| {
            let reset = now.count < then.count || now.ns < then.ns;
            let then = if reset { CountAndTime::default() } else { then };
            CountAndTime { count: now.count - then.count, ns: now.ns - then.ns }
        };
        let count = |now: u64, then: u64| now.checked_sub(then).unwrap_or(now);
        let earlier =
            |size: u64| before.batches.iter().find(|&&(known, _)| known == size).map_or(0, |&(_, count)| count);
        Self {
            inference_count: count(self.inference_count, before.inference_count),
            execution_count: count(self.execution_count, before.execution_count),
            success: time(self.success, before.success),
            fail: time(self.fail, before.fail),
            queue: time(self.queue, before.queue),
            compute_input: time(self.compute_input, before.compute_input),
            compute_infer: time(self.compute_infer, before.compute_infer),
            compute_output: time(self.compute_output, before.compute_output),
            batches: self
                .batches
                .iter()
                .map(|&(size, now)| (size, count(now, earlier(size))))
                .filter(|&(_, count)| count > 0)
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_that_features_fill_are_known_by_their_names() {
        let mut contract = ModelContract {
            name: "m".into(),
            versions: vec![],
            platform: String::new(),
            inputs: vec![],
            outputs: vec![],
        };
        let config = json!({"max_batch_size": 8, "input": [
            {"name": "wind", "data_type": "TYPE_FP32", "dims": ["2"]},
            {"name": "sky", "data_type": "TYPE_STRING", "dims": [1]},
        ]});
        contract.add_configured(&config, &["wind", "nothing"]);
        let expected = TensorContract { name: "wind".into(), data_type: DataType::Fp32, shape: Shape::new(&[-1, 2]) };
        assert_eq!(contract.inputs, [expected]);
    }

    #[test]
    fn differences_survive_a_reload() {
        let before = ModelStatistics { inference_count: 10, batches: vec![(1, 5), (2, 1)], ..Default::default() };
        let after = ModelStatistics { inference_count: 14, batches: vec![(1, 5), (2, 3)], ..Default::default() };
        let change = after.since(&before);
        assert_eq!((change.inference_count, change.batches), (4, vec![(2, 2)]));
        let reloaded = ModelStatistics { success: CountAndTime { count: 2, ns: 9 }, ..Default::default() };
        let earlier = ModelStatistics { success: CountAndTime { count: 5, ns: 90 }, ..Default::default() };
        assert_eq!(reloaded.since(&earlier).success, CountAndTime { count: 2, ns: 9 });
    }
}
