//! The configuration's tensors matched with the graph's: names and data types, once, at load.
//!
//! Dimensions are not compared: the configuration's completion does that, and the library checks them when it
//! computes.

use std::ffi::CString;

use hanok_backend::ServingError;
use hanok_model_config::{ModelConfig, Scheduling};
use hanok_tensor::DataType;
use ort::sys::ONNXTensorElementDataType;
use ort::value::{Outlet, ValueType};

use crate::element_type;

/// One tensor that goes into the graph.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) name: CString,
    pub(crate) data_type: DataType,
    /// Index within the batch's inputs: configured inputs first, then the control inputs of a sequence model.
    pub(crate) index: usize,
}

/// One tensor that comes out of the graph: the configured output of the same position.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) name: CString,
    pub(crate) data_type: DataType,
}

pub(super) fn feeds(config: &ModelConfig, graph: &[Outlet]) -> Result<Vec<Feed>, ServingError> {
    let inputs = config.inputs.iter().map(|input| (input.name.as_str(), input.data_type, input.optional));
    let controls = match &config.scheduling {
        Scheduling::Sequence(batching) => batching.controls.as_slice(),
        _ => &[],
    };
    let controls = controls.iter().map(|control| (control.name.as_str(), control.data_type, false));
    let mut feeds = Vec::new();
    for (index, (name, data_type, optional)) in inputs.chain(controls).enumerate() {
        match graph.iter().find(|outlet| outlet.name() == name) {
            Some(outlet) => check_type(config, "input", outlet, data_type)?,
            // An initial value of the graph may be fed as well, and is not among the graph's inputs.
            None if optional => {}
            None => return Err(unknown(config, "input", name, graph)),
        }
        feeds.push(Feed { name: c_name(name)?, data_type, index });
    }
    for outlet in graph {
        if !feeds.iter().any(|feed| feed.name.as_bytes() == outlet.name().as_bytes()) {
            return Err(ServingError::invalid(format!(
                "model `{}` needs the input `{}`, which its configuration does not declare",
                config.name,
                outlet.name()
            )));
        }
    }
    Ok(feeds)
}

pub(super) fn fetches(config: &ModelConfig, graph: &[Outlet]) -> Result<Vec<Fetch>, ServingError> {
    let fetches = config.outputs.iter().map(|output| {
        let outlet = graph
            .iter()
            .find(|outlet| outlet.name() == output.name)
            .ok_or_else(|| unknown(config, "output", &output.name, graph))?;
        check_type(config, "output", outlet, output.data_type)?;
        Ok(Fetch { name: c_name(&output.name)?, data_type: output.data_type })
    });
    fetches.collect()
}

/// Whether an input of the graph varies in another dimension than the first, which is the batch.
pub(super) fn varies(config: &ModelConfig) -> bool {
    config.inputs.iter().any(|input| input.model_dims().iter().any(|&dimension| dimension < 0))
}

fn check_type(config: &ModelConfig, kind: &str, outlet: &Outlet, declared: DataType) -> Result<(), ServingError> {
    let name = outlet.name();
    match outlet.dtype() {
        ValueType::Tensor { ty, .. } => {
            let number = ONNXTensorElementDataType::from(*ty) as i32;
            match element_type::from_number(number) {
                Some(actual) if actual == declared => Ok(()),
                Some(actual) => Err(ServingError::invalid(format!(
                    "{kind} `{name}` of model `{}` has the data type `{actual}`, configured is `{declared}`",
                    config.name
                ))),
                None => Err(ServingError::unsupported(format!(
                    "{kind} `{name}` of model `{}` has the data type `{ty}`, which the protocol lacks",
                    config.name
                ))),
            }
        }
        other => Err(ServingError::unsupported(format!(
            "{kind} `{name}` of model `{}` is of the type `{other}`, only tensors are served; a classifier of \
             scikit-learn must be converted with `zipmap` off",
            config.name
        ))),
    }
}

fn unknown(config: &ModelConfig, kind: &str, name: &str, graph: &[Outlet]) -> ServingError {
    let names: Vec<_> = graph.iter().take(32).map(|outlet| format!("`{}`", outlet.name())).collect();
    ServingError::invalid(format!(
        "model `{}` has no {kind} `{name}`, it has {}",
        config.name,
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    ))
}

fn c_name(name: &str) -> Result<CString, ServingError> {
    CString::new(name).map_err(|_| ServingError::invalid("a tensor's name must not hold a zero byte"))
}
