//! Device memory of clients on this machine, made known by its driver handle (CUDA shared memory, W-62, W-63, W-91).
//!
//! **Experimental: no GPU has confirmed it.** Off unless the server uses GPUs. Instances on a region's GPU read and write it
//! by themselves; everybody else gets it through pinned memory here. A region that is unregistered stays open until the
//! requests that name it are done. One whose GPU's context was lost is refused from then on: what was mapped is gone.
//!
//! Invariant: nothing is asked of the driver under the lock of the names, so that no request that looks one up waits for it.

#![allow(unsafe_code, reason = "device memory is named by address")]

#[cfg(test)]
#[path = "cuda_regions_tests.rs"]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hanok_backend::{DevicePlace, ErrorCode, RegionMemory, RegionSlice, ServingError};
use hanok_devices::{Context, DeviceError, HostTransfer, IpcMapping, PinnedPool, Severity};
use hanok_protocol::v2_http::{CudaRegion, CudaRegionRequest};
use hanok_protocol::{NoRegions, RegionLookup, SharedMemoryRange};
use hanok_repository::GpuDevices;
use parking_lot::Mutex;

/// Most regions: each holds a mapping of the driver.
const MOST_REGIONS: usize = 1024;

/// Names that Triton keeps for its Python backend (W-64).
pub(crate) const RESERVED: &str = "triton_python_backend_shm_region";

/// The regions that clients registered.
#[derive(Debug)]
pub struct CudaRegions {
    names: Mutex<Names>,
    /// By ordinal: what brings regions to the host, in the context in which it was made.
    transfers: Mutex<BTreeMap<u32, Arc<Mutex<HostTransfer>>>>,
    pinned: Arc<PinnedPool>,
}

#[derive(Debug, Default)]
struct Names {
    open: BTreeMap<String, Arc<Region>>,
    /// Taken, while the driver opens them: known to nobody who looks for a region.
    opening: BTreeSet<String>,
}

impl Names {
    /// Takes `name` for a region that is to be opened.
    fn take(&mut self, name: &str) -> Result<(), ServingError> {
        if self.open.contains_key(name) || self.opening.contains(name) {
            return Err(already_there(name));
        }
        if self.open.len() + self.opening.len() >= MOST_REGIONS {
            return Err(ServingError::new(
                ErrorCode::ResourceExhausted,
                format!("expected at most `{MOST_REGIONS}` shared memory regions; unregister some"),
            ));
        }
        self.opening.insert(name.to_owned());
        Ok(())
    }
}

/// The refusal of a name that is a region's already, of either kind.
pub(crate) fn already_there(name: &str) -> ServingError {
    let name = name.escape_debug();
    ServingError::new(ErrorCode::AlreadyExists, format!("shared memory region '{name}' already in manager"))
}

/// A name that was taken; dropped, it is that of its region if there is one, and free else.
struct TakenName<'a> {
    regions: &'a CudaRegions,
    name: &'a str,
    region: Option<Region>,
}

impl Drop for TakenName<'_> {
    fn drop(&mut self) {
        let mut names = self.regions.names.lock();
        names.opening.remove(self.name);
        if let Some(region) = self.region.take() {
            names.open.insert(self.name.to_owned(), Arc::new(region));
        }
    }
}

#[derive(Debug)]
struct Region {
    ordinal: u32,
    byte_size: u64,
    mapping: IpcMapping,
    transfer: Arc<Mutex<HostTransfer>>,
}

impl RegionMemory for Region {
    fn place(&self) -> Result<DevicePlace, ServingError> {
        // An instance that executes keeps the context; whether it is still the region's is what is asked here.
        drop(self.mapping.context().hold().map_err(|error| failed(&error))?);
        Ok(DevicePlace { ordinal: self.ordinal, address: self.mapping.address() })
    }

    fn ordinal(&self) -> Option<u32> {
        Some(self.ordinal)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ServingError> {
        let mut transfer = self.transfer.lock();
        let _hold = self.mapping.context().hold().map_err(|error| failed(&error))?;
        // SAFETY: the range is within the mapping, as was checked when the request came; the mapping is open while `self`
        // lives, and its context is held.
        unsafe { transfer.read(self.mapping.address().saturating_add(offset), bytes) }.map_err(|error| failed(&error))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), ServingError> {
        let mut transfer = self.transfer.lock();
        let _hold = self.mapping.context().hold().map_err(|error| failed(&error))?;
        // SAFETY: as in `read`; the memory is its client's, who waits for the answer.
        unsafe { transfer.write(self.mapping.address().saturating_add(offset), bytes) }.map_err(|error| failed(&error))
    }
}

fn failed(error: &DeviceError) -> ServingError {
    let (code, message) = match error.severity() {
        Severity::ContextLost | Severity::DeviceLost => {
            (ErrorCode::Unavailable, "a shared memory region was lost with its GPU; register it again")
        }
        Severity::OutOfMemory => {
            (ErrorCode::ResourceExhausted, "there is no pinned memory left to copy a region through")
        }
        Severity::Refused => (ErrorCode::Internal, "the GPU refused to copy a shared memory region"),
    };
    ServingError::new(code, message).with_operator_detail(error.to_string())
}

/// The regions as requests find them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedRegions<'a> {
    pub(crate) regions: &'a CudaRegions,
    pub(crate) gpus: Option<&'a GpuDevices>,
}

impl RegionLookup for NamedRegions<'_> {
    fn find(&self, range: &SharedMemoryRange<'_>) -> Result<RegionSlice, ServingError> {
        if self.gpus.is_none() {
            return NoRegions.find(range);
        }
        let region = self.regions.names.lock().open.get(&*range.region).map(Arc::clone);
        let region = region.ok_or_else(|| {
            ServingError::not_found(format!("Unable to find shared memory region: '{}'", range.region.escape_debug()))
        })?;
        let length = range.check_within(region.byte_size)?;
        Ok(RegionSlice::new(region, range.offset, length))
    }
}

impl CudaRegions {
    /// No regions yet; what is copied through the host is copied through memory of `pinned`.
    #[must_use]
    pub fn new(pinned: Arc<PinnedPool>) -> Self {
        Self { names: Mutex::default(), transfers: Mutex::default(), pinned }
    }

    /// What brings memory of `context` to the host; made anew when that of the device was made in a context that is gone.
    fn transfer(&self, context: &Arc<Context>) -> Result<Arc<Mutex<HostTransfer>>, DeviceError> {
        let mut transfers = self.transfers.lock();
        if let Some(transfer) = transfers.get(&context.ordinal())
            && transfer.lock().is_usable()
        {
            return Ok(Arc::clone(transfer));
        }
        let made = Arc::new(Mutex::new(HostTransfer::new(context, &self.pinned)?));
        transfers.insert(context.ordinal(), Arc::clone(&made));
        Ok(made)
    }

    /// Whether there is a region called `name`, or is about to be.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let names = self.names.lock();
        names.open.contains_key(name) || names.opening.contains(name)
    }

    /// Opens a client's memory under `name`, which `is_taken` elsewhere or not. May block for tenths of seconds, when it makes the device's context.
    pub(crate) fn register(
        &self,
        gpus: Option<&GpuDevices>,
        name: &str,
        request: &CudaRegionRequest,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(), ServingError> {
        let gpus = in_use(gpus)?;
        if name.is_empty() || name.contains(RESERVED) {
            return Err(ServingError::invalid(format!(
                "cannot register shared memory region '{}' as it uses a reserved name or none",
                name.escape_debug()
            )));
        }
        let handle: [u8; IpcMapping::HANDLE_BYTES] = request.raw_handle.as_slice().try_into().map_err(|_| {
            ServingError::invalid(format!(
                "the raw handle of shared memory region '{name}' must have `{}` bytes, got `{}`",
                IpcMapping::HANDLE_BYTES,
                request.raw_handle.len()
            ))
        })?;
        let ordinal = u32::try_from(request.device_id).ok();
        let device = ordinal.and_then(|ordinal| gpus.devices().iter().find(|device| device.ordinal == ordinal));
        let device = device.ok_or_else(|| {
            ServingError::invalid(format!(
                "unable to register shared memory region '{name}': expected a device id below `{}`, got `{}`",
                gpus.devices().len(),
                request.device_id
            ))
        })?;
        if is_taken(name) {
            return Err(already_there(name));
        }
        self.names.lock().take(name)?;
        let mut taken = TakenName { regions: self, name, region: None };
        let refused = |error: hanok_devices::DeviceError| {
            ServingError::invalid(format!(
                "failed to register shared memory region '{name}': the handle cannot be opened"
            ))
            .with_operator_detail(error.to_string())
        };
        let driver = gpus.discovery().driver.as_ref().map_err(|error| refused(error.clone()))?;
        let context = Context::retain(driver, device.ordinal).map_err(refused)?;
        let mapping = IpcMapping::open(&context, handle).map_err(refused)?;
        if request.byte_size == 0 || request.byte_size > mapping.length() {
            return Err(ServingError::invalid(format!(
                "failed to register shared memory region '{name}': its handle names `{}` bytes, asked for are `{}`",
                mapping.length(),
                request.byte_size
            )));
        }
        let transfer = self.transfer(&context).map_err(|error| failed(&error))?;
        taken.region = Some(Region { ordinal: device.ordinal, byte_size: request.byte_size, mapping, transfer });
        Ok(())
    }

    /// The region called `name`, or all.
    pub(crate) fn status(&self, name: Option<&str>) -> Result<Vec<CudaRegion>, ServingError> {
        let names = self.names.lock();
        let regions = &names.open;
        let told = |(name, region): (&String, &Arc<Region>)| CudaRegion {
            name: name.clone(),
            device_id: u64::from(region.ordinal),
            byte_size: region.byte_size,
        };
        match name.filter(|name| !name.is_empty()) {
            None => Ok(regions.iter().map(told).collect()),
            Some(name) => match regions.get_key_value(name) {
                Some(found) => Ok(vec![told(found)]),
                None => Err(ServingError::not_found(format!("Unable to find cuda shared memory region: '{name}'"))),
            },
        }
    }

    /// Forgets the region called `name`, or all; one that is not known is forgotten already, as in Triton. It is closed when
    /// the last request that names it is done.
    pub(crate) fn unregister(&self, gpus: Option<&GpuDevices>, name: Option<&str>) -> Result<(), ServingError> {
        in_use(gpus)?;
        let mut names = self.names.lock();
        let forgotten = match name.filter(|name| !name.is_empty()) {
            None => std::mem::take(&mut names.open),
            Some(name) => names.open.remove_entry(name).into_iter().collect(),
        };
        drop(names);
        // Closing may wait for the driver: nobody waits for the lock meanwhile.
        drop(forgotten);
        Ok(())
    }
}

/// The GPUs, if there are any in use.
pub(crate) fn in_use(gpus: Option<&GpuDevices>) -> Result<&GpuDevices, ServingError> {
    let gpus = gpus.ok_or_else(|| {
        ServingError::unsupported(
            "CUDA shared memory is not supported while GPUs are off: start the server with --cuda, which is experimental",
        )
    })?;
    match gpus.discovery().why_none() {
        None => Ok(gpus),
        Some(reason) => Err(ServingError::unavailable("CUDA shared memory is unavailable: this server has no GPU")
            .with_operator_detail(reason)),
    }
}
