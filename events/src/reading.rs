//! Reads a JSON value as a type, with errors that may stand in a log: they name the place and what was expected there, and
//! never what was found. serde_json's own errors repeat the value, which may be an address.

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde_json::Value;
use std::fmt::{self, Display};
use std::iter::Enumerate;
use std::slice;

/// A value that is not of the type that was to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Where: `lines[0].quantity`; empty for the value itself.
    path: String,
    /// What should be there.
    rule: String,
}

impl Mismatch {
    fn new(rule: impl Into<String>) -> Self {
        Self { path: String::new(), rule: rule.into() }
    }

    fn within(self, place: &str) -> Self {
        Self { path: format!("{place}{}", self.path), ..self }
    }
}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.strip_prefix('.').unwrap_or(&self.path) {
            "" => f.write_str(&self.rule),
            path => write!(f, "{path}: {}", self.rule),
        }
    }
}

impl std::error::Error for Mismatch {}

impl Error for Mismatch {
    /// The text may repeat a value, so it is dropped.
    fn custom<T: Display>(_text: T) -> Self {
        Self::new("breaks the rule of its type")
    }

    fn invalid_type(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    fn invalid_value(_found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    fn unknown_variant(_found: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(_found: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("expected no fields but {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing").within(&format!(".{field}"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("stands twice").within(&format!(".{field}"))
    }
}

/// `value` as a `T`.
///
/// # Errors
/// [`Mismatch`], which repeats nothing of the value.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Mismatch> {
    T::deserialize(Reader(value))
}

struct Reader<'a>(&'a Value);

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Object(fields) => visitor.visit_map(Entries { fields: fields.iter(), entry: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            Value::Object(fields) => {
                let entries = Entries { fields: fields.iter(), entry: None };
                visitor.visit_enum(MapAccessDeserializer::new(entries))
            }
            _ => Err(Mismatch::new("expected a variant")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a>(Enumerate<slice::Iter<'a, Value>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Mismatch> {
        let Some((n, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(item)).map(Some).map_err(|e| e.within(&format!("[{n}]")))
    }
}

struct Entries<'a> {
    fields: serde_json::map::Iter<'a>,
    /// The entry whose key has been read.
    entry: Option<(&'a str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Mismatch> {
        let Some((name, value)) = self.fields.next() else { return Ok(None) };
        self.entry = Some((name, value));
        seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let (name, value) = self.entry.take().ok_or_else(|| Mismatch::new("expected a key first"))?;
        seed.deserialize(Reader(value)).map_err(|e| e.within(&format!(".{name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::InventoryReservationFailed;
    use crate::orders::{OrderCancelled, OrderConfirmed};
    use serde_json::json;

    const SECRET: &str = "4 Privet Drive";

    /// A good value, with this in place of what stands at `pointer`.
    fn broken<T: DeserializeOwned>(good: &Value, pointer: &str, value: Value) -> String {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        read::<T>(&bad).map(drop).unwrap_err().to_string()
    }

    fn confirmed() -> Value {
        json!({"order_id": "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f", "customer_id": "ada",
            "lines": [{"product_id": "beans", "quantity": 2, "unit_price": {"amount": 100, "currency": "USD"}}],
            "total": {"amount": 200, "currency": "USD"},
            "shipping_address": {"name": "Ada", "line1": "1 Row", "line2": null, "city": "Oslo",
                "postal_code": "0150", "country": "NO"}})
    }

    /// Guards: an error names the place and the type, and repeats nothing of the value.
    #[test]
    fn an_error_has_a_place_and_a_type_and_no_value() {
        for (pointer, value, expected) in [
            ("", json!(SECRET), "expected struct OrderConfirmed"),
            ("/shipping_address", json!(SECRET), "shipping_address: expected struct Address"),
            ("/shipping_address/city", json!({ SECRET: SECRET }), "shipping_address.city: expected a string"),
            ("/lines/0/quantity", json!(SECRET), "lines[0].quantity: expected u32"),
            ("/lines/0/quantity", json!(-4_2424_2424), "lines[0].quantity: expected u32"),
            ("/order_id", json!(SECRET), "order_id: breaks the rule of its type"),
            ("/total/currency", json!(SECRET), "total.currency: breaks the rule of its type"),
        ] {
            let error = broken::<OrderConfirmed>(&confirmed(), pointer, value);
            assert_eq!(error, expected);
        }
        let reason = json!({"order_id": "018f2b9e-7c1a-7d3e-9f00-4b6a1c2d3e4f", "customer_id": "ada",
            "reason": {"code": "PAYMENT_DECLINED", "decline_code": "x"}});
        for (pointer, value) in [("/reason", json!(SECRET)), ("/reason/code", json!(SECRET))] {
            let error = broken::<OrderCancelled>(&reason, pointer, value);
            assert!(
                error.starts_with("reason") && error.contains(": expected ") && !error.contains(SECRET),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = read::<InventoryReservationFailed>(&json!({})).unwrap_err().to_string();
        assert!(error.ends_with(": is missing"), "{error}");
    }

    /// Guards: nothing is read in another way than serde_json reads it.
    #[test]
    fn what_is_right_is_read_as_serde_json_reads_it() {
        let good = confirmed();
        let expected: OrderConfirmed = serde_json::from_value(good.clone()).unwrap();
        assert_eq!(read::<OrderConfirmed>(&good), Ok(expected));
        let odd = json!([null, true, -1, 1.5, {"a": [u64::MAX]}, "x"]);
        assert_eq!(read::<Value>(&odd), Ok(odd.clone()));
        assert_eq!(read::<Option<u64>>(&Value::Null), Ok(None));
        assert_eq!(read::<Result<u64, String>>(&json!({"Ok": 7})), Ok(Ok(7)));
    }
}
