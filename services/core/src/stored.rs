//! State that is written down and read back: what all its forms have in common.
//!
//! Each form begins with a byte that names its version. Bytes come from a store that may be damaged or tampered with,
//! so reading never panics and never takes more memory than the bytes or a stated bound allow.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Why stored bytes are no state. The store is at fault; reading again does not help, building anew does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Corrupt {
    #[error("it ends too early")]
    Short,
    #[error("it goes on after its end")]
    Long,
    #[error("its version is {found}, this program knows {known}")]
    Version { found: u8, known: u8 },
    /// Something is outside its bounds.
    #[error("its {0} cannot be")]
    Impossible(&'static str),
}

/// Takes the version byte off.
pub(crate) fn after_version(bytes: &[u8], known: u8) -> Result<&[u8], Corrupt> {
    match bytes.split_first() {
        None => Err(Corrupt::Short),
        Some((found, rest)) if *found == known => Ok(rest),
        Some((found, _)) => Err(Corrupt::Version { found: *found, known }),
    }
}

/// Reads a list of at most `MAX` items, for `deserialize_with`. A longer one is refused before it is held: an item may take
/// many times the bytes in memory that it took in the file.
///
/// # Errors
/// When there are more, or one of them cannot be read.
pub fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Items<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = from.next_element()? {
                if items.len() == MAX {
                    return Err(A::Error::custom(format_args!("a list has more than {MAX} items")));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(Items::<T, MAX>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Few {
        #[serde(deserialize_with = "at_most::<_, _, 3>")]
        items: Vec<u64>,
    }

    #[test]
    fn a_list_is_read_up_to_its_bound() {
        for (count, is_read) in [(0, true), (3, true), (4, false), (1 << 20, false)] {
            let bytes = postcard::to_allocvec(&Few { items: vec![7; count] }).expect("written");
            let read = postcard::from_bytes::<Few>(&bytes).ok().map(|few| few.items.len());
            assert_eq!(read, is_read.then_some(count));
        }
    }
}
