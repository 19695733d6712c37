//! Objects of S3, Google Cloud Storage and Azure Blob Storage, through the `object_store` crate: as models that are pulled,
//! and one by one, in parts, for tables.
//!
//! The crate signs requests and reads listings; connections are this crate's own, so that the address policy, the time
//! limits and the trusted certificates are those of every other source, for token servers too.

mod aws_profile;
mod connection;
mod objects;
mod open;
mod open_bucket;
mod store_error;
mod upload;

pub(crate) use objects::BucketObjects;
pub use open_bucket::{OpenBucket, StoredObject};
pub use upload::Upload;
