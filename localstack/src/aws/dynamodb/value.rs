//! Values and rows in DynamoDB's JSON, checked as they are read.
//!
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html>

use super::number::{Number, Unfit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// What a parse error begins with that DynamoDB calls a ValidationException; every other is a SerializationException.
pub const VALIDATION: &str = "VALIDATION:";

/// The deepest value: <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_DEPTH: usize = 32;

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    S(String),
    N(Number),
    B(Vec<u8>),
    Bool(bool),
    Null,
    L(Vec<Value>),
    M(Item),
    /// Sorted, as the next two, and without duplicates.
    Ss(Vec<String>),
    Ns(Vec<Number>),
    Bs(Vec<Vec<u8>>),
}

/// A row, a key, or the values of an expression: values by name.
pub type Item = BTreeMap<String, Value>;

impl Value {
    /// The type's name in DynamoDB's JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::B(_) => "B",
            Self::Bool(_) => "BOOL",
            Self::Null => "NULL",
            Self::L(_) => "L",
            Self::M(_) => "M",
            Self::Ss(_) => "SS",
            Self::Ns(_) => "NS",
            Self::Bs(_) => "BS",
        }
    }

    /// The bytes that the value counts for.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => number.size(),
            Self::B(bytes) => bytes.len(),
            Self::Bool(_) | Self::Null => 1,
            Self::L(values) => 3 + values.iter().map(|value| value.size() + 1).sum::<usize>(),
            Self::M(values) => {
                3 + values.iter().map(|(name, value)| name.len() + value.size() + 1).sum::<usize>()
            }
            Self::Ss(texts) => texts.iter().map(String::len).sum(),
            Self::Ns(numbers) => numbers.iter().map(|number| number.size()).sum(),
            Self::Bs(all) => all.iter().map(Vec::len).sum(),
        }
    }

    /// How two values of one type compare that has an order; `None` for all others.
    #[must_use]
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::S(one), Self::S(two)) => Some(one.cmp(two)),
            (Self::N(one), Self::N(two)) => Some(one.cmp(two)),
            (Self::B(one), Self::B(two)) => Some(one.cmp(two)),
            _ => None,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::L(values) => 1 + values.iter().map(Self::depth).max().unwrap_or(0),
            Self::M(values) => 1 + values.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the value is nested deeper than DynamoDB allows.
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.depth() >= MAX_DEPTH
    }
}

/// The bytes that a row counts for: its names and values.
#[must_use]
pub fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

fn invalid<E: de::Error>(why: impl fmt::Display) -> E {
    E::custom(format!("{VALIDATION}{why}"))
}

fn number<E: de::Error>(text: &str) -> Result<Number, E> {
    text.parse().map_err(|unfit: Unfit| invalid(unfit))
}

fn bytes<E: de::Error>(text: &str) -> Result<Vec<u8>, E> {
    BASE64.decode(text).map_err(|_| E::custom("Invalid Base64"))
}

/// The members of a set, each read by `read`.
fn set<T: Ord, E: de::Error>(
    texts: Vec<String>,
    what: &str,
    read: impl Fn(String) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    const INVALID: &str = "One or more parameter values were invalid: ";
    if texts.is_empty() {
        return Err(invalid(format!("{INVALID}{what}")));
    }
    let shown = format!("[{}]", texts.join(", "));
    let mut members = texts.into_iter().map(read).collect::<Result<Vec<T>, E>>()?;
    members.sort_unstable();
    if members.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid(format!("{INVALID}Input collection {shown} contains duplicates.")));
    }
    Ok(members)
}

/// The types' names, read without a copy of their text.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    S,
    N,
    B,
    Bool,
    Null,
    L,
    M,
    Ss,
    Ns,
    Bs,
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an AttributeValue")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Some(kind) = map.next_key::<Kind>()? else {
            let why = "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes";
            return Err(invalid(why));
        };
        let value = match kind {
            Kind::S => Value::S(map.next_value()?),
            Kind::N => Value::N(number(&map.next_value::<String>()?)?),
            Kind::B => Value::B(bytes(&map.next_value::<String>()?)?),
            Kind::Bool => Value::Bool(map.next_value()?),
            Kind::Null => match map.next_value()? {
                true => Value::Null,
                false => {
                    return Err(invalid(
                        "One or more parameter values were invalid: Null attribute value types must have the value of true",
                    ));
                }
            },
            Kind::L => Value::L(map.next_value()?),
            Kind::M => Value::M(map.next_value()?),
            Kind::Ss => Value::Ss(set(map.next_value()?, "An string set  may not be empty", Ok)?),
            Kind::Ns => {
                Value::Ns(set(map.next_value()?, "An number set  may not be empty", |text| number(&text))?)
            }
            Kind::Bs => {
                Value::Bs(set(map.next_value()?, "Binary sets should not be empty", |text| bytes(&text))?)
            }
        };
        if map.next_key::<String>()?.is_some() {
            let why = "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes";
            return Err(invalid(why));
        }
        Ok(value)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ValueVisitor)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = |all: &[Vec<u8>]| all.iter().map(|bytes| BASE64.encode(bytes)).collect::<Vec<_>>();
        let kind = self.kind();
        match self {
            Self::S(text) => tagged(serializer, kind, text),
            Self::N(number) => tagged(serializer, kind, &number.to_string()),
            Self::B(bytes) => tagged(serializer, kind, &BASE64.encode(bytes)),
            Self::Bool(value) => tagged(serializer, kind, value),
            Self::Null => tagged(serializer, kind, &true),
            Self::L(values) => tagged(serializer, kind, values),
            Self::M(values) => tagged(serializer, kind, values),
            Self::Ss(members) => tagged(serializer, kind, members),
            Self::Ns(members) => {
                tagged(serializer, kind, &members.iter().map(ToString::to_string).collect::<Vec<_>>())
            }
            Self::Bs(members) => tagged(serializer, kind, &texts(members)),
        }
    }
}

fn tagged<S: Serializer>(
    serializer: S,
    kind: &'static str,
    value: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    serializer.collect_map([(kind, value)])
}
/// A row's JSON.
#[must_use]
pub fn json(item: &Item) -> Bytes {
    // Texts and numbers can always be written.
    serde_json::to_vec(item).unwrap_or_default().into()
}

/// A row from the storage.
#[must_use]
pub fn read(row: &[u8]) -> Item {
    // Every row was written by `json`, and the storage has checked its checksum.
    serde_json::from_slice(row).unwrap_or_default()
}
