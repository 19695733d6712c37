//! Memory of clients on this machine, made known by its POSIX key (system shared memory, W-59 to W-61, W-63, W-91).
//!
//! Off unless the operator allows it (W-64): whoever may register regions reads and writes what the server's user may. Objects
//! are copied from and to by position and never mapped: a client that makes its object smaller makes its own requests fail,
//! where a mapping would end the server with SIGBUS. A region that is unregistered stays open until the requests that name it
//! are done.

#[cfg(test)]
#[path = "system_regions_tests.rs"]
mod tests;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hanok_backend::{DevicePlace, ErrorCode, RegionMemory, RegionSlice, ServingError};
use hanok_protocol::v2_http::{SystemRegion, SystemRegionRequest};
use hanok_protocol::{RegionLookup, SharedMemoryRange};
use parking_lot::Mutex;

use crate::cuda_regions::{NamedRegions, RESERVED, already_there};

/// Most regions: each holds an open file.
const MOST_REGIONS: usize = 1024;
/// Where Linux keeps POSIX shared memory (shm_overview(7)).
const OBJECTS: &str = "/dev/shm";
/// Longest key, without its slash.
const LONGEST_KEY: usize = 255;

/// The regions that clients registered.
#[derive(Debug)]
pub struct SystemRegions {
    allowed: bool,
    open: Mutex<BTreeMap<String, Arc<Region>>>,
}

#[derive(Debug)]
struct Region {
    told: SystemRegion,
    object: File,
}

impl Region {
    fn shrunk(&self) -> ServingError {
        ServingError::invalid(format!(
            "the object of shared memory region '{}' is smaller than it was when it was registered",
            self.told.name.escape_debug()
        ))
    }

    fn failed(&self, error: &io::Error) -> ServingError {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return self.shrunk();
        }
        ServingError::internal("a shared memory region could not be copied").with_operator_detail(error.to_string())
    }
}

impl RegionMemory for Region {
    fn place(&self) -> Result<DevicePlace, ServingError> {
        Err(ServingError::internal("a region of system memory has no place on a device"))
    }

    fn ordinal(&self) -> Option<u32> {
        None
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ServingError> {
        let at = self.told.offset.saturating_add(offset);
        self.object.read_exact_at(bytes, at).map_err(|error| self.failed(&error))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), ServingError> {
        let at = self.told.offset.saturating_add(offset);
        let length = self.object.metadata().map_err(|error| self.failed(&error))?.len();
        // Writing behind the end would make the object larger.
        if at.saturating_add(bytes.len() as u64) > length {
            return Err(self.shrunk());
        }
        self.object.write_all_at(bytes, at).map_err(|error| self.failed(&error))
    }
}

/// The regions of both kinds, as requests find them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AllRegions<'a> {
    pub(crate) system: &'a SystemRegions,
    pub(crate) cuda: NamedRegions<'a>,
}

impl RegionLookup for AllRegions<'_> {
    fn find(&self, range: &SharedMemoryRange<'_>) -> Result<RegionSlice, ServingError> {
        let found = self.system.open.lock().get(&*range.region).map(Arc::clone);
        match found {
            Some(region) => {
                let length = range.check_within(region.told.byte_size)?;
                Ok(RegionSlice::new(region, range.offset, length))
            }
            None if self.system.allowed && self.cuda.gpus.is_none() => Err(ServingError::not_found(format!(
                "Unable to find shared memory region: '{}'",
                range.region.escape_debug()
            ))),
            None => self.cuda.find(range),
        }
    }
}

impl SystemRegions {
    /// No regions yet, and none ever unless they are `allowed`.
    #[must_use]
    pub fn new(allowed: bool) -> Self {
        Self { allowed, open: Mutex::default() }
    }

    /// Refuses what is off.
    pub(crate) fn check_allowed(&self) -> Result<(), ServingError> {
        if self.allowed {
            return Ok(());
        }
        Err(ServingError::unsupported(
            "system shared memory is off: start the server with --allow-client-shm, where those who may register regions may \
             read and write whatever shared memory the server may",
        ))
    }

    /// Whether there is a region called `name`.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.open.lock().contains_key(name)
    }

    /// Opens a client's object under `name`, which `is_taken` elsewhere or not.
    pub(crate) fn register(
        &self,
        name: &str,
        request: &SystemRegionRequest,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(), ServingError> {
        self.check_allowed()?;
        let shown = name.escape_debug();
        if name.is_empty() || name.contains(RESERVED) {
            return Err(ServingError::invalid(format!(
                "cannot register shared memory region '{shown}' as it uses a reserved name or none"
            )));
        }
        let SystemRegionRequest { key, offset, byte_size } = request;
        // Triton answers what cannot be opened as INTERNAL (W-60).
        let unopened = || {
            ServingError::malformed(format!(
                "Unable to open shared memory region '{shown}': there is no shared memory object '{}' that may be used",
                key.escape_debug()
            ))
        };
        let path = object_path(Path::new(OBJECTS), key).ok_or_else(unopened)?;
        let object = open_object(&path).map_err(|error| unopened().with_operator_detail(error.to_string()))?;
        let length = object.metadata().map_err(|error| unopened().with_operator_detail(error.to_string()))?.len();
        if *byte_size == 0 || offset.checked_add(*byte_size).is_none_or(|end| end > length) {
            return Err(ServingError::malformed(format!(
                "failed to register shared memory region '{shown}': its object has `{length}` bytes, asked for are \
                 `{byte_size}` from `{offset}` on"
            )));
        }
        let told = SystemRegion { name: name.to_owned(), key: key.clone(), offset: *offset, byte_size: *byte_size };
        let mut open = self.open.lock();
        if open.contains_key(name) || is_taken(name) {
            return Err(already_there(name));
        }
        if open.len() >= MOST_REGIONS {
            return Err(ServingError::new(
                ErrorCode::ResourceExhausted,
                format!("expected at most `{MOST_REGIONS}` shared memory regions; unregister some"),
            ));
        }
        open.insert(name.to_owned(), Arc::new(Region { told, object }));
        Ok(())
    }

    /// The region called `name`, or all.
    pub(crate) fn status(&self, name: Option<&str>) -> Result<Vec<SystemRegion>, ServingError> {
        let open = self.open.lock();
        match name.filter(|name| !name.is_empty()) {
            None => Ok(open.values().map(|region| region.told.clone()).collect()),
            Some(name) => match open.get(name) {
                Some(region) => Ok(vec![region.told.clone()]),
                None => Err(ServingError::not_found(format!(
                    "Unable to find system shared memory region: '{}'",
                    name.escape_debug()
                ))),
            },
        }
    }

    /// Forgets the region called `name`, or all; one that is not known is forgotten already, as in Triton.
    pub(crate) fn unregister(&self, name: Option<&str>) -> Result<(), ServingError> {
        self.check_allowed()?;
        let mut open = self.open.lock();
        match name.filter(|name| !name.is_empty()) {
            None => open.clear(),
            Some(name) => drop(open.remove(name)),
        }
        Ok(())
    }
}

/// The file of the object that `key` names: one name, with a slash before it or without (shm_open(3)).
fn object_path(objects: &Path, key: &str) -> Option<PathBuf> {
    let name = key.strip_prefix('/').unwrap_or(key);
    let is_name = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    (is_name && name.len() <= LONGEST_KEY).then(|| objects.join(name))
}

/// Opens a plain file to read and write. A link would lead elsewhere: everybody may put one where objects are.
fn open_object(path: &Path) -> io::Result<File> {
    let object =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if object.metadata()?.is_file() {
        return Ok(object);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"))
}
