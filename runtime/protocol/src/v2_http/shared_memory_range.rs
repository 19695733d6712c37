//! The shared-memory members of a tensor's parameters (W-63), collected while the object is read.

use std::borrow::Cow;

use hanok_backend::ServingError;

use super::infer_request::expected;
use super::json_cursor::JsonCursor;
use crate::SharedMemoryRange;

/// What has been seen of the three members.
#[derive(Debug, Default)]
pub(super) struct RangeReader<'a> {
    region: Option<Cow<'a, str>>,
    offset: Option<u64>,
    byte_size: Option<u64>,
}

impl<'a> RangeReader<'a> {
    /// Reads the member called `name` if it is one of the three and the first of its kind.
    pub(super) fn read(&mut self, name: &str, cursor: &mut JsonCursor<'a>) -> Result<bool, ServingError> {
        let unsigned = |cursor: &mut JsonCursor<'a>| {
            cursor.optional_unsigned().map(Some).ok_or_else(|| expected(name, "an unsigned integer"))
        };
        match name {
            "shared_memory_region" if self.region.is_none() => {
                self.region = Some(cursor.optional_string()?.ok_or_else(|| expected(name, "a string"))?);
            }
            "shared_memory_offset" if self.offset.is_none() => self.offset = unsigned(cursor)?,
            "shared_memory_byte_size" if self.byte_size.is_none() => self.byte_size = unsigned(cursor)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The range, if a region was named.
    pub(super) fn finish(self) -> Result<Option<SharedMemoryRange<'a>>, ServingError> {
        let Some(region) = self.region else { return Ok(None) };
        let byte_size = self.byte_size.ok_or_else(|| expected("shared_memory_byte_size", "an unsigned integer"))?;
        Ok(Some(SharedMemoryRange { region, offset: self.offset.unwrap_or(0), byte_size }))
    }
}
