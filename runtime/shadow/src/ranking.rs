//! Where the largest values of each row are: argmax and top-k.

use crate::element::{Element, ElementWork};

/// Rows that rank alike, and rows that do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowAgreement {
    /// Rows that were compared.
    pub(crate) rows: u64,
    /// Rows whose largest values are elsewhere.
    pub(crate) differing: u64,
    /// Smallest number of common positions of any row; `k` (or the row's length) when there is no row.
    pub(crate) least_overlap: u32,
}

/// Compares where the `k` largest values of each row are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompareRanking<'a> {
    pub(crate) primary: &'a [u8],
    pub(crate) candidate: &'a [u8],
    /// Elements of one row.
    pub(crate) row_length: usize,
    pub(crate) k: u32,
    /// Common positions that make a row agree.
    pub(crate) overlap: u32,
}

impl ElementWork for CompareRanking<'_> {
    type Result = RowAgreement;

    fn run<E: Element>(self) -> RowAgreement {
        let k = usize::try_from(self.k).unwrap_or(usize::MAX).min(self.row_length);
        let whole = u32::try_from(k).unwrap_or(u32::MAX);
        let mut agreement = RowAgreement { rows: 0, differing: 0, least_overlap: whole };
        let row_bytes = self.row_length * size_of::<E>();
        if row_bytes == 0 {
            return agreement;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let rows = self.primary.chunks_exact(row_bytes).zip(self.candidate.chunks_exact(row_bytes));
        for (primary, candidate) in rows {
            agreement.rows += 1;
            if primary == candidate {
                continue;
            }
            largest::<E>(primary, k, &mut ours);
            largest::<E>(candidate, k, &mut theirs);
            let common = u32::try_from(common(&ours, &theirs)).unwrap_or(u32::MAX);
            agreement.least_overlap = agreement.least_overlap.min(common);
            agreement.differing += u64::from(common < self.overlap.min(whole));
        }
        agreement
    }
}

/// Positions of the `k` largest elements of `row`, ascending by position; among equals the first count.
fn largest<E: Element>(row: &[u8], k: usize, positions: &mut Vec<usize>) {
    let at = |position: usize| {
        let start = position * size_of::<E>();
        E::read(&row[start..start + size_of::<E>()])
    };
    let length = row.len() / size_of::<E>();
    positions.clear();
    if k == 1 {
        let first =
            (1..length).fold(0, |best, position| if at(position).rank(at(best)).is_gt() { position } else { best });
        positions.push(first);
        return;
    }
    positions.extend(0..length);
    if k < length {
        positions.select_nth_unstable_by(k, |&a, &b| at(b).rank(at(a)).then(a.cmp(&b)));
        positions.truncate(k);
    }
    positions.sort_unstable();
}

/// How many positions two ascending lists have in common.
fn common(mut ours: &[usize], mut theirs: &[usize]) -> usize {
    let mut count = 0;
    while let (Some((a, ours_rest)), Some((b, theirs_rest))) = (ours.split_first(), theirs.split_first()) {
        count += usize::from(a == b);
        if a <= b {
            ours = ours_rest;
        }
        if b <= a {
            theirs = theirs_rest;
        }
    }
    count
}
