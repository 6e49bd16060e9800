//! What the live page must know of the protos, as JSON: it has no code generated for it.
//!
//! ```json
//! { "messages": { "centerx.v1.Camera": [ { "number": 1, "name": "id", "kind": "string" } ] },
//!   "enums": { "centerx.v1.CameraState": { "CAMERA_STATE_LIVE": 2 } },
//!   "services": { "centerx.v1.CameraService": { "GetCamera": { "input": "...", "output": "...", "stream": false } } } }
//! ```
//!
//! A field has `type` if it is a message or an enum, `repeated`, `optional` or `oneof` if it is that, and in place of
//! `kind` a `map` of the kinds of its keys and values.

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};
use serde_json::{Map, Value, json};

/// The messages, enums and services of all files.
pub fn json(set: &FileDescriptorSet) -> Value {
    let (mut messages, mut enums, mut services) = (Map::new(), Map::new(), Map::new());
    for file in &set.file {
        let package = file.package();
        for message in &file.message_type {
            add_message(&mut messages, &mut enums, package, message);
        }
        enums.extend(file.enum_type.iter().map(|e| (format!("{package}.{}", e.name()), values(e))));
        services.extend(file.service.iter().map(|s| (format!("{package}.{}", s.name()), methods(s))));
    }
    json!({ "messages": messages, "enums": enums, "services": services })
}

fn add_message(
    messages: &mut Map<String, Value>,
    enums: &mut Map<String, Value>,
    scope: &str,
    message: &DescriptorProto,
) {
    let name = format!("{scope}.{}", message.name());
    let fields = message.field.iter().map(|one| field(message, one)).collect();
    enums.extend(message.enum_type.iter().map(|e| (format!("{name}.{}", e.name()), values(e))));
    for nested in message.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
        add_message(messages, enums, &name, nested);
    }
    messages.insert(name, Value::Array(fields));
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

fn field(parent: &DescriptorProto, field: &FieldDescriptorProto) -> Value {
    let mut told = kind(field);
    told.insert("number".into(), field.number().into());
    told.insert("name".into(), field.name().into());
    let entry = parent.nested_type.iter().find(|nested| {
        is_map_entry(nested) && field.type_name().ends_with(&format!(".{}.{}", parent.name(), nested.name()))
    });
    if let Some(entry) = entry {
        told.retain(|name, _| name == "number" || name == "name");
        told.insert("map".into(), entry.field.iter().map(|part| Value::Object(kind(part))).collect());
    } else if field.label() == Label::Repeated {
        told.insert("repeated".into(), true.into());
    } else if field.proto3_optional() {
        told.insert("optional".into(), true.into());
    } else if let Some(index) = field.oneof_index
        && let Some(oneof) = usize::try_from(index).ok().and_then(|index| parent.oneof_decl.get(index))
    {
        told.insert("oneof".into(), oneof.name().into());
    }
    Value::Object(told)
}

fn kind(field: &FieldDescriptorProto) -> Map<String, Value> {
    let kind = field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase();
    let mut told = Map::from_iter([("kind".to_owned(), kind.into())]);
    if matches!(field.r#type(), Type::Message | Type::Enum) {
        told.insert("type".into(), field.type_name().trim_start_matches('.').into());
    }
    told
}

fn values(of: &EnumDescriptorProto) -> Value {
    of.value.iter().map(|value| (value.name().to_owned(), Value::from(value.number()))).collect()
}

fn methods(service: &ServiceDescriptorProto) -> Value {
    let of_method = |method: &prost_types::MethodDescriptorProto| {
        let told = json!({
            "input": method.input_type().trim_start_matches('.'),
            "output": method.output_type().trim_start_matches('.'),
            "stream": method.server_streaming(),
        });
        (method.name().to_owned(), told)
    };
    service.method.iter().map(of_method).collect()
}
