//! Regions over the driver's stand-in: nobody who looks one up waits for the driver, and names are taken once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::Command;

use hanok_devices::{DiscoverySettings, discover};

use super::*;

/// The stand-in's controls, and GPUs that it plays.
struct StandIn {
    control: libloading::Library,
    gpus: GpuDevices,
    file: std::path::PathBuf,
}

impl StandIn {
    fn open() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../devices/tests/stand_in");
        let file = std::env::temp_dir().join(format!("libhanok_regions_{}.so", std::process::id()));
        let source = folder.join("driver.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&file).arg(source).status();
        let Ok(status) = compiled else {
            eprintln!("skipped: there is no C compiler called `cc`");
            return None;
        };
        assert!(status.success());
        let settings = DiscoverySettings { driver: vec![file.clone()], nvml: Vec::new() };
        let gpus = GpuDevices::new(discover(&settings), &BTreeMap::new());
        assert_eq!(gpus.devices().len(), 2);
        // SAFETY: the stand-in has no initialisers.
        let control = unsafe { libloading::Library::new(&file) }.unwrap();
        Some(Self { control, gpus, file })
    }

    fn hold_open(&self, held: bool) {
        // SAFETY: the function has this type.
        unsafe { self.control.get::<unsafe extern "C" fn(i32)>("stand_in_hold_open").unwrap()(i32::from(held)) };
    }

    fn await_open(&self) {
        // SAFETY: the function takes nothing.
        unsafe { self.control.get::<unsafe extern "C" fn()>("stand_in_await_open").unwrap()() };
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.file));
    }
}

fn request() -> CudaRegionRequest {
    CudaRegionRequest { raw_handle: vec![7; 64], device_id: 0, byte_size: 4096 }
}

#[test]
fn nobody_who_looks_waits_while_the_driver_opens_a_region() {
    let Some(stand_in) = StandIn::open() else { return };
    let regions = CudaRegions::new(PinnedPool::new(64 << 20));
    let gpus = Some(&stand_in.gpus);
    let find = |name: &'static str| {
        let range = SharedMemoryRange { region: name.into(), offset: 0, byte_size: 64 };
        NamedRegions { regions: &regions, gpus }.find(&range).map(|slice| slice.length())
    };
    regions.register(gpus, "early", &request(), |_| false).unwrap();
    std::thread::scope(|scope| {
        stand_in.hold_open(true);
        let late = scope.spawn(|| regions.register(gpus, "late", &request(), |_| false));
        stand_in.await_open();
        // The driver is at it for as long as we like; everybody else goes on.
        assert_eq!(find("early").unwrap(), 64);
        assert_eq!(find("late").unwrap_err().code(), ErrorCode::NotFound, "it is not there yet");
        assert_eq!(regions.status(None).unwrap().len(), 1);
        let taken = regions.register(gpus, "late", &request(), |_| false).unwrap_err();
        assert_eq!(
            (taken.code(), taken.message()),
            (ErrorCode::AlreadyExists, "shared memory region 'late' already in manager")
        );
        regions.unregister(gpus, Some("early")).unwrap();
        assert_eq!(find("early").unwrap_err().code(), ErrorCode::NotFound);
        stand_in.hold_open(false);
        late.join().unwrap().unwrap();
    });
    assert_eq!(find("late").unwrap(), 64);
    // A region that cannot be opened leaves its name free.
    let unknown = CudaRegionRequest { raw_handle: vec![1; 64], ..request() };
    assert_eq!(regions.register(gpus, "other", &unknown, |_| false).unwrap_err().code(), ErrorCode::InvalidArgument);
    regions.register(gpus, "other", &request(), |_| false).unwrap();
    regions.unregister(gpus, None).unwrap();
    assert!(regions.status(None).unwrap().is_empty());
}
