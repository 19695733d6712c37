//! Copies between a device's memory and ordinary memory of the host, through two pinned pieces.
//!
//! For memory that is read or written by the host itself, of any size: while one piece is copied by the device, the other is
//! copied by the processor. Blocks; never more is pinned than the two pieces.

use std::fmt;
use std::sync::Arc;

use super::pinned_pool::{PinnedMemory, PinnedPool};
use crate::driver::{Context, DeviceAddress, Event, Stream, StreamPriority};
use crate::error::DeviceError;

/// A stream of its own and the two pieces.
pub struct HostTransfer {
    stream: Stream,
    pieces: [(PinnedMemory, Event); 2],
}

impl HostTransfer {
    /// Bytes of a piece: large enough for the speed of the bus.
    pub const PIECE_BYTES: usize = 1 << 20;

    /// A transfer in `context`, with pieces out of `pool`.
    ///
    /// # Errors
    /// `OutOfMemory` when the pool has no room for the pieces, or `Driver` with the driver's answer.
    pub fn new(context: &Arc<Context>, pool: &Arc<PinnedPool>) -> Result<Self, DeviceError> {
        let piece = || Ok((pool.allocate(context, Self::PIECE_BYTES)?, Event::new(context)?));
        Ok(Self { stream: Stream::new(context, StreamPriority::Default)?, pieces: [piece()?, piece()?] })
    }

    /// Whether the context that it was made in is still there.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.stream.context().hold().is_ok()
    }

    /// Copies from the device into `bytes`; returns when it is done.
    ///
    /// # Errors
    /// `Driver` with the driver's answer; nothing is under way then.
    ///
    /// # Safety
    /// `from` is memory of this device, of at least as many bytes, for the time of the call. Others may write to it.
    pub unsafe fn read(&mut self, from: DeviceAddress, bytes: &mut [u8]) -> Result<(), DeviceError> {
        let Self { stream, pieces } = self;
        // The pieces are gone with a context that is destroyed.
        let _hold = stream.context().hold()?;
        let moved = (|| {
            let mut place = from;
            let mut coming: Option<(usize, &mut [u8])> = None;
            for (number, part) in bytes.chunks_mut(Self::PIECE_BYTES).enumerate() {
                let (piece, mark) = &mut pieces[number % 2];
                // SAFETY: the device's side by the caller's promise; the piece is read after its mark only.
                unsafe { stream.copy_out(&mut piece[..part.len()], place)? };
                mark.record(stream)?;
                place += part.len() as u64;
                if let Some((number, part)) = coming.replace((number % 2, part)) {
                    take(&pieces[number], part)?;
                }
            }
            coming.map_or(Ok(()), |(number, part)| take(&pieces[number], part))
        })();
        settled(stream, moved)
    }

    /// Copies `bytes` to the device; returns when they are there.
    ///
    /// # Errors
    /// `Driver` with the driver's answer; nothing is under way then.
    ///
    /// # Safety
    /// `to` is memory of this device, of at least as many bytes, that nothing in this process uses for the time of the call.
    pub unsafe fn write(&mut self, to: DeviceAddress, bytes: &[u8]) -> Result<(), DeviceError> {
        let Self { stream, pieces } = self;
        let _hold = stream.context().hold()?;
        let moved = (|| {
            let (mut place, mut last) = (to, None);
            for (number, part) in bytes.chunks(Self::PIECE_BYTES).enumerate() {
                let (piece, mark) = &mut pieces[number % 2];
                if number > 1 {
                    mark.wait()?;
                }
                piece[..part.len()].copy_from_slice(part);
                // SAFETY: the device's side by the caller's promise; the piece is not touched before its mark was waited for.
                unsafe { stream.copy_in(place, &piece[..part.len()])? };
                mark.record(stream)?;
                place += part.len() as u64;
                last = Some(number % 2);
            }
            last.map_or(Ok(()), |number| pieces[number].1.wait())
        })();
        settled(stream, moved)
    }
}

fn take((piece, mark): &(PinnedMemory, Event), part: &mut [u8]) -> Result<(), DeviceError> {
    mark.wait()?;
    part.copy_from_slice(&piece[..part.len()]);
    Ok(())
}

/// After a failure, waits for what is still under way: the pieces are used again, and the caller's memory given up.
fn settled(stream: &Stream, moved: Result<(), DeviceError>) -> Result<(), DeviceError> {
    if moved.is_err() {
        // A context in error answers at once, and does nothing any more.
        let _ended = stream.synchronize();
    }
    moved
}

impl fmt::Debug for HostTransfer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HostTransfer").field("stream", &self.stream).finish_non_exhaustive()
    }
}
