//! Maps written in order of their keys, so that equal maps give equal bytes.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;

use rustc_hash::FxHashMap;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

pub(super) fn serialize<S: Serializer, K: Serialize + Ord, V: Serialize>(
    map: &FxHashMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut entries: Vec<(&K, &V)> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    let mut out = serializer.serialize_map(Some(entries.len()))?;
    for (key, value) in entries {
        out.serialize_entry(key, value)?;
    }
    out.end()
}

pub(super) fn deserialize<'de, D, K, V>(deserializer: D) -> Result<FxHashMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Hash + Ord + Clone,
    V: Deserialize<'de>,
{
    deserializer.deserialize_map(Ascending(PhantomData))
}

struct Ascending<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Hash + Ord + Clone, V: Deserialize<'de>> Visitor<'de> for Ascending<K, V> {
    type Value = FxHashMap<K, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map in ascending order of its keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        // Grows with what is really there, never with the length that the bytes claim.
        let mut map = FxHashMap::default();
        let mut latest: Option<K> = None;
        while let Some((key, value)) = entries.next_entry::<K, V>()? {
            if latest.as_ref().is_some_and(|latest| *latest >= key) {
                return Err(A::Error::custom("keys out of order"));
            }
            latest = Some(key.clone());
            map.insert(key, value);
        }
        Ok(map)
    }
}
