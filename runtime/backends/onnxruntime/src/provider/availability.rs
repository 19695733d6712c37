//! Whether providers can be had, and what to do where they cannot: the library's and the loader's texts turned into remedies.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

use std::ffi::{CStr, c_char, c_int};

use hanok_backend::{ErrorCode, ServingError};

use crate::failure::{Failure, check};

/// A provider that computes on GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Cuda,
    TensorRt,
}

impl Provider {
    const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "CUDA",
            Self::TensorRt => "TensorRT",
        }
    }
}

/// Whether the opened library was built with the CUDA provider; says nothing of what that provider needs.
pub(crate) fn is_built_with_cuda() -> bool {
    let api = ort::api();
    let (mut names, mut count): (*mut *mut c_char, c_int) = (std::ptr::null_mut(), 0);
    // SAFETY: writes an array and its length to locals.
    if check(unsafe { (api.GetAvailableProviders)(&raw mut names, &raw mut count) }).is_err() {
        return false;
    }
    let length = usize::try_from(count).unwrap_or(0);
    let found = (0..length).any(|index| {
        // SAFETY: the array has that many C strings.
        let name = unsafe { CStr::from_ptr(*names.add(index)) };
        name == c"CUDAExecutionProvider"
    });
    // SAFETY: the array came from the call above and is released once. Nobody needs to know of a failure.
    let released = check(unsafe { (api.ReleaseAvailableProviders)(names, count) });
    released.is_ok() && found
}

/// The error of a provider that could not be added, with what is missing and how to get it.
pub(crate) fn unusable(provider: Provider, failure: Failure) -> ServingError {
    let name = provider.name();
    let message = match missing_library(&failure.message) {
        Some(library) if library.starts_with("libcuda.so") => format!(
            "ONNX Runtime's {name} provider needs the NVIDIA driver, and `{library}` was not found: use KIND_CPU on a machine \
             without a GPU"
        ),
        Some(library) if library.starts_with("libnvinfer") || library.starts_with("libnvonnxparser") => format!(
            "ONNX Runtime's {name} provider needs TensorRT 10, and `{library}` was not found: install it and name its folder \
             in LD_LIBRARY_PATH, or leave the accelerator `tensorrt` out"
        ),
        Some(library) if library.starts_with("libonnxruntime_providers") => format!(
            "ONNX Runtime's {name} provider `{library}` does not lie beside the library: `pip install onnxruntime-gpu` has \
             both; name its library with --backend-config=onnxruntime,library=PATH"
        ),
        Some(library) => format!(
            "ONNX Runtime's {name} provider needs the CUDA 13 libraries, and `{library}` was not found: install them (such as \
             `pip install nvidia-cublas nvidia-cuda-runtime nvidia-cudnn-cu13`) and name their folders in LD_LIBRARY_PATH"
        ),
        None if is_left_out(&failure.message) => format!(
            "this ONNX Runtime is built without the {name} provider: `pip install onnxruntime-gpu`, and name its library with \
             --backend-config=onnxruntime,library=PATH"
        ),
        None => format!("ONNX Runtime's {name} provider could not be started"),
    };
    ServingError::new(ErrorCode::Unavailable, message).with_operator_detail(failure.message)
}

fn is_left_out(text: &str) -> bool {
    text.contains("is not enabled in this build") || text.contains("is not supported in this build")
}

/// The library that the system's loader did not find, of `...: NAME: cannot open shared object file`.
fn missing_library(text: &str) -> Option<&str> {
    let before = text.split(": cannot open shared object file").next().filter(|before| before.len() < text.len())?;
    let name = before.rsplit([' ', '/']).next()?;
    (name.starts_with("lib") && name.contains(".so")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(provider: Provider, text: &str) -> String {
        unusable(provider, Failure::other(text)).message().to_owned()
    }

    /// Texts as ONNX Runtime 1.31.1 gives them, with a folder put in.
    #[test]
    fn what_is_missing_has_a_remedy_and_no_path() {
        let built = message(Provider::Cuda, "CUDA execution provider is not enabled in this build. ");
        assert!(
            built.starts_with("this ONNX Runtime is built without the CUDA provider: `pip install onnxruntime-gpu`")
        );
        let load = |library: &str| {
            format!(
                "/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1 Failed to load library \
                 /srv/lib/libonnxruntime_providers_cuda.so with error: {library}: cannot open shared object file: No such \
                 file or directory"
            )
        };
        assert!(message(Provider::Cuda, &load("libcublasLt.so.13")).contains("and `libcublasLt.so.13` was not found"));
        assert!(message(Provider::Cuda, &load("libcuda.so.1")).contains("needs the NVIDIA driver"));
        assert!(message(Provider::TensorRt, &load("libnvinfer.so.10")).contains("needs TensorRT 10"));
        let beside = load("/srv/lib/libonnxruntime_providers_cuda.so");
        assert!(message(Provider::Cuda, &beside).contains("`libonnxruntime_providers_cuda.so` does not lie beside"));
        for text in [built, message(Provider::Cuda, &beside), message(Provider::Cuda, "CUDA failure 35: x")] {
            assert!(!text.contains("/srv"), "{text}");
        }
    }
}
