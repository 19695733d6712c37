//! Our .proto file against the descriptors that `tritonclient` carries.

use std::collections::BTreeSet;

use hanok_model_config::FILE_DESCRIPTOR_SET;
use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, Kind, MessageDescriptor};

fn enumeration(descriptor: &EnumDescriptor, lines: &mut BTreeSet<String>) {
    for value in descriptor.values() {
        lines.insert(format!("{}.{} = {} enum", descriptor.full_name(), value.name(), value.number()));
    }
}

fn message(descriptor: &MessageDescriptor, lines: &mut BTreeSet<String>) {
    for field in descriptor.fields() {
        let kind = match field.kind() {
            Kind::Message(message) => message.full_name().to_owned(),
            Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
            kind => format!("{kind:?}"),
        };
        let label = if field.cardinality() == Cardinality::Repeated { "repeated" } else { "single" };
        let oneof = field.containing_oneof().map_or_else(String::new, |oneof| format!(" oneof {}", oneof.name()));
        lines.insert(format!("{}.{} = {} {label} {kind}{oneof}", descriptor.full_name(), field.name(), field.number()));
    }
    descriptor.child_messages().for_each(|child| message(&child, lines));
    descriptor.child_enums().for_each(|child| enumeration(&child, lines));
}

#[test]
fn our_messages_are_those_of_the_protocol() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let file = pool.get_file_by_name("model_config.proto").unwrap();
    let mut lines = BTreeSet::new();
    file.messages().for_each(|descriptor| message(&descriptor, &mut lines));
    file.enums().for_each(|descriptor| enumeration(&descriptor, &mut lines));
    let expected: BTreeSet<String> = include_str!("../golden/wire_fields.txt").lines().map(str::to_owned).collect();
    let missing: Vec<_> = expected.difference(&lines).collect();
    let extra: Vec<_> = lines.difference(&expected).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing {missing:#?}\nextra {extra:#?}");
    assert!(expected.len() > 200);
}
