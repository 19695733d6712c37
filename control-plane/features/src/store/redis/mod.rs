//! Redis: what Feast materialised there, read without Feast, and plain hashes.
//!
//! Both read with one pipeline of `HMGET`, so a read is one round trip whatever it asks for. Plain hashes are written, too.

mod address;
mod connection;
mod feast;
mod hash;
mod key_template;
mod mark;
mod resp;
mod write_hash;

pub use address::RedisAddress;
pub use feast::FeastRedisStore;
pub use hash::RedisHashStore;

pub(crate) use key_template::KeyTemplate;
