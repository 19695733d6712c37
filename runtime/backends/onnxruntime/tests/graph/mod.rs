//! Small ONNX files for tests, written by hand: just enough of the protobuf encoding.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use hanok_backend::conformance::Fixture;
use hanok_tensor::DataType;

/// A message in the making.
#[derive(Clone, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }

    pub(crate) fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub(crate) fn message(self, field: u64, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }
}

/// The number of `data_type` in ONNX.
pub(crate) fn onnx_type(data_type: DataType) -> u64 {
    match data_type {
        DataType::Fp32 => 1,
        DataType::Uint8 => 2,
        DataType::Int8 => 3,
        DataType::Uint16 => 4,
        DataType::Int16 => 5,
        DataType::Int32 => 6,
        DataType::Int64 => 7,
        DataType::Bytes => 8,
        DataType::Bool => 9,
        DataType::Fp16 => 10,
        DataType::Fp64 => 11,
        DataType::Uint32 => 12,
        DataType::Uint64 => 13,
        DataType::Bf16 => 16,
    }
}

/// Type of a tensor; a dimension of `None` varies.
pub(crate) fn tensor_type(data_type: DataType, dims: &[Option<u64>]) -> Message {
    let shape = dims.iter().enumerate().fold(Message::default(), |shape, (index, dim)| {
        let dim = match dim {
            Some(value) => Message::default().number(1, *value),
            None => Message::default().bytes(2, format!("d{index}")),
        };
        shape.message(1, &dim)
    });
    Message::default().message(1, &Message::default().number(1, onnx_type(data_type)).message(2, &shape))
}

/// A named graph input or output.
pub(crate) fn value(name: &str, value_type: &Message) -> Message {
    Message::default().bytes(1, name).message(2, value_type)
}

/// An operator.
pub(crate) fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, name| node.bytes(1, name));
    outputs.iter().fold(node, |node, name| node.bytes(2, name)).bytes(4, op_type)
}

/// A graph with stored values, as the bytes of a model file.
pub(crate) fn model(nodes: &[Message], stored: &[Message], inputs: &[Message], outputs: &[Message]) -> Vec<u8> {
    let graph = nodes.iter().fold(Message::default(), |graph, node| graph.message(1, node)).bytes(2, "test");
    let graph = stored.iter().fold(graph, |graph, tensor| graph.message(5, tensor));
    let graph = inputs.iter().fold(graph, |graph, input| graph.message(11, input));
    let graph = outputs.iter().fold(graph, |graph, output| graph.message(12, output));
    let opset = Message::default().bytes(1, "").number(2, 17);
    Message::default().number(1, 8).message(7, &graph).message(8, &opset).0
}

/// A model's folder in the temporary folder, removed at the end.
pub(crate) struct ModelFolder {
    pub(crate) path: PathBuf,
}

impl ModelFolder {
    pub(crate) fn new(model: &[u8]) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hanok-graphs-{}-{number}", std::process::id())).join("model");
        std::fs::create_dir_all(path.join("1")).unwrap();
        std::fs::write(path.join("1/model.onnx"), model).unwrap();
        Self { path }
    }

    /// A fixture of this folder with the given `config.pbtxt`.
    pub(crate) fn fixture(&self, config: &str) -> Fixture {
        let mut fixture = Fixture::from_config_text("model", config).unwrap();
        fixture.model_directory = self.path.clone();
        fixture.model_file = Some("model.onnx".to_owned());
        fixture
    }
}

impl Drop for ModelFolder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(self.path.parent().unwrap()));
    }
}
