//! Hands providers to a session's options, through the library's C interface.
//!
//! The library opens a provider's own library here, the first time, with everything that it needs (cuBLAS, cuDNN, the
//! driver): what is missing is told by the system's loader, and comes back as an error.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

use std::ffi::{CString, c_char, c_void};

use ort::sys;

use super::Options;
use crate::failure::{Failure, check};

/// Where a session on a GPU computes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    /// The device's ordinal.
    pub(crate) ordinal: u32,
    /// The CUDA stream of the session's one instance; null for one of the library's own.
    pub(crate) stream: *mut c_void,
}

/// The calls that make, fill, hand over and release the options `T` of one provider.
struct Calls<T> {
    create: unsafe extern "system" fn(*mut *mut T) -> sys::OrtStatusPtr,
    update: unsafe extern "system" fn(*mut T, *const *const c_char, *const *const c_char, usize) -> sys::OrtStatusPtr,
    update_with_value: unsafe extern "system" fn(*mut T, *const c_char, *mut c_void) -> sys::OrtStatusPtr,
    append: unsafe extern "system" fn(*mut sys::OrtSessionOptions, *const T) -> sys::OrtStatusPtr,
    release: unsafe extern "system" fn(*mut T),
}

/// Adds the TensorRT provider. It is to be added before CUDA.
///
/// # Safety
/// `session` is alive; the seat's stream is null or belongs to its device and outlives every session made of these options.
pub(crate) unsafe fn append_tensorrt(
    session: *mut sys::OrtSessionOptions,
    options: &Options,
    seat: Seat,
) -> Result<(), Failure> {
    let api = ort::api();
    let calls = Calls {
        create: api.CreateTensorRTProviderOptions,
        update: api.UpdateTensorRTProviderOptions,
        update_with_value: api.UpdateTensorRTProviderOptionsWithValue,
        append: api.SessionOptionsAppendExecutionProvider_TensorRT_V2,
        release: api.ReleaseTensorRTProviderOptions,
    };
    // SAFETY: the library's own calls for one kind of options; the rest is the caller's promise.
    unsafe { append(&calls, session, options, seat) }
}

/// Adds the CUDA provider.
///
/// # Safety
/// As for [`append_tensorrt`].
pub(crate) unsafe fn append_cuda(
    session: *mut sys::OrtSessionOptions,
    options: &Options,
    seat: Seat,
) -> Result<(), Failure> {
    let api = ort::api();
    let calls = Calls {
        create: api.CreateCUDAProviderOptions,
        update: api.UpdateCUDAProviderOptions,
        update_with_value: api.UpdateCUDAProviderOptionsWithValue,
        append: api.SessionOptionsAppendExecutionProvider_CUDA_V2,
        release: api.ReleaseCUDAProviderOptions,
    };
    // SAFETY: the library's own calls for one kind of options; the rest is the caller's promise.
    unsafe { append(&calls, session, options, seat) }
}

/// Adds the provider whose calls these are.
///
/// # Safety
/// As for [`append_tensorrt`]; the calls are the library's, all for the same kind of options.
unsafe fn append<T>(
    calls: &Calls<T>,
    session: *mut sys::OrtSessionOptions,
    options: &Options,
    seat: Seat,
) -> Result<(), Failure> {
    let mut pointer = std::ptr::null_mut();
    // SAFETY: writes one pointer to a local.
    check(unsafe { (calls.create)(&raw mut pointer) })?;
    let appended = Strings::new(options, seat.ordinal).and_then(|strings| {
        let (names, values, count) = strings.parts();
        // SAFETY: the options are alive; names and values are C strings, as many as said, which the call copies.
        check(unsafe { (calls.update)(pointer, names, values, count) })?;
        if !seat.stream.is_null() {
            let key = c"user_compute_stream".as_ptr();
            // SAFETY: the options are alive; the stream is the caller's promise.
            check(unsafe { (calls.update_with_value)(pointer, key, seat.stream) })?;
        }
        // SAFETY: both objects are alive.
        check(unsafe { (calls.append)(session, pointer) })
    });
    // SAFETY: ours, released once.
    unsafe { (calls.release)(pointer) };
    appended
}

/// Names and values as the C interface takes them.
struct Strings {
    texts: Vec<(CString, CString)>,
    names: Vec<*const c_char>,
    values: Vec<*const c_char>,
}

impl Strings {
    fn new(options: &Options, ordinal: u32) -> Result<Self, Failure> {
        let text = |text: &str| CString::new(text).map_err(|_| Failure::other("a provider's option holds a zero byte"));
        let mut texts = vec![(c"device_id".to_owned(), text(&ordinal.to_string())?)];
        for (name, value) in options {
            texts.push((text(name)?, text(value)?));
        }
        // The characters lie on the heap and stay where they are when the vector grows or moves.
        let names = texts.iter().map(|(name, _)| name.as_ptr()).collect();
        let values = texts.iter().map(|(_, value)| value.as_ptr()).collect();
        Ok(Self { texts, names, values })
    }

    fn parts(&self) -> (*const *const c_char, *const *const c_char, usize) {
        (self.names.as_ptr(), self.values.as_ptr(), self.texts.len())
    }
}
