//! Writes docs/reference/api.md out of the protos, comments included. The test fails when the file says anything else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

use super::DESCRIPTORS;

const FILE: &str = "docs/reference/api.md";
const PACKAGE: &str = ".centerx.v1.";
const HEAD: &str = "# The API, message by message

Package `centerx.v1`. Made from the comments in `proto/centerx/v1` by a test (`CENTERX_WRITE_REFERENCE=1 cargo test
--lib reference` writes it anew). How calls belong together, with examples: [the API](../api.md).
";

/// Numbers of fields in descriptor.proto, of which the paths of comments are made.
mod numbers {
    pub const MESSAGE: i32 = 4;
    pub const ENUM: i32 = 5;
    pub const SERVICE: i32 = 6;
    /// Of a message's fields, an enum's values and a service's methods alike.
    pub const MEMBER: i32 = 2;
}

struct Comments(HashMap<Vec<i32>, String>);

impl Comments {
    fn of(file: &FileDescriptorProto) -> Self {
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        let texts = places.map(|place| (place.path.clone(), place.leading_comments().trim().to_owned()));
        Self(texts.filter(|(_, text)| !text.is_empty()).collect())
    }

    fn at(&self, path: &[i32]) -> String {
        let text = self.0.get(path).unwrap_or_else(|| panic!("no comment at {path:?}"));
        text.lines().map(str::trim).collect::<Vec<_>>().join(" ").replace('|', "\\|")
    }
}

fn link(full_name: &str) -> String {
    match full_name.strip_prefix(PACKAGE) {
        Some(name) => format!("[{name}](#{})", name.to_lowercase()),
        None => format!("`{}`", full_name.trim_start_matches('.')),
    }
}

fn kind(field: &FieldDescriptorProto) -> String {
    let name = match field.r#type() {
        Type::Message | Type::Enum => link(field.type_name()),
        plain => plain.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    match (field.label(), field.proto3_optional()) {
        (Label::Repeated, _) => format!("repeated {name}"),
        (_, true) => format!("optional {name}"),
        _ => name,
    }
}

fn service(text: &mut String, service: &ServiceDescriptorProto, comments: &Comments, index: i32) {
    let path = [numbers::SERVICE, index];
    writeln!(text, "\n## {}\n\n{}", service.name(), comments.at(&path)).unwrap();
    for (number, method) in (0..).zip(&service.method) {
        let comment = comments.at(&[path[0], path[1], numbers::MEMBER, number]);
        writeln!(text, "\n### {}\n\n{}\n\n{comment}", method.name(), signature(method)).unwrap();
    }
}

fn signature(method: &MethodDescriptorProto) -> String {
    let stream = |streams: bool| if streams { "a stream of " } else { "" };
    format!(
        "{}{} → {}{}",
        stream(method.client_streaming()),
        link(method.input_type()),
        stream(method.server_streaming()),
        link(method.output_type())
    )
}

fn message(text: &mut String, message: &DescriptorProto, comments: &Comments, index: i32) {
    assert!(message.nested_type.is_empty() && message.enum_type.is_empty(), "nothing is nested so far");
    let path = [numbers::MESSAGE, index];
    writeln!(text, "\n### {}\n\n{}", message.name(), comments.at(&path)).unwrap();
    if message.field.is_empty() {
        return;
    }
    text.push_str("\n| field | no. | type | |\n|---|---|---|---|\n");
    for (number, field) in (0..).zip(&message.field) {
        let comment = comments.at(&[path[0], path[1], numbers::MEMBER, number]);
        let group = field.oneof_index.filter(|_| !field.proto3_optional());
        let group = group.and_then(|index| message.oneof_decl.get(usize::try_from(index).unwrap()));
        let group = group.map(|group| format!("one of `{}`: ", group.name())).unwrap_or_default();
        let (name, number) = (field.name(), field.number());
        writeln!(text, "| `{name}` | {number} | {group}{} | {comment} |", kind(field)).unwrap();
    }
}

fn enumeration(text: &mut String, enumeration: &EnumDescriptorProto, comments: &Comments, index: i32) {
    let path = [numbers::ENUM, index];
    writeln!(text, "\n### {}\n\n{}\n", enumeration.name(), comments.at(&path)).unwrap();
    text.push_str("| value | no. | |\n|---|---|---|\n");
    for (number, value) in (0..).zip(&enumeration.value) {
        let comment = comments.at(&[path[0], path[1], numbers::MEMBER, number]);
        writeln!(text, "| `{}` | {} | {comment} |", value.name(), value.number()).unwrap();
    }
}

fn reference() -> String {
    let set: FileDescriptorSet = prost::Message::decode(DESCRIPTORS).unwrap();
    let mut files: Vec<_> = set.file.iter().filter(|file| file.package() == "centerx.v1").collect();
    files.sort_by_key(|file| file.name().to_owned());
    let files: Vec<_> = files.into_iter().map(|file| (file, Comments::of(file))).collect();
    let mut text = HEAD.to_owned();
    for (file, comments) in &files {
        (0..).zip(&file.service).for_each(|(index, it)| service(&mut text, it, comments, index));
    }
    text.push_str("\n## Messages\n");
    for (file, comments) in &files {
        (0..).zip(&file.message_type).for_each(|(index, it)| message(&mut text, it, comments, index));
    }
    text.push_str("\n## Enums\n");
    for (file, comments) in &files {
        (0..).zip(&file.enum_type).for_each(|(index, it)| enumeration(&mut text, it, comments, index));
    }
    text
}

#[test]
fn the_reference_of_the_api_says_what_the_protos_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    crate::reference::check(&path, &reference());
}
