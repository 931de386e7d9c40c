//! A table as its template declares it, and where its rows and index entries lie in the storage.

use super::error::Error;
use super::value::{Item, Value, size};
use crate::template::resources::Table;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub const MAX_HASH_BYTES: usize = 2048;
pub const MAX_RANGE_BYTES: usize = 1024;

/// The names of the attributes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNames {
    pub hash: String,
    pub range: Option<String>,
}

/// Which attributes an index has besides the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Projected {
    All,
    Keys,
    And(Vec<String>),
}

#[derive(Clone, Debug)]
pub struct Index {
    pub name: String,
    pub key: KeyNames,
    pub projected: Projected,
}

#[derive(Debug)]
pub struct Schema {
    pub name: String,
    pub key: KeyNames,
    pub indexes: Vec<Index>,
    pub has_stream: bool,
    /// The attribute that says when a row expires.
    pub expires: Option<String>,
    /// For those who ask.
    pub declared: Table,
}

/// A row's key: its values, and its place in the storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(Vec<u8>);

impl RowKey {
    /// The key at a place of the storage.
    #[must_use]
    pub fn at(place: &[u8]) -> Self {
        Self(place.to_vec())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The end of a part: it sorts before every byte that may follow, also behind a zero in the part, which gets a byte of its own.
const END: [u8; 2] = [0, 1];

/// The parts one after the other, in an order of the bytes that is the order of the parts.
#[must_use]
pub fn place(parts: &[&str]) -> Vec<u8> {
    let mut place = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        begin(&mut place, part);
        place.extend(END);
    }
    place
}

/// A part without its end.
pub fn begin(place: &mut Vec<u8>, part: &str) {
    for byte in part.bytes() {
        place.push(byte);
        if byte == 0 {
            place.push(u8::MAX);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Definition {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct DeclaredIndex {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: Projection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Projection {
    projection_type: String,
    #[serde(default)]
    non_key_attributes: Vec<String>,
}

impl Schema {
    /// # Errors
    /// For a declaration that DynamoDB would refuse, or that is not implemented.
    pub fn new(table: &Table) -> Result<Self> {
        ensure!(
            table.billing_mode == "PAY_PER_REQUEST",
            "BillingMode {} is not implemented by the local stack",
            table.billing_mode
        );
        let definitions = definitions(table)?;
        let key = key_names(Deserialize::deserialize(&table.key_schema)?, &definitions)?;
        let declared = table.global_secondary_indexes.as_ref().map(Vec::<DeclaredIndex>::deserialize);
        let declared = declared.transpose()?.unwrap_or_default();
        let indexes =
            declared.into_iter().map(|index| Index::new(index, &definitions)).collect::<Result<Vec<_>>>()?;
        let is_key = |name: &str| {
            let keys = indexes.iter().map(|index| &index.key).chain([&key]);
            keys.into_iter().any(|key| key.has(name))
        };
        if let Some(unused) = definitions.iter().find(|name| !is_key(name)) {
            bail!("AttributeDefinitions: {unused} is in no key");
        }
        let stream = table.stream_specification.as_ref().map(|stream| stream.stream_view_type.as_str());
        ensure!(
            stream.is_none_or(|view| view == "NEW_IMAGE"),
            "StreamViewType {} is not implemented by the local stack",
            stream.unwrap_or_default()
        );
        let expires = table.time_to_live_specification.as_ref().filter(|expiry| expiry.enabled);
        Ok(Self {
            name: table.table_name.clone(),
            key,
            indexes,
            has_stream: stream.is_some(),
            expires: expires.map(|expiry| expiry.attribute_name.clone()),
            declared: table.clone(),
        })
    }

    /// # Errors
    /// When there is none of this name.
    pub fn index(&self, name: &str) -> Result<&Index, Error> {
        let found = self.indexes.iter().find(|index| index.name == name);
        found.ok_or_else(|| Error::Validation(format!("The table does not have the specified index: {name}")))
    }

    /// Where the rows lie.
    #[must_use]
    pub fn rows(&self) -> Vec<u8> {
        place(&[&self.name])
    }

    /// Where the entries of an index lie.
    #[must_use]
    pub fn entries(&self, index: &Index) -> Vec<u8> {
        place(&[&self.name, &index.name])
    }

    fn row_key(&self, hash: &str, range: Option<&str>) -> RowKey {
        let parts: Vec<&str> = [self.name.as_str(), hash].into_iter().chain(range).collect();
        RowKey(place(&parts))
    }

    /// The key of a row that is put.
    ///
    /// # Errors
    /// When the row lacks it, or another attribute cannot be the key of an index.
    pub fn key_of_row(&self, item: &Item) -> Result<RowKey, Error> {
        let key = self.key_in(item)?;
        self.check_index_keys(item)?;
        Ok(key)
    }

    /// The key in a row.
    ///
    /// # Errors
    /// When the row lacks it, or it is no key.
    pub fn key_in(&self, item: &Item) -> Result<RowKey, Error> {
        let value = |name: &str, most: usize| {
            let missing = || Error::invalid(&format!("Missing the key {name} in the item"));
            let value = item.get(name).ok_or_else(missing)?;
            let Value::S(text) = value else {
                let kind = value.kind();
                return Err(Error::invalid(&format!(
                    "Type mismatch for key {name} expected: S actual: {kind}"
                )));
            };
            check_key(name, text, most).map(|()| text.as_str())
        };
        let hash = value(&self.key.hash, MAX_HASH_BYTES)?;
        let range = self.key.range.as_ref().map(|name| value(name, MAX_RANGE_BYTES)).transpose()?;
        Ok(self.row_key(hash, range))
    }

    /// The key that a request names.
    ///
    /// # Errors
    /// When it is not one of this table.
    pub fn key(&self, key: &Item) -> Result<RowKey, Error> {
        let mismatch = || Error::validation("The provided key element does not match the schema");
        if key.len() != 1 + usize::from(self.key.range.is_some()) {
            return Err(mismatch());
        }
        let value = |name: &str, most: usize| match key.get(name) {
            Some(Value::S(text)) => check_key(name, text, most).map(|()| text.as_str()),
            _ => Err(mismatch()),
        };
        let hash = value(&self.key.hash, MAX_HASH_BYTES)?;
        let range = self.key.range.as_ref().map(|name| value(name, MAX_RANGE_BYTES)).transpose()?;
        Ok(self.row_key(hash, range))
    }

    /// Refuses a row whose attribute cannot be the key of an index.
    ///
    /// # Errors
    /// Of several the one of the index whose name is first.
    fn check_index_keys(&self, item: &Item) -> Result<(), Error> {
        let mut indexes: Vec<&Index> = self.indexes.iter().collect();
        indexes.sort_by_key(|index| &index.name);
        for index in indexes {
            let hash = Some((&index.key.hash, MAX_HASH_BYTES));
            let range = index.key.range.as_ref().map(|name| (name, MAX_RANGE_BYTES));
            for (name, most) in [hash, range].into_iter().flatten() {
                match item.get(name) {
                    None => {}
                    Some(Value::S(text)) if !text.is_empty() => check_length(text, most)?,
                    Some(Value::S(_)) => {
                        return Err(Error::EmptyKey(format!(
                            "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: {}, IndexKey: {name}",
                            index.name
                        )));
                    }
                    Some(other) => {
                        return Err(Error::invalid(&format!(
                            "Type mismatch for Index Key {name} Expected: S Actual: {} IndexName: {}",
                            other.kind(),
                            index.name
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    /// The attributes of a row that an entry of an index has.
    #[must_use]
    pub fn projected(&self, index: &Index, item: &Item) -> Item {
        let is_there = |name: &str| match &index.projected {
            Projected::All => true,
            Projected::Keys => false,
            Projected::And(names) => names.iter().any(|other| other == name),
        };
        let is_key = |name: &str| self.key.has(name) || index.key.has(name);
        let kept = item.iter().filter(|(name, _)| is_key(name) || is_there(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Where the entry of a row lies in an index; `None` for a row without the index's key.
    #[must_use]
    pub fn entry(&self, index: &Index, item: &Item) -> Option<Vec<u8>> {
        let text = |name: &String| match item.get(name) {
            Some(Value::S(text)) => Some(text.as_str()),
            _ => None,
        };
        let mut parts = vec![self.name.as_str(), index.name.as_str()];
        for key in [&index.key, &self.key] {
            parts.push(text(&key.hash)?);
            if let Some(range) = &key.range {
                parts.push(text(range)?);
            }
        }
        Some(place(&parts))
    }

    /// Where a row lies among those that expire; `None` for one that does not.
    #[must_use]
    pub fn expiry(&self, item: &Item, key: &RowKey) -> Option<Vec<u8>> {
        let Some(Value::N(at)) = item.get(self.expires.as_ref()?) else { return None };
        let at = u64::try_from(at.whole()?).ok()?;
        Some([place(&[&self.name]).as_slice(), &at.to_be_bytes(), key.as_bytes()].concat())
    }

    /// The key of a row, as an answer names it: with that of an index, where one was read.
    #[must_use]
    pub fn position(&self, index: Option<&Index>, item: &Item) -> Item {
        let is_key = |name: &str| self.key.has(name) || index.is_some_and(|index| index.key.has(name));
        item.iter()
            .filter(|(name, _)| is_key(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl KeyNames {
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.hash == name || self.range.as_deref() == Some(name)
    }
}

impl Index {
    fn new(declared: DeclaredIndex, definitions: &[String]) -> Result<Self> {
        let name = declared.index_name;
        let key = key_names(declared.key_schema, definitions).with_context(|| format!("index {name}"))?;
        let others = declared.projection.non_key_attributes;
        let projected = match (declared.projection.projection_type.as_str(), others.is_empty()) {
            ("ALL", true) => Projected::All,
            ("KEYS_ONLY", true) => Projected::Keys,
            ("INCLUDE", false) => Projected::And(others),
            (kind, _) => bail!("index {name}: a projection {kind:?} with {} attributes", others.len()),
        };
        Ok(Self { name, key, projected })
    }
}

/// The attributes that may be in keys.
fn definitions(table: &Table) -> Result<Vec<String>> {
    let definitions: Vec<Definition> = Deserialize::deserialize(&table.attribute_definitions)?;
    let by_name: BTreeMap<_, _> = definitions.iter().map(|one| (&one.attribute_name, one)).collect();
    ensure!(by_name.len() == definitions.len(), "AttributeDefinitions: a name stands there twice");
    for Definition { attribute_name, attribute_type } in &definitions {
        ensure!(
            attribute_type == "S",
            "{attribute_name}: a key of type {attribute_type} is not implemented by the local stack"
        );
    }
    Ok(definitions.into_iter().map(|definition| definition.attribute_name).collect())
}

fn key_names(schema: Vec<KeyElement>, definitions: &[String]) -> Result<KeyNames> {
    let mut elements = schema.into_iter();
    let hash =
        elements.next().filter(|element| element.key_type == "HASH").context("KeySchema: no HASH key")?;
    let range = elements.next();
    ensure!(
        elements.next().is_none() && range.as_ref().is_none_or(|element| element.key_type == "RANGE"),
        "KeySchema: behind the HASH key there is at most one RANGE key"
    );
    let key = KeyNames { hash: hash.attribute_name, range: range.map(|element| element.attribute_name) };
    ensure!(key.range.as_ref() != Some(&key.hash), "KeySchema: both keys are {}", key.hash);
    for name in [Some(&key.hash), key.range.as_ref()].into_iter().flatten() {
        ensure!(definitions.contains(name), "KeySchema: {name} is not in AttributeDefinitions");
    }
    Ok(key)
}

fn check_key(name: &str, text: &str, most: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::EmptyKey(format!(
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty string value. Key: {name}"
        )));
    }
    check_length(text, most)
}

/// Refuses the text of a key, or of what a key is compared with, that is longer than a key may be.
pub fn check_length(text: &str, most: usize) -> Result<(), Error> {
    match text.len() > most {
        true if most == MAX_HASH_BYTES => {
            Err(Error::invalid("Size of hashkey has exceeded the maximum size limit of2048 bytes"))
        }
        true => {
            Err(Error::invalid("Aggregated size of all range keys has exceeded the size limit of 1024 bytes"))
        }
        false => Ok(()),
    }
}

/// The most bytes of a row.
const MAX_ROW_BYTES: usize = 400 * 1024;

/// Whether a row is too large.
#[must_use]
pub fn is_too_large(item: &Item) -> bool {
    size(item) > MAX_ROW_BYTES
}
