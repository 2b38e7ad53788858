//! Payloads on the bus: protobuf, compressed, with a cap on what they inflate to; and the chain of outputs in headers.

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;
use trailwarden_core::fence::{Sequence, Tail};

use crate::Invalid;

/// What a payload may inflate to. A batch of 1,024 events has about 800 KiB.
pub const INFLATED_BYTES_MAX: usize = 16 << 20;
/// Entries that the outermost message may have, repeated ones counted one by one: an empty one takes two bytes on the
/// wire and hundreds in memory.
pub const ENTRIES_MAX: usize = 1 << 16;

/// Sequence of the input that an output was made from.
pub const INPUT: &str = "Tw-Input";
/// Sequence of the input before that one in the same partition.
pub const PREVIOUS: &str = "Tw-Previous";
/// Baseline epoch that an output rests on; not there before the first.
pub const EPOCH: &str = "Tw-Epoch";
/// When the broker took in the activities that an output was made of, in milliseconds since 1970 by its clock: what comes of
/// them is held against it. For measures alone.
pub const TAKEN: &str = "Tw-Taken";
/// Longest name of an epoch.
const EPOCH_BYTES_MAX: usize = 128;

/// LZ4 spends at least one byte on every 255 that it gives.
const RATIO_MAX: usize = 255;

/// A message as it travels: the length in four bytes, little-endian, then an LZ4 block of its protobuf encoding.
pub fn pack(message: &impl Message) -> Bytes {
    lz4_flex::block::compress_prepend_size(&message.encode_to_vec()).into()
}

/// Bytes of a message before compression.
pub fn size(message: &impl Message) -> usize {
    message.encoded_len()
}

/// The message in a payload.
///
/// # Errors
/// When the payload is not one, or would inflate beyond [`INFLATED_BYTES_MAX`] or [`ENTRIES_MAX`]; that is found
/// before room is made for it.
pub fn unpack<M: Message + Default>(payload: &[u8]) -> Result<M, Invalid> {
    let broken = |_| Invalid::Compression;
    let (bytes, block) = lz4_flex::block::uncompressed_size(payload).map_err(broken)?;
    if bytes > INFLATED_BYTES_MAX {
        return Err(Invalid::TooLarge { what: "bytes", found: bytes, limit: INFLATED_BYTES_MAX });
    }
    if bytes > block.len().saturating_mul(RATIO_MAX) {
        return Err(Invalid::Compression);
    }
    let inflated = lz4_flex::block::decompress(block, bytes).map_err(broken)?;
    if inflated.len() != bytes {
        return Err(Invalid::Compression);
    }
    let entries = entries(&inflated);
    if entries > ENTRIES_MAX {
        return Err(Invalid::TooLarge { what: "entries", found: entries, limit: ENTRIES_MAX });
    }
    Ok(M::decode(inflated.as_slice())?)
}

/// Length-delimited fields of the outermost message, up to the first thing that is no field; the decoder words that.
fn entries(mut message: &[u8]) -> usize {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let mut entries = 0;
    while let Ok((tag, wire_type)) = decode_key(&mut message) {
        if wire_type == WireType::LengthDelimited {
            entries += 1;
            match decode_varint(&mut message).map(usize::try_from) {
                Ok(Ok(length)) if length <= message.len() => message = &message[length..],
                _ => break,
            }
        } else if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
            break;
        }
    }
    entries
}

/// An output's place in the chain of its partition, as its headers tell it: enough to decide by without the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The input that the output was made from.
    pub input: Sequence,
    /// The input before it in this partition; 0 for the first.
    pub previous_input: Sequence,
    /// Empty before the first epoch.
    pub epoch: String,
}

impl Chain {
    /// Writes it among a message's headers.
    pub fn write(&self, headers: &mut BTreeMap<String, String>) {
        headers.insert(INPUT.to_owned(), self.input.to_string());
        headers.insert(PREVIOUS.to_owned(), self.previous_input.to_string());
        if !self.epoch.is_empty() {
            headers.insert(EPOCH.to_owned(), self.epoch.clone());
        }
    }

    /// Reads it off a message's headers.
    ///
    /// # Errors
    /// When a header is missing or is no sequence, or the epoch's name cannot be one.
    pub fn read(headers: &BTreeMap<String, String>) -> Result<Self, Invalid> {
        let sequence = |name: &'static str| {
            let text = headers.get(name).ok_or(Invalid::Field { field: name, what: "is missing" })?;
            text.parse().map_err(|_| Invalid::Field { field: name, what: "is no sequence" })
        };
        let epoch = headers.get(EPOCH).map(String::as_str).unwrap_or_default();
        if epoch.len() > EPOCH_BYTES_MAX || !epoch.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::Field { field: EPOCH, what: "is no name of an epoch" });
        }
        Ok(Self { input: sequence(INPUT)?, previous_input: sequence(PREVIOUS)?, epoch: epoch.to_owned() })
    }

    /// As the fence sees the output that stands at `output`.
    pub fn tail(self, output: Sequence) -> Tail {
        let Self { input, previous_input, epoch } = self;
        Tail { output, input, previous_input, epoch }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1;

    fn batch(ids: Vec<String>) -> v1::ActivityBatch {
        v1::ActivityBatch { rules: ids, watermark_ms: 7, ..v1::ActivityBatch::default() }
    }

    #[test]
    fn a_bomb_is_refused_before_room_is_made_for_it() {
        let lie = |bytes: u32, block: &[u8]| [&bytes.to_le_bytes(), block].concat();
        let too_large = lie(INFLATED_BYTES_MAX as u32 + 1, &[0; 1 << 17]);
        assert!(matches!(unpack::<v1::ActivityBatch>(&too_large), Err(Invalid::TooLarge { what: "bytes", .. })));
        let impossible = lie(INFLATED_BYTES_MAX as u32, &[0; 64]);
        assert_eq!(unpack::<v1::ActivityBatch>(&impossible), Err(Invalid::Compression));
        let many = pack(&batch(vec![String::new(); ENTRIES_MAX + 1]));
        assert!(matches!(unpack::<v1::ActivityBatch>(&many), Err(Invalid::TooLarge { what: "entries", .. })));
        assert!(unpack::<v1::ActivityBatch>(&pack(&batch(vec![String::new(); ENTRIES_MAX - 1]))).is_ok());
    }

    #[test]
    fn a_chain_is_refused_by_the_name_of_its_header() {
        let headers = |entries: &[(&str, &str)]| entries.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        for (entries, field) in [
            (vec![(INPUT, "1")], PREVIOUS),
            (vec![(PREVIOUS, "1")], INPUT),
            (vec![(INPUT, "-1"), (PREVIOUS, "0")], INPUT),
            (vec![(INPUT, "1"), (PREVIOUS, "0"), (EPOCH, "a b")], EPOCH),
        ] {
            let read = Chain::read(&headers(&entries));
            assert!(matches!(read, Err(Invalid::Field { field: found, .. }) if found == field), "{entries:?} {read:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(ids in prop::collection::vec(".{0,40}", 0..50)) {
            let batch = batch(ids);
            prop_assert_eq!(unpack::<v1::ActivityBatch>(&pack(&batch)), Ok(batch));
        }

        #[test]
        fn hostile_bytes_are_refused_or_read(mut bytes in prop::collection::vec(any::<u8>(), 0..400), at: prop::sample::Index, with: u8) {
            let _ = unpack::<v1::FeatureBatch>(&bytes);
            // Behind an honest length, so that the decoders see them too.
            let _ = unpack::<v1::FeatureBatch>(&lz4_flex::block::compress_prepend_size(&bytes));
            let mut packed = pack(&batch(vec!["rule".repeat(40); 9])).to_vec();
            let at = at.index(packed.len());
            packed[at] = with;
            let _ = unpack::<v1::ActivityBatch>(&packed);
            bytes.truncate(4);
            let _ = unpack::<v1::ActivityBatch>(&bytes);
        }

        #[test]
        fn a_chain_comes_back_from_headers(input: u64, previous_input: u64, epoch in "([0-9a-f]{64})?") {
            let chain = Chain { input, previous_input, epoch };
            let mut headers = BTreeMap::from([("traceparent".to_owned(), "00".to_owned())]);
            chain.write(&mut headers);
            prop_assert_eq!(Chain::read(&headers), Ok(chain));
        }
    }
}
