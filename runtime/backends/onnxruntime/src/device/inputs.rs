//! The inputs of a batch: what each member brings, and where it goes on the device.
//!
//! Nothing is copied here. A tensor of one member that fills the batch and lies well in a region is computed where it is.

use hanok_backend::{Batch, InputPart, RegionSlice, ServingError, model_input_shape};
use hanok_tensor::{DataType, Shape};
use smallvec::SmallVec;

use super::layout::{Layout, Runs};
use super::segment_copier::Piece;
use crate::instance::{check_input, check_size, check_truth};
use crate::library::Library;
use crate::output_shapes::InputShapes;
use crate::session::{Feed, Loaded, Name};
use crate::value::Value;

/// Alignment that a tensor must have to be computed where it lies: that of the library's own.
pub(super) const DIRECT_ALIGNMENT: u64 = 256;

/// Where an input is on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// At this offset of the block of inputs.
    Block(usize),
    /// In the client's region.
    Region(u64),
    /// Only where a graph writes it: an output that nobody wants.
    Graph,
}

/// An input on its way.
pub(super) struct Input<'a> {
    pub(super) name: Name<'a>,
    pub(super) shape: Shape,
    pub(super) data_type: DataType,
    parts: SmallVec<[InputPart<'a>; 8]>,
    /// Bytes on the device, with the padding of a bucket.
    pub(super) length: usize,
    pub(super) seat: Seat,
}

/// All inputs of a batch.
pub(super) struct Inputs<'a> {
    pub(super) moved: Vec<Input<'a>>,
    /// Strings, which stay on the host.
    pub(super) strings: Vec<(Name<'a>, Value<'static>)>,
    pub(super) shapes: InputShapes,
    pub(super) layout: Layout,
    pub(super) regions: SmallVec<[RegionSlice; 4]>,
}

/// What is copied to the block of inputs.
#[derive(Default)]
pub(super) struct Copies {
    /// Parts that are staged, in the block's offsets.
    pub(super) staged: Runs,
    /// Parts within the device.
    pub(super) pieces: Vec<Piece>,
}

impl<'a> Inputs<'a> {
    /// Plans the inputs of `batch` for `padded` rows; `may_stay` unless the addresses are fixed.
    pub(super) fn plan(
        library: &Library,
        loaded: &'a Loaded,
        batch: &'a Batch<'_>,
        padded: usize,
        may_stay: bool,
    ) -> Result<Self, super::Trouble> {
        let (config, rows) = (batch.config(), batch.rows());
        let mut inputs = Self {
            moved: Vec::new(),
            strings: Vec::new(),
            shapes: InputShapes::new(),
            layout: Layout::default(),
            regions: SmallVec::new(),
        };
        for feed in &loaded.feeds {
            let Some(input) = batch.input(feed.index) else { continue };
            let mut shape = match config.inputs.get(feed.index).filter(|spec| spec.reshape.is_some()) {
                Some(spec) => model_input_shape(spec, &input.shape, config.batches()).ok_or_else(|| {
                    ServingError::invalid(format!("input `{}` does not fit its dimensions", spec.name))
                })?,
                None => input.shape.clone(),
            };
            let name = feed.name.as_c_str().into();
            let parts: SmallVec<[InputPart<'a>; 8]> = batch.parts(feed.index).collect();
            if feed.data_type == DataType::Bytes {
                inputs.strings.push((name, strings(library, feed, &shape, &parts)?));
                inputs.note_shape(&shape);
                continue;
            }
            let mut length = check_parts(feed, &shape, &parts)?;
            let stays = may_stay && padded == rows;
            if padded != rows && config.batches() {
                length = length / rows.max(1) * padded;
                shape[0] = i64::try_from(padded).unwrap_or(i64::MAX);
            }
            inputs.note_shape(&shape);
            for part in &parts {
                if let InputPart::Region(slice) = part {
                    inputs.regions.push((*slice).clone());
                }
            }
            let direct = match parts.as_slice() {
                [InputPart::Region(slice)] if stays => Some(slice.place()?.address),
                _ => None,
            };
            let seat = match direct.filter(|address| address.is_multiple_of(DIRECT_ALIGNMENT)) {
                Some(address) => Seat::Region(address),
                None => {
                    let too_large = || ServingError::invalid("the inputs of a batch are larger than any memory");
                    Seat::Block(inputs.layout.take(length).ok_or_else(too_large)?)
                }
            };
            inputs.moved.push(Input { name, shape, data_type: feed.data_type, parts, length, seat });
        }
        Ok(inputs)
    }

    fn note_shape(&mut self, shape: &Shape) {
        self.shapes.push(i64::try_from(shape.len()).unwrap_or(i64::MAX));
        self.shapes.extend_from_slice(shape);
    }

    /// Bytes of the block of inputs; at least 1 where a tensor, if only an empty one, has its place there.
    pub(super) fn block_bytes(&self) -> usize {
        let least = self.moved.iter().any(|input| matches!(input.seat, Seat::Block(_)));
        self.layout.length().max(usize::from(least))
    }

    /// Whether something goes through pinned memory.
    pub(super) fn are_staged(&self) -> bool {
        self.moved.iter().any(|input| {
            let sent: usize = input.parts.iter().map(part_length).sum();
            matches!(input.seat, Seat::Block(_))
                && (sent < input.length || input.parts.iter().any(|part| matches!(part, InputPart::Host(_))))
        })
    }

    /// Writes what lies on the host into `staging`, a block of the same layout, and tells what is to be copied to the block
    /// at `block` on the device.
    pub(super) fn gather(&self, staging: &mut [u8], block: u64) -> Result<Copies, ServingError> {
        let mut copies = Copies::default();
        for input in &self.moved {
            let Seat::Block(offset) = input.seat else { continue };
            let mut at = offset;
            for part in &input.parts {
                let length = part_length(part);
                match part {
                    InputPart::Host(bytes) => {
                        staging[at..at + length].copy_from_slice(bytes);
                        copies.staged.add(at, length);
                    }
                    InputPart::Region(slice) => {
                        copies.pieces.push(Piece {
                            from: slice.place()?.address,
                            to: block + at as u64,
                            bytes: length,
                        });
                        copies.staged.skip_to(at + length);
                    }
                }
                at += length;
            }
            let rest = offset + input.length - at;
            if rest > 0 {
                // Rows of padding must not be those of other requests.
                staging[at..at + rest].fill(0);
                copies.staged.add(at, rest);
            }
        }
        Ok(copies)
    }
}

fn part_length(part: &InputPart<'_>) -> usize {
    match part {
        InputPart::Host(bytes) => bytes.len(),
        InputPart::Region(slice) => slice.length(),
    }
}

/// Refuses parts that together are no tensor of `shape`; gives their length.
fn check_parts(feed: &Feed, shape: &Shape, parts: &[InputPart<'_>]) -> Result<usize, ServingError> {
    let length = parts.iter().map(part_length).sum();
    check_size(feed, shape, length)?;
    for part in parts {
        if let InputPart::Host(bytes) = part {
            check_truth(feed, bytes)?;
        }
    }
    Ok(length)
}

fn strings(
    library: &Library,
    feed: &Feed,
    shape: &Shape,
    parts: &[InputPart<'_>],
) -> Result<Value<'static>, super::Trouble> {
    let mut joined = Vec::new();
    let data = match parts {
        [InputPart::Host(bytes)] => bytes,
        parts => {
            for part in parts {
                match part {
                    InputPart::Host(bytes) => joined.extend_from_slice(bytes),
                    InputPart::Region(_) => return Err(ServingError::internal("strings were left in a region").into()),
                }
            }
            &joined[..]
        }
    };
    check_input(feed, shape, data)?;
    Ok(Value::strings(library, shape, data)?)
}
