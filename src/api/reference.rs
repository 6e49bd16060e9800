//! The reference of the API, `docs/reference/api.md`: written from the protos, their comments, and `authorize`.

use std::collections::HashMap;
use std::fmt::Write as _;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
};

use super::DESCRIPTORS;
use super::authorize::needed;

#[path = "../../tests/support/committed.rs"]
mod committed;

const PACKAGE: &str = "centerx.v1";
const HEAD: &str = "\
# Every call and message

Package `centerx.v1`, as `proto/centerx/v1` describes it: written from there, with the roles that the server asks for, by
[a test](../development.md#references). [The API](../api.md) tells how to use it.

";

/// Field numbers of descriptor.proto, of which the paths of comments are made.
mod at {
    pub(super) const FIELD: i32 = 2;
    pub(super) const MESSAGE: i32 = 4;
    pub(super) const ENUM: i32 = 5;
    pub(super) const SERVICE: i32 = 6;
    pub(super) const METHOD: i32 = 2;
    pub(super) const VALUE: i32 = 2;
}

/// A file of the protos and its comments, by the path of what they are about.
struct Proto {
    file: FileDescriptorProto,
    comments: HashMap<Vec<i32>, String>,
}

impl Proto {
    fn all() -> Vec<Self> {
        let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
        files.into_iter().filter(|file| file.package() == PACKAGE).map(Self::new).collect()
    }

    fn new(file: FileDescriptorProto) -> Self {
        let locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations
            .filter(|location| location.leading_comments.is_some())
            .map(|location| (location.path.clone(), prose(location.leading_comments())));
        Self { comments: comments.collect(), file }
    }

    /// What stands above an item. Everything has a comment: `buf lint` asks for it.
    fn comment(&self, path: &[i32]) -> &str {
        let comment = self.comments.get(path);
        comment.unwrap_or_else(|| panic!("{}: no comment at {path:?}", self.file.name()))
    }

    fn cell(&self, path: &[i32]) -> String {
        self.comment(path).replace("\n\n", "<br>").replace('\n', " ").replace('|', "\\|")
    }
}

/// A comment as Markdown: without the space behind the slashes, and with asterisks that are none of Markdown's.
fn prose(comment: &str) -> String {
    let lines = comment.trim_end().lines().map(|line| line.strip_prefix(' ').unwrap_or(line));
    let text = lines.collect::<Vec<_>>().join("\n");
    let parts = text.split('`').enumerate();
    let escaped =
        parts.map(|(at, part)| if at % 2 == 0 { part.replace('*', "\\*") } else { part.to_owned() });
    escaped.collect::<Vec<_>>().join("`")
}

/// A message or enum, linked if it is ours.
fn link(type_name: &str) -> String {
    let name = type_name.rsplit('.').next().unwrap_or(type_name);
    match type_name.strip_prefix('.').and_then(|full| full.strip_prefix(PACKAGE)) {
        Some(_) => format!("[{name}](#{})", name.to_lowercase()),
        None => format!("`{}`", type_name.trim_start_matches('.')),
    }
}

fn single_type(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => link(field.type_name()),
        scalar => format!("`{}`", scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase()),
    }
}

/// A field's type in the words of protobuf.
fn field_type(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let entry = message.nested_type.iter().find(|nested| {
        nested.options.as_ref().is_some_and(|options| options.map_entry())
            && field.type_name().ends_with(&format!(".{}.{}", message.name(), nested.name()))
    });
    if let Some(entry) = entry {
        return format!("map of {} to {}", single_type(&entry.field[0]), single_type(&entry.field[1]));
    }
    let one = single_type(field);
    match field.oneof_index {
        _ if field.label() == Label::Repeated => format!("repeated {one}"),
        _ if field.proto3_optional() => format!("optional {one}"),
        Some(index) => {
            let group = usize::try_from(index).unwrap();
            format!("{one}, one of `{}`", message.oneof_decl[group].name())
        }
        None => one,
    }
}

fn write_message(out: &mut String, proto: &Proto, index: i32, message: &DescriptorProto) {
    let path = [at::MESSAGE, index];
    write!(out, "### {}\n\n{}\n\n", message.name(), proto.comment(&path)).unwrap();
    if message.field.is_empty() {
        out.push_str("It has no fields.\n\n");
        return;
    }
    out.push_str("| field | number | type | |\n|---|---|---|---|\n");
    for (place, field) in (0..).zip(&message.field) {
        let meaning = proto.cell(&[at::MESSAGE, index, at::FIELD, place]);
        let (name, number, kind) = (field.name(), field.number(), field_type(message, field));
        writeln!(out, "| `{name}` | {number} | {kind} | {meaning} |").unwrap();
    }
    out.push('\n');
}

fn write_enum(out: &mut String, proto: &Proto, index: i32, list: &EnumDescriptorProto) {
    write!(out, "### {}\n\n{}\n\n", list.name(), proto.comment(&[at::ENUM, index])).unwrap();
    out.push_str("| value | number | |\n|---|---|---|\n");
    for (place, value) in (0..).zip(&list.value) {
        let meaning = proto.cell(&[at::ENUM, index, at::VALUE, place]);
        writeln!(out, "| `{}` | {} | {meaning} |", value.name(), value.number()).unwrap();
    }
    out.push('\n');
}

fn write_method(out: &mut String, comment: &str, service: &str, method: &MethodDescriptorProto) {
    let path = format!("/{PACKAGE}.{service}/{}", method.name());
    let role = needed(&path).map_or("none", |role| role.as_str());
    let stream = |is_stream| if is_stream { "a stream of " } else { "" };
    write!(
        out,
        "### {}\n\nTakes {}{}, gives {}{}. Role: `{role}`.\n\n{comment}\n\n",
        method.name(),
        stream(method.client_streaming()),
        link(method.input_type()),
        stream(method.server_streaming()),
        link(method.output_type()),
    )
    .unwrap();
}

fn write_service(out: &mut String, proto: &Proto, index: i32, service: &ServiceDescriptorProto) {
    write!(out, "## {}\n\n{}\n\n", service.name(), proto.comment(&[at::SERVICE, index])).unwrap();
    for (place, method) in (0..).zip(&service.method) {
        let comment = proto.comment(&[at::SERVICE, index, at::METHOD, place]);
        write_method(out, comment, service.name(), method);
    }
}

fn write_reference() -> String {
    let protos = Proto::all();
    let mut out = HEAD.to_owned();
    for proto in &protos {
        (0..).zip(&proto.file.service).for_each(|(at, one)| write_service(&mut out, proto, at, one));
    }
    out.push_str("## Messages\n\n");
    for proto in &protos {
        (0..).zip(&proto.file.message_type).for_each(|(at, one)| write_message(&mut out, proto, at, one));
    }
    out.push_str("## Enums\n\n");
    for proto in &protos {
        (0..).zip(&proto.file.enum_type).for_each(|(at, one)| write_enum(&mut out, proto, at, one));
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

#[test]
fn the_reference_is_what_the_protos_say() {
    committed::holds("api.md", &write_reference());
}

#[test]
fn comments_are_shown_as_they_are() {
    assert_eq!(prose(" Holds *** and `*`.\n - one\n   two\n"), "Holds \\*\\*\\* and `*`.\n- one\n  two");
}
