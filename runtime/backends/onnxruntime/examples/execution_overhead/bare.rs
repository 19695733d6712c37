//! The library's call alone: a session of the same options, values made once, nothing else in the loop.

use std::ffi::CString;
use std::ptr::{null, null_mut};

use hanok_backend::conformance::{Fixture, Sample};
use hanok_tensor::DataType;
use ort::sys::{self, ONNXTensorElementDataType as Element};

/// A session with its values; everything lives until the process ends.
pub(crate) struct Bare {
    session: *mut sys::OrtSession,
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    inputs: Vec<*mut sys::OrtValue>,
    outputs: Vec<*mut sys::OrtValue>,
}

impl Bare {
    /// `None` for models with texts, whose values cannot be made once.
    pub(crate) fn new(fixture: &Fixture, sample: &Sample) -> Option<Self> {
        let config = &fixture.config;
        let specs = config.inputs.iter().zip(sample.inputs.iter().flatten());
        let inputs = specs.map(|(spec, tensor)| value(tensor.data.to_vec(), &tensor.shape, element(spec.data_type)?));
        let inputs = inputs.collect::<Option<Vec<_>>>()?;
        let outputs =
            sample.expected.iter().map(|tensor| value(tensor.data.to_vec(), &tensor.shape, element(tensor.data_type)?));
        let outputs = outputs.collect::<Option<Vec<_>>>()?;
        let name = |name: &String| CString::new(name.as_str()).expect("a name without zero bytes");
        let path = CString::new(fixture.source().model_file("model.onnx").to_str()?).ok()?;
        let api = ort::api();
        let (mut environment, mut options, mut session) = (null_mut(), null_mut(), null_mut());
        // SAFETY: texts are C strings; the library keeps one environment, which the first call has made.
        unsafe {
            let level = sys::OrtLoggingLevel::ORT_LOGGING_LEVEL_ERROR;
            succeeded((api.CreateEnv)(level, c"bare".as_ptr(), &raw mut environment));
            succeeded((api.CreateSessionOptions)(&raw mut options));
            succeeded((api.SetIntraOpNumThreads)(options, 1));
            succeeded((api.CreateSession)(environment, path.as_ptr(), options, &raw mut session));
        }
        Some(Self {
            session,
            input_names: config.inputs.iter().map(|spec| name(&spec.name)).collect(),
            output_names: config.outputs.iter().map(|spec| name(&spec.name)).collect(),
            inputs,
            outputs,
        })
    }

    pub(crate) fn run(&mut self) {
        let inputs: Vec<_> = self.input_names.iter().map(|name| name.as_ptr()).collect();
        let outputs: Vec<_> = self.output_names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: session, names and values are alive, and the arrays have the lengths that are passed.
        succeeded(unsafe {
            (ort::api().Run)(
                self.session,
                null(),
                inputs.as_ptr(),
                self.inputs.as_ptr().cast(),
                inputs.len(),
                outputs.as_ptr(),
                outputs.len(),
                self.outputs.as_mut_ptr(),
            )
        });
    }
}

fn succeeded(status: sys::OrtStatusPtr) {
    assert!(status.0.is_null(), "a call of the library failed");
}

fn value(buffer: Vec<u8>, shape: &[i64], element: Element) -> Option<*mut sys::OrtValue> {
    let api = ort::api();
    let buffer = buffer.leak();
    let (mut info, mut value) = (null_mut(), null_mut());
    // SAFETY: the buffer is never freed; shape pointer and length belong together.
    unsafe {
        let allocator = sys::OrtAllocatorType::OrtDeviceAllocator;
        succeeded((api.CreateCpuMemoryInfo)(allocator, sys::OrtMemType::OrtMemTypeDefault, &raw mut info));
        let data = buffer.as_mut_ptr().cast();
        succeeded((api.CreateTensorWithDataAsOrtValue)(
            info,
            data,
            buffer.len(),
            shape.as_ptr(),
            shape.len(),
            element,
            &raw mut value,
        ));
    }
    Some(value)
}

fn element(data_type: DataType) -> Option<Element> {
    match data_type {
        DataType::Fp32 => Some(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
        DataType::Int32 => Some(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32),
        DataType::Int64 => Some(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
        DataType::Int8 => Some(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8),
        DataType::Fp16 => Some(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
        DataType::Bool => Some(Element::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL),
        _ => None,
    }
}
