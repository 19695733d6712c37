//! Flags of Triton that this server takes and does not act upon, or refuses.
//!
//! Taken, so that a start line works unchanged; named in the log, so that nobody relies on them; refused where silence
//! would be dangerous (encryption and access control).

use clap::Args;

/// Declares flags that take one value, all optional and repeatable, under their names.
macro_rules! inert_flags {
    ($($field:ident: $name:literal => $class:ident, $why:literal;)*) => {
        /// Triton's flags without an effect here.
        #[derive(Args, Clone, Debug, Default)]
        #[command(next_help_heading = "Taken for Triton's sake")]
        pub(crate) struct InertFlags {
            $(
                #[arg(long = $name, value_name = "VALUE", hide = true, num_args = 0..=1, default_missing_value = "true")]
                $field: Vec<String>,
            )*
        }

        impl InertFlags {
            /// The flags that were given: name, values, class and explanation.
            pub(crate) fn given(&self) -> Vec<GivenFlag<'_>> {
                let mut given = Vec::new();
                $(
                    if !self.$field.is_empty() {
                        given.push(GivenFlag { name: $name, values: &self.$field, class: Class::$class, why: $why });
                    }
                )*
                given
            }
        }
    };
}

/// What to do about a flag that is not acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Without it the server behaves as asked anyway, or a little differently in speed.
    Harmless,
    /// Refused unless its value switches the thing off.
    RefusedUnlessOff,
    /// Refused.
    Refused,
}

/// A flag that was given and is not acted upon.
#[derive(Clone, Debug)]
pub(crate) struct GivenFlag<'a> {
    pub(crate) name: &'static str,
    pub(crate) values: &'a [String],
    pub(crate) class: Class,
    pub(crate) why: &'static str,
}

impl GivenFlag<'_> {
    /// Whether the server must not start with it.
    pub(crate) fn is_refused(&self) -> bool {
        let off = |value: &String| matches!(value.to_ascii_lowercase().as_str(), "0" | "false" | "off");
        match self.class {
            Class::Harmless => false,
            Class::Refused => true,
            Class::RefusedUnlessOff => !self.values.iter().all(off),
        }
    }
}

inert_flags! {
    strict_model_config: "strict-model-config" => Harmless, "use --disable-auto-complete-config";
    model_load_retry_count: "model-load-retry-count" => Harmless, "loads are not retried; a changed folder is in mode poll";
    model_namespacing: "model-namespacing" => RefusedUnlessOff, "models of equal name in several repositories are not offered";
    enable_peer_access: "enable-peer-access" => Harmless, "not offered for GPUs yet";
    log_error: "log-error" => Harmless, "errors are always logged";
    log_file: "log-file" => Harmless, "the log goes to standard error; redirect it there";
    http_restricted_api: "http-restricted-api" => Refused, "restricted APIs are not offered yet, and an open one is not what you asked for";
    grpc_restricted_protocol: "grpc-restricted-protocol" => Refused, "restricted APIs are not offered yet, and an open one is not what you asked for";
    grpc_use_ssl: "grpc-use-ssl" => RefusedUnlessOff, "TLS is not offered yet, and plain text is not what you asked for";
    grpc_use_ssl_mutual: "grpc-use-ssl-mutual" => RefusedUnlessOff, "TLS is not offered yet, and plain text is not what you asked for";
    grpc_server_cert: "grpc-server-cert" => Refused, "TLS is not offered yet, and plain text is not what you asked for";
    grpc_server_key: "grpc-server-key" => Refused, "TLS is not offered yet, and plain text is not what you asked for";
    grpc_root_cert: "grpc-root-cert" => Refused, "TLS is not offered yet, and plain text is not what you asked for";
    grpc_infer_allocation_pool_size: "grpc-infer-allocation-pool-size" => Harmless, "nothing is pooled: requests are slices of what was received";
    grpc_max_response_pool_size: "grpc-max-response-pool-size" => Harmless, "streams are bounded already";
    grpc_infer_thread_count: "grpc-infer-thread-count" => Harmless, "one set of threads serves all ports: --http-thread-count";
    grpc_keepalive_permit_without_calls: "grpc-keepalive-permit-without-calls" => Harmless, "pings are sent and taken with calls or without";
    grpc_http2_max_pings_without_data: "grpc-http2-max-pings-without-data" => Harmless, "as many pings are sent as --grpc-keepalive-time says";
    grpc_http2_min_recv_ping_interval_without_data: "grpc-http2-min-recv-ping-interval-without-data" => Harmless, "pings are bounded by the HTTP/2 library";
    grpc_http2_max_ping_strikes: "grpc-http2-max-ping-strikes" => Harmless, "pings are bounded by the HTTP/2 library";
    allow_sagemaker: "allow-sagemaker" => RefusedUnlessOff, "this front end is not offered";
    sagemaker_port: "sagemaker-port" => Harmless, "this front end is not offered";
    sagemaker_safe_port_range: "sagemaker-safe-port-range" => Harmless, "this front end is not offered";
    sagemaker_thread_count: "sagemaker-thread-count" => Harmless, "this front end is not offered";
    allow_vertex_ai: "allow-vertex-ai" => RefusedUnlessOff, "this front end is not offered";
    vertex_ai_port: "vertex-ai-port" => Harmless, "this front end is not offered";
    vertex_ai_thread_count: "vertex-ai-thread-count" => Harmless, "this front end is not offered";
    vertex_ai_default_model: "vertex-ai-default-model" => Harmless, "this front end is not offered";
    allow_cpu_metrics: "allow-cpu-metrics" => Harmless, "memory of the host and of the process is always told";
    metrics_interval_ms: "metrics-interval-ms" => Harmless, "metrics are read when they are asked for, and so never lag";
    metrics_config: "metrics-config" => Harmless, "counters and latency histograms are always on; summaries are not offered";
    backend_directory: "backend-directory" => Harmless, "backends are inside this binary";
    repoagent_directory: "repoagent-directory" => Harmless, "repository agents are not offered";
    cache_config: "cache-config" => Harmless, "the response cache is not offered yet";
    cache_directory: "cache-directory" => Harmless, "the response cache is not offered yet";
    response_cache_byte_size: "response-cache-byte-size" => Harmless, "the response cache is not offered yet";
    rate_limit: "rate-limit" => RefusedUnlessOff, "the rate limiter is not offered yet";
    rate_limit_resource: "rate-limit-resource" => Refused, "the rate limiter is not offered yet";
    cuda_virtual_address_size: "cuda-virtual-address-size" => Harmless, "not offered for GPUs yet";
    min_supported_compute_capability: "min-supported-compute-capability" => Harmless, "not offered for GPUs yet";
    buffer_manager_thread_count: "buffer-manager-thread-count" => Harmless, "requests are slices of what was received; the one copy is the instance's";
    host_policy: "host-policy" => Harmless, "instances are not pinned yet";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_silence_is_refused() {
        let flags = InertFlags {
            grpc_use_ssl: vec!["false".to_owned()],
            grpc_server_cert: vec!["x.pem".to_owned()],
            rate_limit: vec!["execution_count".to_owned()],
            metrics_interval_ms: vec!["500".to_owned()],
            ..InertFlags::default()
        };
        let refused: Vec<_> = flags.given().iter().filter(|flag| flag.is_refused()).map(|flag| flag.name).collect();
        assert_eq!(refused, ["grpc-server-cert", "rate-limit"]);
        assert_eq!(flags.given().len(), 4);
    }
}
