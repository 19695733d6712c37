//! Connections: accepting them, watching their clocks, ending them.

mod accept;
mod drive;
mod head_scan;
mod watched_stream;
mod watcher;

pub(crate) use accept::{ConnectionServer, accept_loop, bind};
pub(crate) use drive::drive;
pub(crate) use watched_stream::WatchedStream;
pub(crate) use watcher::{ConnectionWatch, Signal, Watcher};
