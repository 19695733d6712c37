//! Folders of Git repositories at a commit, through the `git` program.
//!
//! Nothing is checked out: blobs are read one by one, so no filter, hook, attribute or link of a stranger's repository
//! acts here. Only the folder's own blobs are transferred, where the server can leave others out.

mod blobs;
mod command;
mod lfs_pointer;
mod place;
mod remote_refs;
mod source;
mod tree;

pub(crate) use source::{GitSource, fetch, resolve};
