//! Walks graphs, nodes, attributes and functions.
//!
//! Everything collected borrows from the file's bytes, so that a large model costs only its list of operators.

use std::collections::{BTreeSet, HashSet};

use super::tensor_type::value_info;
use super::wire_format::{damaged, fields};
use super::{MAXIMUM_DEPTH, MAXIMUM_TENSORS, standard_domain};
use crate::{ConfigError, ModelSignature};

/// What was found so far, over all graphs of a model.
#[derive(Debug, Default)]
pub(super) struct GraphReader<'a> {
    /// Domain and operator type.
    pub(super) operators: BTreeSet<(&'a str, &'a str)>,
    /// Locations of external tensors.
    pub(super) external_data: BTreeSet<&'a str>,
}

impl<'a> GraphReader<'a> {
    /// Reads the model's `GraphProto`, with its inputs and outputs.
    pub(super) fn main_graph(&mut self, bytes: &'a [u8]) -> Result<ModelSignature, ConfigError> {
        self.graph(bytes, 0)?;
        let mut signature = ModelSignature::default();
        let mut stored = HashSet::new();
        let mut inputs = Vec::new();
        for field in fields(bytes) {
            let field = field?;
            match field.number {
                5 => {
                    stored.insert(tensor_name(field.value.bytes()?)?);
                }
                15 => {
                    stored.insert(sparse_tensor_name(field.value.bytes()?)?);
                }
                11 => inputs.push(value_info(field.value.bytes()?)?),
                12 => signature.outputs.push(value_info(field.value.bytes()?)?),
                _ => {}
            }
            if signature.outputs.len() > MAXIMUM_TENSORS {
                return Err(too_many("outputs"));
            }
        }
        (signature.overridable_inputs, signature.inputs) =
            inputs.into_iter().partition(|input| stored.contains(input.name.as_str()));
        if signature.inputs.len() > MAXIMUM_TENSORS {
            // Counted here, since before IR version 4 every stored tensor is an input as well.
            return Err(too_many("inputs"));
        }
        Ok(signature)
    }

    /// Reads the nodes and stored tensors of a `GraphProto`.
    fn graph(&mut self, bytes: &'a [u8], depth: usize) -> Result<(), ConfigError> {
        if depth > MAXIMUM_DEPTH {
            return Err(damaged(format!("graphs are nested deeper than the maximum of `{MAXIMUM_DEPTH}`")));
        }
        for field in fields(bytes) {
            let field = field?;
            match field.number {
                1 => self.node(field.value.bytes()?, depth)?,
                5 => self.tensor(field.value.bytes()?)?,
                15 => self.sparse_tensor(field.value.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a `NodeProto`.
    fn node(&mut self, bytes: &'a [u8], depth: usize) -> Result<(), ConfigError> {
        let (mut domain, mut op_type) = ("", "");
        for field in fields(bytes) {
            let field = field?;
            match field.number {
                4 => op_type = field.value.text()?,
                5 => self.attribute(field.value.bytes()?, depth)?,
                7 => domain = standard_domain(field.value.text()?),
                _ => {}
            }
        }
        if op_type.is_empty() {
            return Err(damaged("a node has no operator type"));
        }
        self.operators.insert((domain, op_type));
        Ok(())
    }

    /// Reads an `AttributeProto`: only what may hold graphs or tensors.
    fn attribute(&mut self, bytes: &'a [u8], depth: usize) -> Result<(), ConfigError> {
        for field in fields(bytes) {
            let field = field?;
            match field.number {
                5 | 10 => self.tensor(field.value.bytes()?)?,
                6 | 11 => self.graph(field.value.bytes()?, depth + 1)?,
                22 | 23 => self.sparse_tensor(field.value.bytes()?)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a `FunctionProto`.
    pub(super) fn function(&mut self, bytes: &'a [u8]) -> Result<(), ConfigError> {
        for field in fields(bytes) {
            let field = field?;
            match field.number {
                7 => self.node(field.value.bytes()?, 0)?,
                11 => self.attribute(field.value.bytes()?, 0)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a `TrainingInfoProto`, whose graphs may name files as well.
    pub(super) fn training_info(&mut self, bytes: &'a [u8]) -> Result<(), ConfigError> {
        for field in fields(bytes) {
            let field = field?;
            if matches!(field.number, 1 | 2) {
                self.graph(field.value.bytes()?, 0)?;
            }
        }
        Ok(())
    }

    /// Reads where a `TensorProto` is stored; its data are skipped.
    fn tensor(&mut self, bytes: &'a [u8]) -> Result<(), ConfigError> {
        for field in fields(bytes) {
            let field = field?;
            if field.number == 13
                && let ("location", location) = string_entry(field.value.bytes()?)?
            {
                self.external_data.insert(location);
            }
        }
        Ok(())
    }

    /// Reads a `SparseTensorProto`.
    fn sparse_tensor(&mut self, bytes: &'a [u8]) -> Result<(), ConfigError> {
        for field in fields(bytes) {
            let field = field?;
            if matches!(field.number, 1 | 2) {
                self.tensor(field.value.bytes()?)?;
            }
        }
        Ok(())
    }
}

fn too_many(what: &str) -> ConfigError {
    damaged(format!("the graph has more than the maximum of `{MAXIMUM_TENSORS}` {what}"))
}

/// Name of a `TensorProto`.
fn tensor_name(bytes: &[u8]) -> Result<&str, ConfigError> {
    let mut name = "";
    for field in fields(bytes) {
        let field = field?;
        if field.number == 8 {
            name = field.value.text()?;
        }
    }
    Ok(name)
}

/// Name of a `SparseTensorProto`: that of its values.
fn sparse_tensor_name(bytes: &[u8]) -> Result<&str, ConfigError> {
    let mut name = "";
    for field in fields(bytes) {
        let field = field?;
        if field.number == 1 {
            name = tensor_name(field.value.bytes()?)?;
        }
    }
    Ok(name)
}

/// Key and value of a `StringStringEntryProto`.
fn string_entry(bytes: &[u8]) -> Result<(&str, &str), ConfigError> {
    let mut entry = ("", "");
    for field in fields(bytes) {
        let field = field?;
        match field.number {
            1 => entry.0 = field.value.text()?,
            2 => entry.1 = field.value.text()?,
            _ => {}
        }
    }
    Ok(entry)
}
