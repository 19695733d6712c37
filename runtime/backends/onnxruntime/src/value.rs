//! Tensors in the form in which ONNX Runtime takes and gives them.
//!
//! A [`Value`] over memory of ours borrows it: the library reads inputs and writes outputs in place. The invariant:
//! no value outlives the memory that it is over.

#![allow(unsafe_code, reason = "the C API of ONNX Runtime")]

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;

use hanok_tensor::{AlignedBuffer, BytesElements, DataType, Shape};
use ort::sys;

use crate::element_type;
use crate::failure::{Failure, check};
use crate::library::Library;

/// A tensor of the library, over memory that lives for `'memory`.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Value<'memory> {
    pointer: NonNull<sys::OrtValue>,
    memory: PhantomData<&'memory mut [u8]>,
}

impl Drop for Value<'_> {
    fn drop(&mut self) {
        // SAFETY: the value is ours and is released once.
        unsafe { (ort::api().ReleaseValue)(self.pointer.as_ptr()) }
    }
}

fn owned<'memory>(pointer: *mut sys::OrtValue) -> Result<Value<'memory>, Failure> {
    let pointer = NonNull::new(pointer).ok_or_else(|| Failure::other("no value was created"))?;
    Ok(Value { pointer, memory: PhantomData })
}

impl<'memory> Value<'memory> {
    /// An input over `data`, which must be as long as `shape` and `data_type` say; the library checks that it is.
    pub(crate) fn input(
        library: &Library,
        data_type: DataType,
        shape: &Shape,
        data: &'memory [u8],
    ) -> Result<Self, Failure> {
        // SAFETY: the library never writes to an input; the memory outlives the value by its lifetime.
        unsafe { Self::over(library.memory_info(), data_type, shape, data.as_ptr().cast_mut(), data.len()) }
    }

    /// An output that the library writes into `buffer`.
    pub(crate) fn output(
        library: &Library,
        data_type: DataType,
        shape: &Shape,
        buffer: &'memory mut AlignedBuffer,
    ) -> Result<Self, Failure> {
        let length = buffer.len();
        // SAFETY: the buffer is borrowed exclusively for as long as the value lives.
        unsafe { Self::over(library.memory_info(), data_type, shape, buffer.as_mut_ptr(), length) }
    }

    /// A tensor over memory that `info` describes, such as a device's.
    ///
    /// # Safety
    /// `length` bytes at `address` in that memory live for `'memory`, and are writable if the value is used as an output.
    pub(crate) unsafe fn over_memory(
        info: &MemoryInfo,
        data_type: DataType,
        shape: &Shape,
        address: u64,
        length: usize,
    ) -> Result<Self, Failure> {
        let address = usize::try_from(address).map_err(|_| Failure::other("an address does not fit this machine"))?;
        let data = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: by the caller's promise.
        unsafe { Self::over(info.pointer.as_ptr(), data_type, shape, data, length) }
    }

    /// # Safety
    /// `length` bytes at `data`, in memory that `info` describes, live for `'memory`, and are writable if the value is used
    /// as an output.
    unsafe fn over(
        info: *const sys::OrtMemoryInfo,
        data_type: DataType,
        shape: &Shape,
        data: *mut u8,
        length: usize,
    ) -> Result<Self, Failure> {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: by the caller's promise; shape pointer and length belong together.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                info,
                data.cast::<c_void>(),
                length,
                shape.as_ptr(),
                shape.len(),
                element_type::of(data_type),
                &raw mut pointer,
            )
        };
        check(status)?;
        owned(pointer)
    }

    /// A string tensor with the elements of `data`, an encoded `BYTES` tensor of as many elements as `shape` says.
    pub(crate) fn strings(library: &Library, shape: &Shape, data: &[u8]) -> Result<Value<'static>, Failure> {
        let mut pointer = std::ptr::null_mut();
        // SAFETY: shape pointer and length belong together; the allocator lives as long as the process.
        let status = unsafe {
            (ort::api().CreateTensorAsOrtValue)(
                library.allocator(),
                shape.as_ptr(),
                shape.len(),
                element_type::of(DataType::Bytes),
                &raw mut pointer,
            )
        };
        check(status)?;
        let value = owned(pointer)?;
        for (index, element) in BytesElements::new(data).enumerate() {
            let element = element.map_err(|error| Failure::other(error.to_string()))?;
            let mut buffer = std::ptr::null_mut();
            // SAFETY: the value is a string tensor; the call checks the index and gives room for that many bytes.
            let status = unsafe {
                (ort::api().GetResizedStringTensorElementBuffer)(
                    value.pointer.as_ptr(),
                    index,
                    element.len(),
                    &raw mut buffer,
                )
            };
            check(status)?;
            if !element.is_empty() {
                // SAFETY: the buffer has room for `element.len()` bytes and is not part of `data`.
                unsafe { std::ptr::copy_nonoverlapping(element.as_ptr(), buffer.cast::<u8>(), element.len()) };
            }
        }
        Ok(value)
    }

    /// The value, free of the borrow that its type was created under.
    ///
    /// # Safety
    /// The value is over memory of the library's own.
    pub(crate) unsafe fn into_library_memory(self) -> Value<'static> {
        let value = std::mem::ManuallyDrop::new(self);
        Value { pointer: value.pointer, memory: PhantomData }
    }

    /// The shape, and the data type where the protocol has it.
    pub(crate) fn data_type_and_shape(&self) -> Result<(Option<DataType>, Shape), Failure> {
        let api = ort::api();
        let mut info = std::ptr::null_mut();
        // SAFETY: the value is alive; the call gives an object that is ours to free.
        check(unsafe { (api.GetTensorTypeAndShape)(self.pointer.as_ptr(), &raw mut info) })?;
        let info = TensorInfo(info);
        let mut number: i32 = 0;
        // SAFETY: the object is alive; the enumeration is an `i32` in C, and a newer library may give a number that
        // the Rust enumeration lacks, so it is read as one.
        check(unsafe { (api.GetTensorElementType)(info.0, (&raw mut number).cast()) })?;
        let mut rank = 0;
        // SAFETY: the object is alive.
        check(unsafe { (api.GetDimensionsCount)(info.0, &raw mut rank) })?;
        let mut shape: Shape = std::iter::repeat_n(0, rank).collect();
        // SAFETY: the object is alive and there is room for `rank` numbers.
        check(unsafe { (api.GetDimensions)(info.0, shape.as_mut_ptr(), rank) })?;
        Ok((element_type::from_number(number), shape))
    }

    /// The bytes of a tensor of fixed-size elements; `length` is what its shape and data type say.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&[u8], Failure> {
        let mut data = std::ptr::null_mut();
        // SAFETY: the value is alive and no string tensor.
        check(unsafe { (ort::api().GetTensorMutableData)(self.pointer.as_ptr(), &raw mut data) })?;
        if length == 0 || data.is_null() {
            return Ok(&[]);
        }
        // SAFETY: a tensor of this shape and type has that many initialised bytes there, for as long as it lives.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) })
    }

    /// The elements of a string tensor of `count` elements, as an encoded `BYTES` tensor.
    pub(crate) fn encoded_strings(&self, count: usize) -> Result<Vec<u8>, Failure> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let api = ort::api();
        let mut length = 0;
        // SAFETY: the value is alive; the call refuses what is no string tensor.
        check(unsafe { (api.GetStringTensorDataLength)(self.pointer.as_ptr(), &raw mut length) })?;
        let mut content = vec![0_u8; length];
        let mut offsets = vec![0_usize; count];
        // SAFETY: both arrays have the lengths that are passed.
        check(unsafe {
            (api.GetStringTensorContent)(
                self.pointer.as_ptr(),
                content.as_mut_ptr().cast::<c_void>(),
                length,
                offsets.as_mut_ptr(),
                count,
            )
        })?;
        let mut encoded = Vec::with_capacity(length + 4 * count);
        let ends = offsets.iter().skip(1).copied().chain([length]);
        for (&start, end) in offsets.iter().zip(ends) {
            let element = content.get(start..end).ok_or_else(|| Failure::other("string offsets are out of order"))?;
            hanok_tensor::push_bytes_element(&mut encoded, element);
        }
        Ok(encoded)
    }
}

/// What the library calls a kind of memory.
#[derive(Debug)]
pub(crate) struct MemoryInfo {
    pointer: NonNull<sys::OrtMemoryInfo>,
}

// SAFETY: the description is immutable.
unsafe impl Send for MemoryInfo {}
// SAFETY: as above.
unsafe impl Sync for MemoryInfo {}

impl MemoryInfo {
    /// Memory of the CUDA device at `ordinal`.
    pub(crate) fn cuda(ordinal: u32) -> Result<Self, Failure> {
        Self::named(c"Cuda", ordinal)
    }

    /// Ordinary memory, for what must be tried without a GPU.
    #[cfg(test)]
    pub(crate) fn host() -> Result<Self, Failure> {
        Self::named(c"Cpu", 0)
    }

    fn named(name: &std::ffi::CStr, ordinal: u32) -> Result<Self, Failure> {
        let mut pointer = std::ptr::null_mut();
        let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
        // SAFETY: the name is a C string, which the call copies; writes one pointer to a local.
        check(unsafe {
            (ort::api().CreateMemoryInfo)(
                name.as_ptr(),
                sys::OrtAllocatorType::OrtDeviceAllocator,
                ordinal,
                sys::OrtMemType::OrtMemTypeDefault,
                &raw mut pointer,
            )
        })?;
        let pointer = NonNull::new(pointer).ok_or_else(|| Failure::other("no description of memory was created"))?;
        Ok(Self { pointer })
    }
}

impl Drop for MemoryInfo {
    fn drop(&mut self) {
        // SAFETY: ours, released once; no value keeps it.
        unsafe { (ort::api().ReleaseMemoryInfo)(self.pointer.as_ptr()) }
    }
}

struct TensorInfo(*mut sys::OrtTensorTypeAndShapeInfo);

impl Drop for TensorInfo {
    fn drop(&mut self) {
        // SAFETY: the object is ours and is released once.
        unsafe { (ort::api().ReleaseTensorTypeAndShapeInfo)(self.0) }
    }
}
