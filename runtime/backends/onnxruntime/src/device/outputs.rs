//! The outputs of a batch whose shapes are known before: where the device writes them, and how they leave it.
//!
//! Nothing is copied here. What a lone member wants in a region that lies well is computed there.

use hanok_backend::{Batch, ServingError};
use hanok_tensor::Shape;
use smallvec::SmallVec;

use super::inputs::{DIRECT_ALIGNMENT, Inputs, Seat};
use super::layout::{Layout, Runs};
use super::segment_copier::Piece;

/// An output of known shape, with the rows of padding.
pub(super) struct Expected {
    pub(super) shape: Shape,
    pub(super) length: usize,
    /// Where the model writes it.
    pub(super) seat: Seat,
    /// Parts that go to regions: offset within the output, and the copy with its target.
    targets: SmallVec<[(usize, u64, usize); 2]>,
    /// Parts that go to the host, within the output.
    pub(super) host: SmallVec<[(usize, usize); 2]>,
}

/// All outputs of a batch, in the order in which they are asked for.
#[derive(Default)]
pub(super) struct Outputs {
    /// `None` where the shape is not known before.
    pub(super) expected: Vec<Option<Expected>>,
    pub(super) layout: Layout,
    pub(super) placed: Vec<(usize, u16)>,
    pub(super) refused: Vec<(usize, ServingError)>,
}

/// The rows of one member within an output.
struct Share {
    member: usize,
    offset: usize,
    length: usize,
}

impl Outputs {
    /// Adds the output at `index`, whose shape is not known.
    pub(super) fn add_unknown(&mut self) {
        self.expected.push(None);
    }

    /// Adds an output that nobody wants, and that a graph writes all the same.
    pub(super) fn add_unwanted(&mut self, (shape, length): (Shape, usize)) {
        let (targets, host) = (SmallVec::new(), SmallVec::new());
        self.expected.push(Some(Expected { shape, length, seat: Seat::Graph, targets, host }));
    }

    /// Adds the output at `index` of `batch`, which will have `shape` and `length` bytes for `padded` rows.
    pub(super) fn add(
        &mut self,
        batch: &Batch<'_>,
        index: usize,
        (shape, length): (Shape, usize),
        (padded, ordinal): (usize, u32),
        inputs: Option<&Inputs<'_>>,
    ) -> Result<(), ServingError> {
        let shares = shares(batch, &shape, length, padded);
        let (mut targets, mut host) = (SmallVec::new(), SmallVec::new());
        let mut direct = None;
        for share in &shares {
            let regions = batch.members()[share.member].request().regions.as_ref();
            let wanted = regions.and_then(|regions| regions.output(index));
            // A region elsewhere, or one that is lost, is written to from the host, or refused there.
            let place = wanted.and_then(|wanted| wanted.slice.place().ok()).filter(|place| place.ordinal == ordinal);
            let (Some(wanted), Some(place)) = (wanted, place) else {
                host.push((share.offset, share.length));
                continue;
            };
            if let Err(error) = wanted.check_room(share.length) {
                self.refused.push((share.member, error));
                continue;
            }
            self.placed.push((share.member, wanted.index));
            let alone = share.length == length && batch.members().len() == 1;
            if alone
                && place.address.is_multiple_of(DIRECT_ALIGNMENT)
                && inputs.is_some_and(|inputs| inputs.leave_alone(place.address, length))
            {
                direct = Some(place.address);
            } else {
                targets.push((share.offset, place.address, share.length));
            }
        }
        if shares.is_empty() {
            host.push((0, length));
        }
        let seat = match direct {
            Some(address) => Seat::Region(address),
            None => {
                let too_large = || ServingError::internal("the outputs of a batch are larger than any memory");
                Seat::Block(self.layout.take(length).ok_or_else(too_large)?)
            }
        };
        self.expected.push(Some(Expected { shape, length, seat, targets, host }));
        Ok(())
    }

    /// What is copied out of the block at `block`: parts to the host, in the block's offsets, and parts to regions.
    pub(super) fn leave(&self, block: u64) -> (Runs, Vec<Piece>) {
        let (mut runs, mut pieces) = (Runs::default(), Vec::new());
        for expected in self.expected.iter().flatten() {
            let Seat::Block(offset) = expected.seat else { continue };
            for &(begin, length) in &expected.host {
                runs.add(offset + begin, length);
            }
            for &(begin, to, bytes) in &expected.targets {
                pieces.push(Piece { from: block + (offset + begin) as u64, to, bytes });
            }
        }
        (runs, pieces)
    }
}

/// How an output is split among the members; nothing where its rows are not theirs.
fn shares(batch: &Batch<'_>, shape: &Shape, length: usize, padded: usize) -> Vec<Share> {
    if !batch.config().batches() {
        return vec![Share { member: 0, offset: 0, length }];
    }
    if padded == 0 || shape.first().is_none_or(|&outer| usize::try_from(outer) != Ok(padded)) {
        return Vec::new();
    }
    let row_bytes = length / padded;
    let mut offset = 0;
    let share = |(member, rows): (usize, usize)| {
        let share = Share { member, offset, length: rows * row_bytes };
        offset += share.length;
        share
    };
    batch.members().iter().map(|member| member.request().rows as usize).enumerate().map(share).collect()
}

impl Inputs<'_> {
    /// Whether no input is computed from memory that overlaps `length` bytes at `address`.
    fn leave_alone(&self, address: u64, length: usize) -> bool {
        self.moved.iter().all(|input| match input.seat {
            Seat::Block(_) | Seat::Graph => true,
            Seat::Region(begin) => {
                begin.saturating_add(input.length as u64) <= address || address.saturating_add(length as u64) <= begin
            }
        })
    }
}
