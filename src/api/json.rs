//! Messages as JSON, by the protobuf mapping: 64-bit numbers as strings,
//! times as RFC 3339, durations as `"1.5s"`, bytes as base64.

use std::sync::LazyLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use super::proto;

/// How the keys of objects are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// `size_bytes`, as since 1.9.
    Snake,
    /// `sizeBytes`, as up to 1.8.
    Camel,
}

/// JSON that is not the message it should be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidJson(String);

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // The bytes are generated together with the types, see `tests/generated.rs`.
    DescriptorPool::decode(proto::DESCRIPTORS).expect("the descriptors are well formed")
});

fn descriptor<M: Name>() -> MessageDescriptor {
    // Every generated type comes from a file whose descriptor is in the pool.
    POOL.get_message_by_name(&M::full_name()).expect("every message has a descriptor")
}

/// `message` as a JSON object, default values left out.
pub fn to_json<M: Message + Name>(message: &M, keys: Keys) -> Value {
    let options =
        SerializeOptions::new().skip_default_fields(true).use_proto_field_name(keys == Keys::Snake);
    let mut dynamic = DynamicMessage::new(descriptor::<M>());
    // Both sides have the same descriptor, and a map with string keys is
    // always representable as a JSON value.
    dynamic.transcode_from(message).expect("a message reads back what it wrote");
    dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap_or(Value::Null)
}

/// The message that `json` spells, with keys in either case and numbers as
/// numbers or strings. An unknown key is an error.
pub fn from_json<M: Message + Name + Default>(json: &Value) -> Result<M, InvalidJson> {
    let invalid = |error: &dyn std::fmt::Display| InvalidJson(error.to_string());
    let dynamic =
        DynamicMessage::deserialize(descriptor::<M>(), json).map_err(|error| invalid(&error))?;
    dynamic.transcode_to().map_err(|error| invalid(&error))
}
