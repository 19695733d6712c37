//! One loaded graph: its tensors' names and types, and the call that computes it.
//!
//! A session is shared by all instances on the processors: computing does not change it, and a second one would
//! double the memory of the weights.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

mod create;
mod external_data;
mod plan;
mod tensors;

use std::ffi::{CStr, c_char};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use ort::AsPointer;
use ort::session::SharedSessionInner;
use ort::sys;
use smallvec::SmallVec;

use crate::failure::{Failure, check};
use crate::value::Value;

pub(crate) use create::{CreateError, GpuPlace, Loaded, create, try_cuda};
pub(crate) use tensors::Feed;

/// Name of a tensor, in the form of the C API.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Name<'name> {
    pointer: *const c_char,
    name: PhantomData<&'name CStr>,
}

impl<'name> From<&'name CStr> for Name<'name> {
    fn from(name: &'name CStr) -> Self {
        Self { pointer: name.as_ptr(), name: PhantomData }
    }
}

/// Computes the graph.
///
/// An output that is `Some` is written in place, and must have the computed shape; one that is `None` comes back as a
/// value of the library. Outputs that are not named are not computed.
pub(crate) fn run(
    session: &Arc<SharedSessionInner>,
    options: &RunOptions,
    input_names: &[Name<'_>],
    inputs: &[Value<'_>],
    output_names: &[Name<'_>],
    mut outputs: SmallVec<[Option<Value<'_>>; 4]>,
) -> Result<SmallVec<[Option<Value<'static>>; 4]>, Failure> {
    if input_names.len() != inputs.len() || output_names.len() != outputs.len() {
        return Err(Failure::other("as many names as values are needed"));
    }
    let in_place: SmallVec<[bool; 4]> = outputs.iter().map(Option::is_some).collect();
    // SAFETY: the session is alive and computing on the processors is thread-safe; names and values are transparent
    // over the pointers that the call reads, and an absent output is a null pointer that the call replaces.
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            options.pointer.as_ptr(),
            input_names.as_ptr().cast(),
            inputs.as_ptr().cast(),
            inputs.len(),
            output_names.as_ptr().cast(),
            output_names.len(),
            outputs.as_mut_ptr().cast(),
        )
    };
    check(status)?;
    let values = outputs.into_iter().zip(in_place).map(|(value, in_place)| match value {
        // SAFETY: nothing was given for this output, so the library has allocated it.
        Some(value) if !in_place => Some(unsafe { value.into_library_memory() }),
        _ => None,
    });
    Ok(values.collect())
}

/// Options of every execution by one instance.
#[derive(Debug)]
pub(crate) struct RunOptions {
    pointer: NonNull<sys::OrtRunOptions>,
}

// SAFETY: the options belong to one instance and are only read by executions.
unsafe impl Send for RunOptions {}

impl RunOptions {
    /// Options with the given entries. A failed execution is reported by its result alone and not logged by the
    /// library as well, since clients can cause failures at will.
    pub(crate) fn new(entries: &[(std::ffi::CString, std::ffi::CString)]) -> Result<Self, Failure> {
        const ONLY_FATAL: i32 = sys::OrtLoggingLevel::ORT_LOGGING_LEVEL_FATAL as i32;
        let api = ort::api();
        let mut pointer = std::ptr::null_mut();
        // SAFETY: the call writes one pointer, to an object that is ours.
        check(unsafe { (api.CreateRunOptions)(&raw mut pointer) })?;
        let pointer = NonNull::new(pointer).ok_or_else(|| Failure::other("no run options were created"))?;
        let options = Self { pointer };
        // SAFETY: the options are alive.
        check(unsafe { (api.RunOptionsSetRunLogSeverityLevel)(pointer.as_ptr(), ONLY_FATAL) })?;
        for (key, value) in entries {
            // SAFETY: the options are alive; both texts are C strings, which the call copies.
            check(unsafe { (api.AddRunConfigEntry)(pointer.as_ptr(), key.as_ptr(), value.as_ptr()) })?;
        }
        Ok(options)
    }
}

impl Drop for RunOptions {
    fn drop(&mut self) {
        // SAFETY: the options are ours and are released once.
        unsafe { (ort::api().ReleaseRunOptions)(self.pointer.as_ptr()) }
    }
}
