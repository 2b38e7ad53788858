//! Numbers of a network as they are kept: half precision, since training noise is far above its rounding.

use serde::{Deserialize, Serialize};

use super::Error;

/// A matrix by rows in IEEE 754 half precision, little-endian. Bytes and not `u16`, because postcard would write most
/// of those in three bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matrix {
    rows: u32,
    columns: u32,
    halves: Vec<u8>,
}

impl Matrix {
    /// Rounds to half precision; what is beyond its range becomes +-65,504.
    ///
    /// # Errors
    /// [`Error::Shape`] unless there are `rows * columns` values, [`Error::NotFinite`] for NaN or an infinity.
    pub fn new(name: &'static str, rows: usize, columns: usize, values: &[f32]) -> Result<Self, Error> {
        let of_32_bits = |size: usize| u32::try_from(size).ok();
        let (Some(short_rows), Some(short_columns)) = (of_32_bits(rows), of_32_bits(columns)) else {
            return Err(Error::shape(name, (rows, columns), (0, 0)));
        };
        if rows.checked_mul(columns) != Some(values.len()) {
            return Err(Error::shape(name, (rows, columns), (1, values.len())));
        }
        if !values.iter().all(|value| value.is_finite()) {
            return Err(Error::NotFinite { name });
        }
        let halves = values.iter().flat_map(|value| to_half(*value).to_le_bytes()).collect();
        Ok(Self { rows: short_rows, columns: short_columns, halves })
    }

    /// The values by rows.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shape is not the one given or the bytes do not fill it, [`Error::NotFinite`] for NaN
    /// or an infinity.
    pub fn values(&self, name: &'static str, rows: usize, columns: usize) -> Result<Vec<f32>, Error> {
        let found = (self.rows as usize, self.columns as usize);
        let bytes = rows.checked_mul(columns).and_then(|count| count.checked_mul(2));
        if found != (rows, columns) || bytes != Some(self.halves.len()) {
            return Err(Error::shape(name, (rows, columns), found));
        }
        let values: Vec<f32> =
            self.halves.chunks_exact(2).map(|pair| from_half(u16::from_le_bytes([pair[0], pair[1]]))).collect();
        if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(Error::NotFinite { name }) }
    }
}

/// To nearest, ties to even. The value is finite.
fn to_half(value: f32) -> u16 {
    const OVERFLOW: u32 = 0x477f_f000; // 65,520, which would round to infinity
    const SMALLEST_NORMAL: u32 = 0x3880_0000; // 2^-14
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude >= OVERFLOW {
        0x7bff
    } else if magnitude < SMALLEST_NORMAL {
        (value.abs() * 2f32.powi(24)).round_ties_even() as u16
    } else {
        // The exponent's bias falls from 127 to 15.
        ((magnitude - ((127 - 15) << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13) as u16
    };
    sign | half
}

fn from_half(half: u16) -> f32 {
    let exponent = u32::from(half >> 10 & 0x1f);
    let mantissa = u32::from(half & 0x3ff);
    let magnitude = match exponent {
        0 => mantissa as f32 * 2f32.powi(-24),
        0x1f => return f32::NAN,
        _ => f32::from_bits((exponent + 127 - 15) << 23 | mantissa << 13),
    };
    if half & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_and_rounding_goes_to_the_nearest() {
        let finite: Vec<u16> = (0..=u16::MAX).filter(|half| half >> 10 & 0x1f != 0x1f).collect();
        for half in &finite {
            assert_eq!(to_half(from_half(*half)), *half);
        }
        assert_eq!([1.0, -2.0, 65_504.0, 2f32.powi(-24)].map(to_half), [0x3c00, 0xc000, 0x7bff, 1]);
        for half in 0..0x7bff_u16 {
            let (low, high) = (from_half(half), from_half(half + 1));
            let middle = low + (high - low) / 2.0;
            assert_eq!(to_half(middle), if half % 2 == 0 { half } else { half + 1 }, "{middle}");
            assert_eq!(to_half(f32::from_bits(middle.to_bits() + 1)), half + 1, "{middle}");
        }
        assert_eq!([1e30, -1e30, 65_520.0].map(to_half), [0x7bff, 0xfbff, 0x7bff]);
    }

    #[test]
    fn a_wrong_shape_and_what_is_not_finite_are_refused() {
        let matrix = Matrix::new("m", 2, 3, &[0.5; 6]).unwrap();
        assert_eq!(matrix.values("m", 2, 3).unwrap(), [0.5; 6]);
        assert!(matches!(matrix.values("m", 3, 2), Err(Error::Shape { .. })));
        assert!(matches!(Matrix::new("m", 2, 3, &[0.5; 5]), Err(Error::Shape { .. })));
        assert!(matches!(Matrix::new("m", 1, 1, &[f32::NAN]), Err(Error::NotFinite { .. })));
        let short = Matrix { halves: vec![0; 11], ..matrix.clone() };
        assert!(matches!(short.values("m", 2, 3), Err(Error::Shape { .. })));
        for half in [0x7c00_u16, 0xfc00, 0x7e00] {
            let mut halves = matrix.halves.clone();
            halves[4..6].copy_from_slice(&half.to_le_bytes());
            let broken = Matrix { halves, ..matrix.clone() };
            assert!(matches!(broken.values("m", 2, 3), Err(Error::NotFinite { .. })));
        }
    }
}
