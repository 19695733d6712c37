//! Joins the tensors of many requests into one batch buffer: the one copy of a request's journey.

use crate::AlignedBuffer;

/// Writes `parts` one after another into `buffer`, which is resized to their sum.
///
/// Rows are outermost in every part, so joining the bytes joins the batches; this holds for `BYTES`
/// tensors too, whose elements carry their own lengths.
pub fn concatenate_into<'a>(buffer: &mut AlignedBuffer, parts: impl Iterator<Item = &'a [u8]> + Clone) {
    let total = parts.clone().map(<[u8]>::len).sum();
    buffer.resize_for_overwrite(total);
    let mut rest: &mut [u8] = buffer;
    for part in parts {
        let (here, after) = rest.split_at_mut(part.len());
        here.copy_from_slice(part);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_in_order() {
        let mut buffer = AlignedBuffer::zeroed(3);
        concatenate_into(&mut buffer, [&b"ab"[..], b"", b"cde"].into_iter());
        assert_eq!(&buffer[..], b"abcde");
    }
}
