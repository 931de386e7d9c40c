//! Personal data is masked in what an operator sees: the fields that the contracts tag `x-pii`, and the address.

use events::catalogue;
use events::envelope::Envelope;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// What stands in the place of personal data.
pub const MASK: &str = "(personal data)";

/// The names of fields of personal data.
struct Personal {
    /// Tagged in the schema of an event.
    tagged: BTreeSet<String>,
    /// Below a tagged one: a service's private facts may hold them by themselves.
    inner: BTreeSet<String>,
}

static PERSONAL: LazyLock<Personal> = LazyLock::new(|| {
    let mut personal = Personal { tagged: BTreeSet::new(), inner: BTreeSet::new() };
    for schema in catalogue::entries().iter().map(|entry| (entry.schema)()) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            if field.get("x-pii").is_some() {
                personal.tagged.insert(name.clone());
                names(field, &schema, &mut personal.inner);
            }
        }
    }
    personal
});

/// The names of the fields that a schema has, wherever it refers to.
fn names(shape: &Value, schema: &Value, found: &mut BTreeSet<String>) {
    match shape {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("properties", Value::Object(fields)) => found.extend(fields.keys().cloned()),
                    ("$ref", Value::String(path)) => {
                        let meant = path.strip_prefix('#').and_then(|path| schema.pointer(path));
                        names(meant.unwrap_or(&Value::Null), schema, found);
                    }
                    _ => names(member, schema, found),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| names(member, schema, found)),
        _ => {}
    }
}

/// Masks the fields of these names, at any depth.
fn mask(value: &mut Value, is_personal: &impl Fn(&str) -> bool) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if is_personal(name) && !member.is_null() {
                    *member = MASK.into();
                } else {
                    mask(member, is_personal);
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(|member| mask(member, is_personal)),
        _ => {}
    }
}

/// Masks what is tagged in any JSON, such as the body of a message.
pub fn tagged(value: &mut Value) {
    mask(value, &|name| PERSONAL.tagged.contains(name));
}

/// Masks an event's data. Of a service's private fact, which has no contract, the parts of an address too.
pub fn event(envelope: &mut Envelope) {
    let is_private = catalogue::entries().iter().all(|entry| entry.kind != envelope.metadata.kind);
    let is_personal =
        |name: &str| PERSONAL.tagged.contains(name) || (is_private && PERSONAL.inner.contains(name));
    mask(&mut envelope.data, &is_personal);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Guards: the names come from the contracts, so that a field that is tagged tomorrow is masked tomorrow.
    #[test]
    fn the_contracts_name_what_is_personal() {
        assert!(PERSONAL.tagged.contains("shipping_address"));
        for part in ["name", "line1", "line2", "city", "postal_code", "country"] {
            assert!(PERSONAL.inner.contains(part), "{part}");
        }
    }

    /// Guards: an address is masked wherever it is, and nothing beside it.
    #[test]
    fn an_address_is_masked_at_any_depth() {
        let address = json!({"name": "Ada", "city": "London"});
        let mut body = json!({"detail": [{"data": {"shipping_address": address, "order_id": 7}}]});
        tagged(&mut body);
        assert_eq!(body, json!({"detail": [{"data": {"shipping_address": MASK, "order_id": 7}}]}));
    }
}
