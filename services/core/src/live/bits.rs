//! Numbers in as many bits as they need, lowest bits first.

use crate::stored::Corrupt;

#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet: fewer than 8 between two calls.
    open: u64,
    open_bits: u32,
}

impl Writer {
    /// Goes on after `bytes`.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, open: 0, open_bits: 0 }
    }

    /// Writes the lowest `bits` of `value`, which has no others; 0 to 64.
    pub(super) fn put(&mut self, value: u64, bits: u32) {
        if bits > 32 {
            self.put(value & 0xffff_ffff, 32);
            return self.put(value >> 32, bits - 32);
        }
        self.open |= value << self.open_bits;
        self.open_bits += bits;
        while self.open_bits >= 8 {
            self.bytes.push(self.open as u8);
            self.open >>= 8;
            self.open_bits -= 8;
        }
    }

    /// Writes how many bits `value` takes, in `length_bits`, and then those.
    pub(super) fn put_sized(&mut self, value: u64, length_bits: u32) {
        let bits = width(value);
        self.put(u64::from(bits), length_bits);
        self.put(value, bits);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.open_bits > 0 {
            self.bytes.push(self.open as u8);
        }
        self.bytes
    }
}

/// Bits that a number needs; 0 for 0.
pub(super) fn width(value: u64) -> u32 {
    64 - value.leading_zeros()
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    open: u64,
    open_bits: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), open: 0, open_bits: 0 }
    }

    /// A number of 0 to 64 bits.
    pub(super) fn take(&mut self, bits: u32) -> Result<u64, Corrupt> {
        if bits > 32 {
            let low = self.take(32)?;
            return Ok(low | self.take(bits - 32)? << 32);
        }
        while self.open_bits < bits {
            let byte = self.bytes.next().ok_or(Corrupt::Short)?;
            self.open |= u64::from(*byte) << self.open_bits;
            self.open_bits += 8;
        }
        let value = self.open & ((1 << bits) - 1);
        self.open >>= bits;
        self.open_bits -= bits;
        Ok(value)
    }

    /// A number of at most `bits_max` bits behind its length.
    pub(super) fn take_sized(&mut self, length_bits: u32, bits_max: u32) -> Result<u64, Corrupt> {
        let bits = self.take(length_bits)? as u32;
        if bits > bits_max {
            return Err(Corrupt::Impossible("width of a number"));
        }
        self.take(bits)
    }

    /// A number from 0 to `max`.
    pub(super) fn take_below(&mut self, bits: u32, max: u64, what: &'static str) -> Result<u64, Corrupt> {
        let value = self.take(bits)?;
        if value <= max { Ok(value) } else { Err(Corrupt::Impossible(what)) }
    }

    /// Nothing but the rest of the last byte may be left.
    pub(super) fn finish(mut self) -> Result<(), Corrupt> {
        if self.bytes.next().is_some() || self.open != 0 { Err(Corrupt::Long) } else { Ok(()) }
    }
}
