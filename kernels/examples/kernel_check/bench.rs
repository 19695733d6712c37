//! Device memory, timing and comparison for the checks.
#![allow(unsafe_code, reason = "launches take addresses")]

use std::error::Error;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DevicePtrMut, sys};
use hanok_kernels::{ElementType, KernelError, Kernels, StreamQueue};

/// Launches of a round.
const LAUNCHES: usize = 20;

/// Bytes of the copy that measures bandwidth: far beyond every cache.
const COPY_BYTES: usize = 1 << 30;

/// What one check found.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) right: bool,
    /// Norm of the difference over the norm of the reference; 0 means equal bits.
    pub(crate) error: f64,
    pub(crate) tolerance: f64,
    pub(crate) bytes: u64,
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    pub(crate) floor_seconds: f64,
}

/// How an output is compared with its reference.
#[derive(Clone, Copy)]
pub(crate) enum Compare {
    /// Every byte.
    Bytes,
    /// Elements of a type, by norm: the tolerance follows from the type.
    Elements(ElementType),
    /// `f64` numbers, by norm.
    Doubles,
}

impl Compare {
    fn tolerance(self) -> f64 {
        match self {
            Self::Bytes | Self::Elements(ElementType::U8 | ElementType::I8) => 0.0,
            Self::Elements(ElementType::F16) => 1e-3,
            Self::Elements(ElementType::BF16) => 8e-3,
            Self::Elements(ElementType::F32) | Self::Doubles => 1e-5,
        }
    }

    fn error(self, found: &[u8], wanted: &[u8]) -> f64 {
        if found.len() != wanted.len() {
            return f64::INFINITY;
        }
        match self {
            Self::Bytes => f64::from(u8::from(found != wanted)),
            Self::Elements(element) => {
                let count = wanted.len() / element.size_bytes() as usize;
                let read = |bytes| (0..count).map(move |index| f64::from(element.read(bytes, index)));
                norm_error(read(found), read(wanted))
            }
            Self::Doubles => {
                let read = |bytes: &[u8]| -> Vec<f64> {
                    bytes.as_chunks::<8>().0.iter().map(|part| f64::from_le_bytes(*part)).collect()
                };
                norm_error(read(found).into_iter(), read(wanted).into_iter())
            }
        }
    }
}

/// NaN where the reference has none (or the other way round) is an infinite error.
fn norm_error(found: impl Iterator<Item = f64>, wanted: impl Iterator<Item = f64>) -> f64 {
    let (mut difference, mut size) = (0.0, 0.0);
    for (found, wanted) in found.zip(wanted) {
        if found == wanted || (found.is_nan() && wanted.is_nan()) {
            size += if wanted.is_finite() { wanted * wanted } else { 0.0 };
        } else if found.is_finite() && wanted.is_finite() {
            difference += (found - wanted) * (found - wanted);
            size += wanted * wanted;
        } else {
            return f64::INFINITY;
        }
    }
    if difference == 0.0 { 0.0 } else { (difference / size).sqrt() }
}

/// Memory on the device.
pub(crate) struct Buffer {
    slice: CudaSlice<u8>,
    stream: Arc<CudaStream>,
}

impl Buffer {
    pub(crate) fn address(&self) -> u64 {
        self.slice.device_ptr(&self.stream).0
    }
}

pub(crate) struct Bench<'a> {
    stream: Arc<CudaStream>,
    kernels: &'a Kernels,
    pub(crate) random: Random,
    pub(crate) bandwidth: f64,
    pub(crate) rows: Vec<Row>,
    /// Rounds whose median is reported; with none, nothing is timed.
    rounds: usize,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(context: &Arc<CudaContext>, kernels: &'a Kernels, rounds: usize) -> Result<Self, Box<dyn Error>> {
        let stream = context.new_stream()?;
        let mut bench = Self { stream, kernels, random: Random(1), bandwidth: f64::NAN, rows: Vec::new(), rounds };
        if rounds == 0 {
            return Ok(bench);
        }
        let source = bench.random.bytes(COPY_BYTES);
        let source = bench.upload(&source)?;
        let mut target = bench.upload(&[0; 16])?;
        target.slice = bench.stream.alloc_zeros(COPY_BYTES)?;
        let stream = Arc::clone(&bench.stream);
        let (from, to) = (source.address(), target.slice.device_ptr_mut(&stream).0);
        let seconds = bench.seconds(|_| {
            // SAFETY: both buffers hold that many bytes and live until the stream is waited for.
            unsafe { cudarc::driver::result::memcpy_dtod_async(to, from, COPY_BYTES, stream.cu_stream()) }?;
            Ok(())
        })?;
        bench.bandwidth = 2.0 * COPY_BYTES as f64 / seconds;
        Ok(bench)
    }

    pub(crate) fn queue(&self) -> StreamQueue<'a> {
        // SAFETY: the stream belongs to the kernels' context and lives as long as the bench.
        unsafe { self.kernels.on(self.stream.cu_stream()) }
    }

    pub(crate) fn upload(&self, bytes: &[u8]) -> Result<Buffer, Box<dyn Error>> {
        Ok(Buffer { slice: self.stream.clone_htod(bytes)?, stream: Arc::clone(&self.stream) })
    }

    /// An output in which every unwritten byte shows.
    pub(crate) fn poisoned(&self, length: usize) -> Result<Buffer, Box<dyn Error>> {
        self.upload(&vec![0xa5; length])
    }

    pub(crate) fn download(&self, buffer: &Buffer) -> Result<Vec<u8>, Box<dyn Error>> {
        let bytes = self.stream.clone_dtoh(&buffer.slice)?;
        self.stream.synchronize()?;
        Ok(bytes)
    }

    /// Median device time of one launch; NaN where nothing is timed. `launch` is given a number that grows, to choose among several sets of operands.
    fn seconds(&self, mut launch: impl FnMut(usize) -> Result<(), Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
        let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let mut number = 0;
        let mut times = Vec::with_capacity(self.rounds);
        if self.rounds == 0 {
            return Ok(f64::NAN);
        }
        for round in 0..=self.rounds {
            let start = self.stream.record_event(flags)?;
            for _ in 0..LAUNCHES {
                launch(number)?;
                number += 1;
            }
            let end = self.stream.record_event(flags)?;
            self.stream.synchronize()?;
            // The first round warms up.
            if round > 0 {
                times.push(f64::from(start.elapsed_ms(&end)?) / 1e3 / LAUNCHES as f64);
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times[self.rounds / 2])
    }

    /// Compares `found` with `wanted`, times `launch` and enters the row.
    pub(crate) fn enter(
        &mut self,
        name: String,
        (bytes, operations): (u64, u64),
        compare: Compare,
        (found, wanted): (&[u8], &[u8]),
        mut launch: impl FnMut(usize) -> Result<(), KernelError>,
    ) -> Result<(), Box<dyn Error>> {
        let error = compare.error(found, wanted);
        let tolerance = compare.tolerance();
        let seconds = self.seconds(|number| Ok(launch(number)?))?;
        let floor_seconds = bytes as f64 / self.bandwidth;
        let right = error <= tolerance;
        self.rows.push(Row { name, right, error, tolerance, bytes, operations, seconds, floor_seconds });
        Ok(())
    }
}

/// Random numbers from a seed: SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Evenly between -`size` and `size`.
    pub(crate) fn float(&mut self, size: f32) -> f32 {
        ((self.next() >> 40) as f32 / 8_388_608.0 - 1.0) * size
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(count).collect()
    }

    pub(crate) fn elements(&mut self, element: ElementType, count: usize, size: f32) -> Vec<u8> {
        let mut bytes = vec![0; count * element.size_bytes() as usize];
        for index in 0..count {
            let value = self.float(size);
            element.write(&mut bytes, index, value);
        }
        bytes
    }
}
