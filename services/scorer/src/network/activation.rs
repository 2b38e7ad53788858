//! Squashing functions over `f32` that compile to vector code on any target; finite for every input, NaN included.

/// Beyond this the logistic function is 0 or 1 to more digits than matter, and a product of three `1 + exp` still
/// fits an `f32`.
const EXPONENT_MAX: f32 = 28.0;
/// 1.5 * 2^23: adding it to a small number leaves the nearest integer in the lowest bits of the mantissa.
const ROUNDER: f32 = 12_582_912.0;

/// e^x for x cut to [-28, 28], NaN taken as -28; relative error below 3e-6, and below 4e-7 for |x| < 2.
///
/// 2^(n + f) with n an integer and |f| <= 1/2: n goes to the exponent's bits, 2^f is its Taylor polynomial of degree 6,
/// whose remainder is below (ln 2 / 2)^7 / 7! = 1.3e-7.
#[inline(always)]
pub fn exponential(x: f32) -> f32 {
    // Comparisons written out compile to one instruction each; `clamp` and `max` also carry NaN along.
    let x = if x > -EXPONENT_MAX { x } else { -EXPONENT_MAX };
    let x = if x < EXPONENT_MAX { x } else { EXPONENT_MAX };
    let scaled = x * std::f32::consts::LOG2_E;
    let shifted = scaled + ROUNDER;
    let fraction = scaled - (shifted - ROUNDER);
    const TAYLOR: [f32; 6] =
        [std::f32::consts::LN_2, 0.240_226_5, 0.055_504_11, 0.009_618_129, 0.001_333_355_8, 0.000_154_035_3];
    let tail = TAYLOR.iter().rev().fold(0.0, |sum, term| (sum + term) * fraction);
    f32::from_bits((1.0 + tail).to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exponential(-x))
}

/// Hyperbolic tangent; absolute error below 5e-7.
#[inline(always)]
pub fn tangent(x: f32) -> f32 {
    let power = exponential(-2.0 * x);
    (1.0 - power) / (1.0 + power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_agree_with_double_precision() {
        for step in -400_000..=400_000 {
            let x = step as f32 * 1e-4;
            let exact = f64::from(x);
            assert!((f64::from(logistic(x)) - 1.0 / (1.0 + (-exact).exp())).abs() < 5e-7, "logistic {x}");
            assert!((f64::from(tangent(x)) - exact.tanh()).abs() < 5e-7, "tangent {x}");
            let relative = f64::from(exponential(x)) / exact.clamp(-28.0, 28.0).exp() - 1.0;
            assert!(relative.abs() < if x.abs() < 2.0 { 4e-7 } else { 3e-6 }, "exponential {x}: {relative}");
        }
    }

    #[test]
    fn nothing_makes_them_infinite() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, -0.0] {
            assert!(exponential(x).is_finite() && (0.0..=1.0).contains(&logistic(x)) && tangent(x).abs() <= 1.0, "{x}");
        }
    }
}
