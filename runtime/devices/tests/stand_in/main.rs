//! The calls to driver and NVML against stand-ins in C, over ordinary memory: types, order, giving back, failures.
//!
//! This proves nothing about a GPU. Without a C compiler the tests say that they skipped.
#![allow(unsafe_code, reason = "device memory is named by address")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hanok_devices::{
    Context, DeviceError, DeviceKind, DevicePool, Discovery, DiscoverySettings, Event, HostTransfer, IpcMapping,
    Module, Part, PinnedPool, RebuildHistory, Recovery, Severity, Stream, StreamPriority, discover, recovery,
};

const ALLOCATE: i32 = 0;
const COPY_IN: i32 = 1;
const COPY_OUT: i32 = 2;
const EVENT_WAIT: i32 = 3;

/// The stand-ins, opened; one test at a time, since they are one set of globals.
struct StandIn {
    discovery: Discovery,
    control: libloading::Library,
    _alone: MutexGuard<'static, ()>,
}

impl StandIn {
    fn open() -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = compiled("driver")?;
        let settings = DiscoverySettings { driver: vec![driver.clone()], nvml: vec![compiled("nvml")?] };
        // SAFETY: the stand-in has no initialisers.
        let control = unsafe { libloading::Library::new(driver) }.unwrap();
        // SAFETY: the function takes nothing.
        unsafe { control.get::<unsafe extern "C" fn()>("stand_in_restore").unwrap()() };
        Some(Self { discovery: discover(&settings), control, _alone: alone })
    }

    fn context(&self) -> Arc<Context> {
        Context::retain(self.discovery.driver.as_ref().unwrap(), 0).unwrap()
    }

    fn fail(&self, call: i32, code: i32, after: i32) {
        // SAFETY: the function has this type.
        unsafe {
            self.control.get::<unsafe extern "C" fn(i32, i32, i32)>("stand_in_fail").unwrap()(call, code, after);
        }
    }

    /// What was not given back.
    fn left(&self) -> usize {
        // SAFETY: the function has this type.
        unsafe { self.control.get::<unsafe extern "C" fn() -> usize>("stand_in_left").unwrap()() }
    }
}

/// Compiles a stand-in once; `None` after a line that says why not.
fn compiled(name: &str) -> Option<PathBuf> {
    static COMPILER: OnceLock<bool> = OnceLock::new();
    if !*COMPILER.get_or_init(|| Command::new("cc").arg("--version").output().is_ok()) {
        eprintln!("skipped: there is no C compiler called `cc`");
        return None;
    }
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("libstand_in_{name}_{}.so", std::process::id()));
    if !output.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/stand_in/{name}.c"));
        let status =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&output).arg(source).status().unwrap();
        assert!(status.success());
    }
    Some(output)
}

#[test]
fn devices_are_found_with_what_each_library_knows() {
    let Some(stand_in) = StandIn::open() else { return };
    let found = &stand_in.discovery;
    assert_eq!(found.driver.as_ref().unwrap().cuda_version(), (13, 0));
    assert_eq!(found.nvml.as_ref().unwrap().driver_version(), "580.65.06");
    let [whole, part] = &found.devices[..] else { panic!("{found:?}") };
    assert_eq!((whole.uuid.as_str(), whole.kind), ("GPU-00112233-4455-6677-8899-aabbccddee00", DeviceKind::Gpu));
    assert_eq!((part.uuid.as_str(), part.kind), ("MIG-00112233-4455-6677-8899-aabbccddee01", DeviceKind::Part));
    assert_eq!(
        whole.to_string(),
        "0 Stand-in 0 (GPU-00112233-4455-6677-8899-aabbccddee00, compute capability 9.0, 600 of 1024 MiB free)"
    );
    assert_eq!(found.used_bytes(1), Some(400 << 20));
    assert_eq!(found.why_none(), None);
    let reading = found.nvml.as_ref().unwrap().read(&whole.uuid).unwrap();
    assert_eq!((reading.utilization, reading.power_watts), (Some(0.37), Some(123.456)));
    assert_eq!(reading.energy_joules, Some(9_876_543.21));
    let reading = found.nvml.as_ref().unwrap().read(&part.uuid).unwrap();
    assert_eq!((reading.utilization, reading.memory_used_bytes), (None, Some(400 << 20)));
}

#[test]
fn parts_that_the_driver_does_not_show_are_told_by_their_uuid() {
    let Some(stand_in) = StandIn::open() else { return };
    let uuids = |parts: Vec<Part>| parts.into_iter().map(|part| part.uuid).collect::<Vec<_>>();
    let (shown, hidden) = ("MIG-00112233-4455-6677-8899-aabbccddee01", "MIG-00112233-4455-6677-8899-aabbccddee02");
    let found = &stand_in.discovery;
    assert_eq!(uuids(found.nvml.as_ref().unwrap().parts()), [shown, hidden]);
    let [part] = &found.parts_out_of_sight()[..] else { panic!("{found:?}") };
    assert_eq!((part.uuid.as_str(), part.name.as_str()), (hidden, "Stand-in 0 MIG 1g.10gb"));
    // Without a driver that shows any, all are named: that is how one is addressed.
    let settings = DiscoverySettings {
        driver: vec!["libhanok-no-such-library.so.1".into()],
        nvml: vec![compiled("nvml").unwrap()],
    };
    assert_eq!(uuids(discover(&settings).parts_out_of_sight()), [shown, hidden]);
}

#[test]
fn copies_go_there_and_back_and_everything_is_given_back() {
    let Some(stand_in) = StandIn::open() else { return };
    {
        let context = stand_in.context();
        let stream = Stream::new(&context, StreamPriority::High).unwrap();
        let pool = DevicePool::new(&context, 64 << 20);
        let pinned = PinnedPool::new(1 << 20);
        let mut staging = pinned.allocate(&context, 10_000).unwrap();
        assert!(staging.iter().all(|&byte| byte == 0), "pinned memory is handed out zeroed");
        for (index, byte) in staging.iter_mut().enumerate() {
            *byte = u8::try_from(index % 251).unwrap();
        }
        let (first, second) = (pool.allocate(10_000).unwrap(), pool.allocate(10_000).unwrap());
        let (start, end) = (Event::new(&context).unwrap(), Event::new(&context).unwrap());
        assert!(!start.is_reached().unwrap());
        let mut back = vec![0; 10_000];
        start.record(&stream).unwrap();
        // SAFETY: the buffers are 10,000 bytes long, and the stand-in copies at once.
        unsafe {
            stream.copy_in(first.address(), &staging).unwrap();
            stream.copy_across(second.address(), first.address(), 10_000).unwrap();
            stream.copy_out(&mut back, second.address()).unwrap();
        }
        end.record(&stream).unwrap();
        stream.wait_for(&start).unwrap();
        end.wait().unwrap();
        assert_eq!(back, staging[..]);
        assert!(end.since(&start).unwrap().as_secs() < 60);
        assert_eq!(pinned.used_bytes(), 10_000);
        assert!(matches!(pinned.allocate(&context, 1 << 20), Err(DeviceError::OutOfMemory { .. })));
        assert_eq!(pool.statistics().held_bytes, 2 << 20, "small buffers share a slab");
        drop((first, second));
        pool.trim().unwrap();
        assert_eq!(pool.statistics().held_bytes, 0);
        assert!(stand_in.left() > 0);
    }
    assert_eq!(stand_in.left(), 0);
}

#[test]
fn a_full_device_fails_one_request_and_nothing_else() {
    let Some(stand_in) = StandIn::open() else { return };
    {
        let pool = DevicePool::new(&stand_in.context(), 3 << 30);
        let held = pool.allocate(700 << 20).unwrap();
        let error = pool.allocate(700 << 20).unwrap_err();
        assert_eq!(error.severity(), Severity::OutOfMemory);
        assert_eq!(error.to_string(), "device 0 has no `734003200` bytes left within the limit of `1073741824`");
        drop(held);
        let held = pool.allocate(900 << 20).expect("what lies idle is given back for a larger piece");
        drop(held);
        stand_in.fail(ALLOCATE, 2, 0);
        pool.allocate(950 << 20).expect("a refusal is met by giving back what lies idle");
        let small = DevicePool::new(&stand_in.context(), 1 << 20);
        assert!(matches!(small.allocate(2 << 20), Err(DeviceError::OutOfMemory { limit: 1_048_576, .. })));
    }
    assert_eq!(stand_in.left(), 0);
}

#[test]
fn failures_that_stick_are_told_from_others() {
    let Some(stand_in) = StandIn::open() else { return };
    {
        let context = stand_in.context();
        let stream = Stream::new(&context, StreamPriority::Default).unwrap();
        let pool = DevicePool::new(&context, 1 << 20);
        let buffer = pool.allocate(16).unwrap();
        let event = Event::new(&context).unwrap();
        stand_in.fail(COPY_IN, 1, 0);
        // SAFETY: the buffer is 16 bytes long, and the stand-in copies at once.
        let copy = || unsafe { stream.copy_in(buffer.address(), &[7; 16]) };
        assert_eq!(copy().unwrap_err().severity(), Severity::Refused);
        copy().expect("only that call was refused");
        stand_in.fail(EVENT_WAIT, 700, 0);
        let error = event.wait().unwrap_err();
        assert_eq!(error.to_string(), "`cuEventSynchronize` failed with CUDA_ERROR_ILLEGAL_ADDRESS (700)");
        assert_eq!(copy().unwrap_err().severity(), Severity::ContextLost, "it sticks");
        let decision = recovery(error.severity(), &RebuildHistory::default(), std::time::Duration::ZERO);
        assert_eq!(decision, Recovery::RebuildContext);
        // SAFETY: of what was made in the context, only memory and marks are left, and they are only given back.
        unsafe { context.reset() }.unwrap();
        let text = copy().unwrap_err().to_string();
        assert_eq!(
            text, "`cuCtxSetCurrent` failed with CUDA_ERROR_CONTEXT_IS_DESTROYED (709)",
            "old things are refused"
        );
        let context = stand_in.context();
        let stream = Stream::new(&context, StreamPriority::Default).unwrap();
        let buffer = DevicePool::new(&context, 1 << 20).allocate(16).unwrap();
        // SAFETY: as above.
        unsafe { stream.copy_in(buffer.address(), &[7; 16]) }.expect("a new context works");
    }
    assert_eq!(stand_in.left(), 0);
}

#[test]
fn memory_of_other_processes_is_opened_and_closed() {
    let Some(stand_in) = StandIn::open() else { return };
    {
        let context = stand_in.context();
        let mapping = IpcMapping::open(&context, [7; 64]).unwrap();
        assert_eq!(mapping.length(), 4096);
        let stream = Stream::new(&context, StreamPriority::Low).unwrap();
        let mut bytes = [0; 4];
        // SAFETY: the mapping is 4096 bytes long, and the stand-in copies at once.
        unsafe { stream.copy_out(&mut bytes, mapping.address() + 100) }.unwrap();
        assert_eq!(bytes, [3; 4]);
        let pool = PinnedPool::new(4 << 20);
        let mut transfer = HostTransfer::new(&context, &pool).unwrap();
        assert_eq!(pool.used_bytes(), 2 << 20);
        // SAFETY: the mapping is 4096 bytes long.
        unsafe { transfer.write(mapping.address() + 8, &[9; 16]).unwrap() };
        let mut bytes = [0; 32];
        // SAFETY: as above.
        unsafe { transfer.read(mapping.address(), &mut bytes).unwrap() };
        assert_eq!((&bytes[..8], &bytes[8..24], &bytes[24..]), (&[3; 8][..], &[9; 16][..], &[3; 8][..]));
        // SAFETY: nothing uses an address of this context any more.
        unsafe { context.reset() }.unwrap();
        // SAFETY: refused before the memory is touched, which is gone.
        assert!(unsafe { transfer.read(mapping.address(), &mut bytes) }.is_err());
        // SAFETY: as above.
        assert!(unsafe { transfer.write(mapping.address(), &bytes) }.is_err());
        drop((transfer, mapping));
        let context = stand_in.context();
        let error = IpcMapping::open(&context, [8; 64]).unwrap_err();
        assert_eq!(error.to_string(), "`cuIpcOpenMemHandle_v2` failed with CUDA_ERROR_INVALID_HANDLE (400)");
    }
    assert_eq!(stand_in.left(), 0);
}

#[test]
fn pieces_of_a_transfer_are_copied_in_order_at_any_size() {
    let Some(stand_in) = StandIn::open() else { return };
    {
        let context = stand_in.context();
        let (pool, pinned) = (DevicePool::new(&context, 64 << 20), PinnedPool::new(4 << 20));
        let mut transfer = HostTransfer::new(&context, &pinned).unwrap();
        let device = pool.allocate(5 << 20).unwrap();
        for length in [0, 1, 1 << 20, (1 << 20) + 1, (4 << 20) + 17] {
            let bytes: Vec<u8> = (0..length).map(|index: usize| u8::try_from(index % 251).unwrap()).collect();
            let mut back = vec![0; length];
            // SAFETY: the buffer is longer than that, and nothing else uses it.
            unsafe {
                transfer.write(device.address(), &bytes).unwrap();
                transfer.read(device.address(), &mut back).unwrap();
            }
            assert!(back == bytes, "{length}");
        }
        stand_in.fail(COPY_OUT, 1, 1);
        // SAFETY: as above.
        assert!(unsafe { transfer.read(device.address(), &mut vec![0; 3 << 20]) }.is_err());
        let small = PinnedPool::new(1 << 20);
        assert_eq!(HostTransfer::new(&context, &small).unwrap_err().severity(), Severity::OutOfMemory);
        assert_eq!(small.used_bytes(), 0);
    }
    assert_eq!(stand_in.left(), 0);
}

#[test]
fn machine_code_is_loaded_launched_and_unloaded() {
    let Some(stand_in) = StandIn::open() else { return };
    {
        let context = stand_in.context();
        let stream = Stream::new(&context, StreamPriority::Default).unwrap();
        let names = ["copy_segments".to_owned()];
        // SAFETY: the stand-in reads nothing of it.
        let module = unsafe { Module::load(&context, b"code", &names) }.unwrap();
        // SAFETY: as above.
        let error = unsafe { Module::load(&context, b"code", &["other".to_owned()]) }.unwrap_err();
        assert_eq!(error.to_string(), "`cuModuleGetFunction` failed with CUDA_ERROR_NOT_FOUND (500)");
        // SAFETY: refused before anything is launched.
        let error = unsafe { module.launch("other", [1; 3], [1; 3], 0, &stream, &mut []) }.unwrap_err();
        assert_eq!(error.severity(), Severity::Refused);
    }
    assert_eq!(stand_in.left(), 0);
}

#[test]
fn a_machine_without_a_driver_is_a_finding() {
    let nowhere = || vec![PathBuf::from("libhanok-no-such-library.so.1")];
    let found = discover(&DiscoverySettings { driver: nowhere(), nvml: nowhere() });
    assert!(found.devices.is_empty());
    let reason = found.why_none().unwrap();
    assert!(reason.starts_with("the CUDA driver is not available: libhanok-no-such-library.so.1"), "{reason}");
    let Some(nvml) = compiled("nvml") else { return };
    let found = discover(&DiscoverySettings { driver: vec![nvml], nvml: nowhere() });
    let reason = found.why_none().unwrap();
    assert_eq!(reason, "the CUDA driver lacks `cuInit`: a newer one is needed");
}
