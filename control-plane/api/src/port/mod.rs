//! What the control plane may ask of a runtime, in its own process or elsewhere.
//!
//! Not a mechanism: the runtime routes, watches its arms and keeps its last table without anybody. Everything here may be
//! repeated without harm, so that whoever is cut off simply asks again.

mod error;
mod order;
mod records;
mod remote;
mod retained;
mod shadows;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

pub use error::PortError;
pub use order::{Comparisons, ModelFacts, TableInForce, TableOrder, VersionFacts};
pub use records::{DrainRequest, HealthRecord, RecordBatch, RequestRecord, RuntimeRecord, ShadowRecord};
pub use remote::{RemoteRuntime, RemoteSettings};
pub use retained::RetainedRecords;
pub use shadows::{ExampleTensor, MOST_EXAMPLES, SHOWN_ELEMENTS, ShadowExample, ShadowQuery, ShadowView};

/// The answer of a runtime, to come. Dropping it gives the call up; the runtime may have done it nevertheless.
pub type PortFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, PortError>> + Send + 'a>>;

/// One runtime, as the control plane steers it.
///
/// Futures and not blocking calls: one thread then waits for a whole fleet at once, each with its own deadline, and the
/// runtime in the same process answers with a future that is ready. An implementation must not block inside a call.
pub trait RuntimePort: Send + Sync + fmt::Debug {
    /// Name in status, records and metrics; unique in the fleet, 1 to 128 printable characters.
    fn name(&self) -> &str;

    /// The table in force.
    fn table(&self) -> PortFuture<'_, TableInForce>;

    /// Puts a table and its comparisons in force, by [`hanok_routing::TableHandle::compare_and_set`]: from the next request
    /// on, and together. Gives the table in force. A table that is in force already is no error.
    fn apply(&self, order: TableOrder) -> PortFuture<'_, TableInForce>;

    /// The kill switch: [`hanok_routing::TableHandle::restore_last_good`] with this version at least. Gives what is in
    /// force then.
    fn restore_last_good(&self, at_least: u64) -> PortFuture<'_, TableInForce>;

    /// Marks a table good: [`hanok_routing::TableHandle::mark_good`].
    fn mark_good(&self, version: u64) -> PortFuture<'_, ()>;

    /// Records behind `request.after`, and lets go of those up to `request.acknowledged`. Reading takes nothing away:
    /// only the acknowledgement does. [`RetainedRecords`] does this.
    fn drain(&self, request: DrainRequest) -> PortFuture<'_, RecordBatch>;

    /// What is known of the models that it has, by name.
    fn models(&self) -> PortFuture<'_, Vec<ModelFacts>>;

    /// Its shadows, and where they disagreed lately.
    fn shadows(&self, query: ShadowQuery) -> PortFuture<'_, Vec<ShadowView>>;
}
