//! Files and archives of web servers.

mod archive;
mod ranged;
mod source;
mod status;

pub(crate) use archive::unpack;
pub(crate) use ranged::open_ranged;
pub(crate) use source::{WebFile, resolve};
pub(crate) use status::refused_status;
