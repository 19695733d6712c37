//! Tensors in memory that a client lent by name (shared memory, of the system or of CUDA): where they lie, and how they come to the host.
//!
//! Knows no driver: whoever keeps the regions implements [`RegionMemory`]. A request holds what it names, so that a region
//! that is forgotten meanwhile stays until the request is done. The client may write to its memory at any time: what is
//! read is copied once, and checked after that.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hanok_model_config::ModelConfig;
use hanok_tensor::{DataType, count_bytes_elements};
use smallvec::SmallVec;

use crate::{InferenceRequest, InferenceResponse, ServingError};

/// A place in the memory of a device, valid while the region is held and no longer than the device's context lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevicePlace {
    /// Ordinal of the device.
    pub ordinal: u32,
    /// Address in its memory.
    pub address: u64,
}

/// Memory that a client lent.
pub trait RegionMemory: Send + Sync + fmt::Debug {
    /// Where it begins, for those who execute on that device.
    ///
    /// # Errors
    /// `Unavailable` when the memory was lost with its device's context; `Internal` for memory of the host.
    fn place(&self) -> Result<DevicePlace, ServingError>;

    /// The GPU that it lies on, whatever became of its context; none for memory of the host. Asks nobody.
    fn ordinal(&self) -> Option<u32>;

    /// Copies from `offset` on into `bytes`; blocks until they are there. The range lies within the region.
    ///
    /// # Errors
    /// `Unavailable` as above, `ResourceExhausted` when there is no memory for staging, `Internal` when the device refuses.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ServingError>;

    /// Copies `bytes` to the place at `offset`, likewise.
    ///
    /// # Errors
    /// As [`RegionMemory::read`].
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), ServingError>;
}

/// A checked part of a region.
#[derive(Clone, Debug)]
pub struct RegionSlice {
    memory: Arc<dyn RegionMemory>,
    offset: u64,
    length: usize,
}

impl RegionSlice {
    /// The `length` bytes from `offset` on, which lie within `memory`.
    #[must_use]
    pub fn new(memory: Arc<dyn RegionMemory>, offset: u64, length: usize) -> Self {
        Self { memory, offset, length }
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The GPU that it lies on, if it is on one.
    #[must_use]
    pub fn ordinal(&self) -> Option<u32> {
        self.memory.ordinal()
    }

    /// Where it begins on its device.
    ///
    /// # Errors
    /// `Unavailable` when it was lost with the device's context.
    pub fn place(&self) -> Result<DevicePlace, ServingError> {
        let DevicePlace { ordinal, address } = self.memory.place()?;
        Ok(DevicePlace { ordinal, address: address.saturating_add(self.offset) })
    }

    /// Its bytes, copied to the host; blocks.
    ///
    /// # Errors
    /// As [`RegionMemory::read`].
    pub fn read(&self) -> Result<Bytes, ServingError> {
        let mut bytes = vec![0; self.length];
        self.memory.read(self.offset, &mut bytes)?;
        Ok(Bytes::from(bytes))
    }

    /// Writes `bytes`, at most its length, to its begin; blocks.
    ///
    /// # Errors
    /// As [`RegionMemory::write`]; `Internal` when they are more.
    pub fn write(&self, bytes: &[u8]) -> Result<(), ServingError> {
        if bytes.len() > self.length {
            return Err(ServingError::internal(
                "more bytes than a part of a shared memory region has were to be written",
            ));
        }
        if bytes.is_empty() { Ok(()) } else { self.memory.write(self.offset, bytes) }
    }
}

/// Where the client wants an output.
#[derive(Clone, Debug)]
pub struct RegionOutput {
    /// Index in the model's configuration.
    pub index: u16,
    /// Configured name, for the refusal.
    pub name: Box<str>,
    /// Where.
    pub slice: RegionSlice,
}

impl RegionOutput {
    /// The refusal of an output of `bytes`, when it does not fit (W-63).
    ///
    /// # Errors
    /// `Internal`, as in Triton.
    pub fn check_room(&self, bytes: usize) -> Result<(), ServingError> {
        if bytes <= self.slice.length {
            return Ok(());
        }
        Err(ServingError::internal(format!(
            "shared memory size specified with the request for output '{}' ({} bytes) should be at least {bytes} bytes to \
             hold the results",
            self.name, self.slice.length
        )))
    }
}

/// The tensors of a request that lie in regions. Their entries among the request's inputs have a shape and no bytes.
#[derive(Clone, Debug, Default)]
pub struct RequestRegions {
    /// Inputs, by index in the configuration.
    pub inputs: SmallVec<[(u16, RegionSlice); 2]>,
    /// Outputs.
    pub outputs: SmallVec<[RegionOutput; 2]>,
}

impl RequestRegions {
    /// Where the input at `index` lies, if it is in a region.
    #[must_use]
    pub fn input(&self, index: usize) -> Option<&RegionSlice> {
        self.inputs.iter().find(|(at, _)| usize::from(*at) == index).map(|(_, slice)| slice)
    }

    /// Where the output at `index` is wanted, if in a region.
    #[must_use]
    pub fn output(&self, index: usize) -> Option<&RegionOutput> {
        self.outputs.iter().find(|output| usize::from(output.index) == index)
    }

    /// Brings the outputs of `response` to their regions, but for those at `placed`, which are there; blocks until done.
    pub(crate) fn deliver(&self, response: &mut InferenceResponse, placed: &[u16]) -> Result<(), ServingError> {
        for output in &self.outputs {
            let Some(Some(tensor)) = response.outputs.get_mut(usize::from(output.index)) else { continue };
            if !placed.contains(&output.index) {
                output.check_room(tensor.data.len())?;
                output.slice.write(&tensor.data)?;
            }
            tensor.data = Bytes::new();
        }
        Ok(())
    }
}

/// Whether a tensor in a region is left to an instance that reads the region's GPU by itself. Of others it is the bytes that
/// must be looked at, where the client cannot change them any more.
fn may_stay(data_type: DataType) -> bool {
    !matches!(data_type, DataType::Bytes | DataType::Bool)
}

impl InferenceRequest {
    /// Bytes of regions that [`InferenceRequest::fetch_regions`] brings to the host, at most: all but the tensors of numbers
    /// on GPUs of which `reads` says that whichever instance executes reads them by itself.
    #[must_use]
    pub fn fetched_bytes(&self, config: &ModelConfig, reads: impl Fn(u32) -> bool) -> usize {
        let Some(regions) = &self.regions else { return 0 };
        let of = |(index, slice): &(u16, RegionSlice)| {
            let stays = config.inputs.get(usize::from(*index)).is_some_and(|spec| may_stay(spec.data_type));
            if stays && slice.ordinal().is_some_and(&reads) { 0 } else { slice.length() }
        };
        regions.inputs.iter().map(of).fold(0, usize::saturating_add)
    }

    /// Brings inputs from regions to the host, but for those that an instance on the GPU `device` reads by itself: there,
    /// tensors of numbers stay where they are. Blocks while they are copied.
    ///
    /// # Errors
    /// As [`RegionMemory::read`]; `InvalidArgument` for bytes that are no tensor of BYTES of the input's shape.
    pub fn fetch_regions(&mut self, config: &ModelConfig, device: Option<u32>) -> Result<(), ServingError> {
        let Some(regions) = &mut self.regions else { return Ok(()) };
        let mut kept: SmallVec<[(u16, RegionSlice); 2]> = SmallVec::new();
        for (index, slice) in regions.inputs.drain(..) {
            let (Some(spec), Some(Some(input))) =
                (config.inputs.get(usize::from(index)), self.inputs.get_mut(usize::from(index)))
            else {
                continue;
            };
            if may_stay(spec.data_type) && device.is_some() && slice.ordinal() == device {
                slice.place()?;
                kept.push((index, slice));
                continue;
            }
            input.data = slice.read()?;
            let elements = || input.shape.element_count().ok();
            if spec.data_type == DataType::Bytes && count_bytes_elements(&input.data).ok() != elements() {
                return Err(ServingError::invalid(format!(
                    "the shared memory region of inference input '{}' for model '{}' holds no BYTES tensor of shape {}",
                    spec.name, config.name, input.shape
                )));
            }
        }
        regions.inputs = kept;
        Ok(())
    }
}
