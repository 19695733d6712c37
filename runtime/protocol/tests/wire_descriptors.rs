//! The service definition against a list made from the descriptors that `tritonclient` 2.73 carries: every message,
//! field number, type, label, oneof and RPC.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_protocol::v2_grpc::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorSet};

fn message_lines(prefix: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{prefix}.{}", message.name());
    lines.push(format!("message {name}"));
    for field in &message.field {
        let type_name = if field.type_name().is_empty() { "-" } else { field.type_name() };
        let oneof = field.oneof_index.map_or("-", |index| message.oneof_decl[usize::try_from(index).unwrap()].name());
        lines.push(format!(
            "field {name}.{} {} {} {} {type_name} {oneof}",
            field.name(),
            field.number(),
            field.label() as i32,
            field.r#type() as i32
        ));
    }
    for nested in &message.nested_type {
        message_lines(&name, nested, lines);
    }
}

#[test]
fn service_definition_is_the_protocol_s() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let file = files.file.iter().find(|file| file.name() == "grpc_service.proto").unwrap();
    let mut lines = Vec::new();
    for service in &file.service {
        for rpc in &service.method {
            lines.push(format!(
                "rpc {}.{} {} {} {} {}",
                service.name(),
                rpc.name(),
                rpc.input_type(),
                rpc.output_type(),
                i32::from(rpc.client_streaming()),
                i32::from(rpc.server_streaming())
            ));
        }
    }
    for message in &file.message_type {
        message_lines(".inference", message, &mut lines);
    }
    lines.sort();
    let golden: Vec<&str> = include_str!("golden/grpc_service_fields.txt").lines().collect();
    assert_eq!(lines, golden);
    assert!(files.file.iter().any(|file| file.package() == "grpc.health.v1"));
}
