//! A client of any v2 inference server (Triton, KServe, MLServer, this one), for the commands of this program.
//!
//! Not the load generator, whose connections are its own. The invariant: nothing here depends on what only this
//! project's server does; where a server lacks an extension, plain JSON is spoken.

mod address;
mod admin;
mod contract;
mod error;
mod grpc;
mod http;
mod http_message;
mod input;
mod npy;
mod shape_fit;
mod tensor_value;

pub(crate) use address::{Protocol, ServerAddress};
pub(crate) use admin::{AdminCall, AdminClient};
pub(crate) use contract::{IndexEntry, InferenceAnswer, InferenceCall, ModelContract, ModelStatistics, TensorContract};
pub(crate) use error::ClientError;
pub(crate) use grpc::encode_request as encode_grpc_request;
pub(crate) use http::{JSON_LENGTH_HEADER, model_path, refusal};
pub(crate) use http_message::{Encoding, encode_request as encode_http_request};
pub(crate) use input::{InputArgument, ShapeArgument, example_file};
pub(crate) use tensor_value::{TensorValue, push_element};

use grpc::GrpcClient;
use http::HttpClient;
use serde_json::Value;

/// A client of one server; calls are made one at a time.
#[derive(Debug)]
pub(crate) enum Client {
    /// Over HTTP.
    Http(Box<HttpClient>),
    /// Over gRPC.
    Grpc(Box<GrpcClient>),
}

/// Forwards a call to whichever protocol is spoken.
macro_rules! either {
    ($self:ident, $client:ident => $call:expr) => {
        match $self {
            Self::Http($client) => $call.await,
            Self::Grpc($client) => $call.await,
        }
    };
}

impl Client {
    /// A client of the server at `address`; connects at its first call.
    ///
    /// # Errors
    /// [`ClientError::Unsupported`] when the address cannot be used.
    pub(crate) fn new(address: &ServerAddress) -> Result<Self, ClientError> {
        Ok(match address.protocol {
            Protocol::Http => Self::Http(Box::new(HttpClient::new(address.clone()))),
            Protocol::Grpc => Self::Grpc(Box::new(GrpcClient::new(address)?)),
        })
    }

    /// A model's metadata.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub(crate) async fn contract(&mut self, model: &str, version: Option<&str>) -> Result<ModelContract, ClientError> {
        either!(self, client => client.contract(model, version))
    }

    /// The same with those of the model's own inputs that are named although its metadata leaves them out: features fill them
    /// where the client does not.
    ///
    /// # Errors
    /// [`ClientError`], as for every call.
    pub(crate) async fn contract_with<'n>(
        &mut self,
        model: &str,
        version: Option<&str>,
        named: impl Iterator<Item = &'n str>,
    ) -> Result<ModelContract, ClientError> {
        let mut contract = self.contract(model, version).await?;
        let is_unknown = |name: &&str| !contract.inputs.iter().any(|input| input.name == **name);
        let unknown: Vec<&'n str> = named.filter(is_unknown).collect();
        // A server that tells no configuration has no such inputs; the input itself is told then.
        if !unknown.is_empty()
            && let Ok(config) = self.config(model, version).await
        {
            contract.add_configured(&config, &unknown);
        }
        Ok(contract)
    }

    /// A model's configuration, for showing.
    ///
    /// # Errors
    /// [`ClientError`]; servers other than Triton often lack this.
    pub(crate) async fn config(&mut self, model: &str, version: Option<&str>) -> Result<Value, ClientError> {
        either!(self, client => client.config(model, version))
    }

    /// A model's statistics.
    ///
    /// # Errors
    /// [`ClientError`]; servers other than Triton often lack this.
    pub(crate) async fn statistics(
        &mut self,
        model: &str,
        version: Option<&str>,
    ) -> Result<ModelStatistics, ClientError> {
        either!(self, client => client.statistics(model, version))
    }

    /// Infers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn infer(&mut self, call: &InferenceCall) -> Result<InferenceAnswer, ClientError> {
        either!(self, client => client.infer(call))
    }

    /// The repository index.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn index(&mut self) -> Result<Vec<IndexEntry>, ClientError> {
        either!(self, client => client.index())
    }

    /// Loads a model, or loads it again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn load(&mut self, model: &str) -> Result<(), ClientError> {
        either!(self, client => client.load(model))
    }

    /// Unloads a model; with `dependents` also the ensembles that need it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn unload(&mut self, model: &str, dependents: bool) -> Result<(), ClientError> {
        either!(self, client => client.unload(model, dependents))
    }

    /// Speaks `encoding` from now on, whatever the server announces; gRPC has only one.
    pub(crate) fn use_encoding(&mut self, encoding: Encoding) {
        if let Self::Http(client) = self {
            client.use_encoding(encoding);
        }
    }

    /// How to encode tensors for this server: binary on gRPC, and on HTTP when the server announces the extension.
    pub(crate) async fn encoding(&mut self) -> Encoding {
        match self {
            Self::Http(client) => client.encoding().await,
            Self::Grpc(_) => Encoding::Binary,
        }
    }
}
