use candle_core::{DType, Device, Tensor};
use candle_nn::{LSTMConfig, RNN, VarBuilder};
use trailwarden_core::sequence::{API_BUCKETS, LENGTH, Sequence, Token};

use super::*;

/// Numbers within [-1, 1) from a counter (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn matrix(&mut self, rows: usize, columns: usize, scale: f32) -> Matrix {
        let values: Vec<f32> = (0..rows * columns).map(|_| self.value() * scale).collect();
        Matrix::new("test", rows, columns, &values).unwrap()
    }

    /// In range or, where asked for, anything.
    fn token(&mut self, hostile: bool) -> Token {
        let [a, b, c, d, e, f, g, h] = self.next().to_le_bytes();
        let api = u16::from_le_bytes([a, b]);
        let token = Token { api, gap: c, access: d, agent: e, source: f, outcome: g, novelty: h };
        let within = |value: u8, count: usize| value % count as u8;
        if hostile {
            return token;
        }
        Token {
            api: api % API_BUCKETS as u16,
            gap: within(c, token::GAPS),
            access: within(d, token::ACCESSES),
            agent: within(e, token::AGENTS),
            source: within(f, token::SOURCES),
            outcome: within(g, token::OUTCOMES),
            novelty: within(h, 64),
        }
    }

    fn sequence(&mut self, length: usize, hostile: bool) -> Sequence {
        let mut sequence = Sequence::default();
        for _ in 0..length {
            sequence.push(self.token(hostile));
        }
        sequence
    }
}

fn tensor(matrix: &Matrix, rows: usize, columns: usize) -> Tensor {
    Tensor::from_vec(matrix.values("test", rows, columns).unwrap(), (rows, columns), &Device::Cpu).unwrap()
}

fn encoder_weights(scale: f32) -> EncoderWeights {
    let mut numbers = Numbers(7);
    EncoderWeights {
        embedding: numbers.matrix(API_BUCKETS, EMBEDDING, scale * 4.0),
        input: numbers.matrix(EMBEDDING + token::DENSE, GATES, scale * 4.0),
        recurrent: numbers.matrix(HIDDEN, GATES, scale),
        bias: numbers.matrix(1, GATES, scale),
        head: numbers.matrix(HIDDEN, HEAD, scale),
        head_bias: numbers.matrix(1, HEAD, scale),
        output: numbers.matrix(HEAD, 1, scale),
        output_bias: numbers.matrix(1, 1, scale),
    }
}

fn autoencoder_weights(columns: usize) -> AutoencoderWeights {
    let mut numbers = Numbers(11);
    let widths = [columns, SIDE, CODE, SIDE, columns];
    let layers = std::array::from_fn(|at| Layer {
        weights: numbers.matrix(widths[at], widths[at + 1], 0.3),
        bias: numbers.matrix(1, widths[at + 1], 0.3),
    });
    let standards = (0..columns).map(|at| Standard { mean: at as f32 * 0.1, deviation: 1.0 + at as f32 * 0.05 });
    AutoencoderWeights { standards: standards.collect(), layers }
}

/// The same network from candle's own parts, one sequence at a time.
fn reference(weights: &EncoderWeights, sequence: &Sequence) -> (Vec<f32>, f32) {
    let device = Device::Cpu;
    let named = [
        ("weight_ih_l0", tensor(&weights.input, EMBEDDING + token::DENSE, GATES).t().unwrap()),
        ("weight_hh_l0", tensor(&weights.recurrent, HIDDEN, GATES).t().unwrap()),
        ("bias_ih_l0", tensor(&weights.bias, 1, GATES).flatten_all().unwrap()),
        ("bias_hh_l0", Tensor::zeros(GATES, DType::F32, &device).unwrap()),
    ];
    let tensors = named.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &device);
    let lstm = candle_nn::lstm(EMBEDDING + token::DENSE, HIDDEN, LSTMConfig::default(), builder).unwrap();
    let embedding = tensor(&weights.embedding, API_BUCKETS, EMBEDDING);
    let mut state = lstm.zero_state(1).unwrap();
    for read in sequence.iter() {
        let dense = Tensor::from_slice(&token::dense(read), (1, token::DENSE), &device).unwrap();
        let api = embedding.get(usize::from(token::clamped(read).api)).unwrap().unsqueeze(0).unwrap();
        state = lstm.step(&Tensor::cat(&[&api, &dense], 1).unwrap(), &state).unwrap();
    }
    let dense = |x: &Tensor, weights: &Matrix, bias: &Matrix, rows: usize, columns: usize| {
        let product = x.matmul(&tensor(weights, rows, columns)).unwrap();
        (product + tensor(bias, 1, columns)).unwrap()
    };
    let head = dense(state.h(), &weights.head, &weights.head_bias, HIDDEN, HEAD).relu().unwrap();
    let logit = dense(&head, &weights.output, &weights.output_bias, HEAD, 1);
    (state.h().flatten_all().unwrap().to_vec1().unwrap(), logit.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0])
}

#[test]
fn the_encoder_equals_candles_own_at_every_length_and_batch() {
    let weights = encoder_weights(0.15);
    let encoder = Encoder::new(&weights).unwrap();
    let mut numbers = Numbers(3);
    let lengths = [32, 1, 0, 5, 31, 32, 2, 17, 32, 32, 9];
    let sequences: Vec<Sequence> = lengths.iter().map(|length| numbers.sequence(*length, false)).collect();
    let (embeddings, logits) = (encoder.embed(&sequences), encoder.logits(&sequences));
    assert_eq!(embeddings[2], [0.0; HIDDEN]);
    for (at, sequence) in sequences.iter().enumerate() {
        let (embedding, logit) = reference(&weights, sequence);
        let alone = (encoder.embed(&[*sequence])[0], encoder.logits(&[*sequence])[0]);
        for (found, logit_found) in [(embeddings[at], logits[at]), alone] {
            let furthest = found.iter().zip(&embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-5, "sequence {at}: {furthest}");
            assert!((logit_found - logit).abs() < 1e-5, "sequence {at}: {logit_found} for {logit}");
        }
    }
    assert!(embeddings[0].iter().map(|value| value.abs()).fold(0.0, f32::max) > 0.2, "the state moved");
    assert!(encoder.embed(&[]).is_empty() && encoder.logits(&[]).is_empty());
}

#[test]
fn a_batch_gives_the_bits_of_each_alone() {
    let encoder = Encoder::new(&encoder_weights(0.15)).unwrap();
    let mut numbers = Numbers(5);
    let sequences: Vec<Sequence> = (0..300).map(|at| numbers.sequence(at % (LENGTH + 1), false)).collect();
    let together = encoder.logits(&sequences);
    for at in [0, 1, 255, 256, 299] {
        assert_eq!(together[at], encoder.logits(&sequences[at..=at])[0]);
    }
}

#[test]
fn hostile_tokens_and_huge_weights_stay_finite() {
    let mut numbers = Numbers(9);
    let sequences: Vec<Sequence> = (0..64).map(|_| numbers.sequence(LENGTH, true)).collect();
    for scale in [0.15, 16_000.0] {
        let encoder = Encoder::new(&encoder_weights(scale)).unwrap();
        assert!(encoder.embed(&sequences).as_flattened().iter().all(|value| value.abs() <= 1.0));
        assert!(encoder.logits(&sequences).iter().all(|logit| logit.is_finite()));
    }
    let network = Autoencoder::new(&autoencoder_weights(4)).unwrap();
    let rows = [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::NAN, f32::NAN, f32::NAN, f32::NAN, f32::NAN];
    let errors = network.errors(&rows, 4).unwrap();
    assert!(errors[0].is_finite() && errors[0] > 0.0 && errors[1] == 0.0);
    assert!(
        network.errors(&rows, 5).is_err()
            && network.errors(&rows[..7], 4).is_err()
            && network.errors(&rows, 0).is_err()
    );
}

#[test]
fn the_autoencoder_equals_plain_arithmetic() {
    let columns = 57;
    let weights = autoencoder_weights(columns);
    let mut numbers = Numbers(13);
    let rows: Vec<f32> = (0..columns * 1030)
        .map(|at| if at % 7 == 0 { f32::NAN } else { (numbers.value() * 8.0).exp() * numbers.value() })
        .collect();
    let errors = Autoencoder::new(&weights).unwrap().errors(&rows, columns).unwrap();
    for (row, found) in rows.chunks_exact(columns).zip(&errors) {
        let scaled: Vec<f32> =
            row.iter().zip(&weights.standards).map(|(value, standard)| standard.apply(*value).unwrap_or(0.0)).collect();
        let mut values: Vec<f64> = scaled.iter().map(|value| f64::from(*value)).collect();
        for (at, layer) in weights.layers.iter().enumerate() {
            let widths = [columns, SIDE, CODE, SIDE, columns];
            let (inputs, outputs) = (widths[at], widths[at + 1]);
            let matrix = layer.weights.values("w", inputs, outputs).unwrap();
            let bias = layer.bias.values("b", 1, outputs).unwrap();
            let sum = |output: usize| {
                let terms = (0..inputs).map(|input| values[input] * f64::from(matrix[input * outputs + output]));
                terms.sum::<f64>() + f64::from(bias[output])
            };
            values = (0..outputs).map(|output| if at == 3 { sum(output) } else { sum(output).tanh() }).collect();
        }
        let known: Vec<usize> = (0..columns).filter(|at| !row[*at].is_nan()).collect();
        let expected: f64 =
            known.iter().map(|at| (f64::from(scaled[*at]) - values[*at]).powi(2)).sum::<f64>() / known.len() as f64;
        assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} for {expected}");
    }
}

#[test]
fn weights_survive_postcard_and_are_small() {
    let (encoder, autoencoder) = (encoder_weights(0.15), autoencoder_weights(57));
    let bytes = postcard::to_stdvec(&encoder).unwrap();
    let others = postcard::to_stdvec(&autoencoder).unwrap();
    assert!(bytes.len() + others.len() < 300_000, "{} and {}", bytes.len(), others.len());
    assert_eq!(postcard::from_bytes::<EncoderWeights>(&bytes).unwrap(), encoder);
    assert_eq!(postcard::from_bytes::<AutoencoderWeights>(&others).unwrap(), autoencoder);
    // Wherever a byte is changed, the weights are refused or the network still works.
    let sequence = Numbers(1).sequence(LENGTH, false);
    for at in (0..bytes.len()).step_by(bytes.len() / 60).chain(0..8) {
        let mut changed = bytes.clone();
        changed[at] ^= 0xff;
        if let Ok(weights) = postcard::from_bytes::<EncoderWeights>(&changed)
            && let Ok(encoder) = Encoder::new(&weights)
        {
            assert!(encoder.logits(&[sequence])[0].is_finite());
        }
        assert!(postcard::from_bytes::<EncoderWeights>(&bytes[..at]).is_err());
    }
}

#[test]
fn weights_of_another_shape_or_not_finite_are_refused() {
    assert!(Encoder::new(&EncoderWeights::default()).is_err());
    let good = encoder_weights(0.15);
    let swapped = EncoderWeights { input: good.recurrent.clone(), ..good.clone() };
    assert!(matches!(Encoder::new(&swapped), Err(Error::Shape { name: "input", .. })));
    assert!(Encoder::new(&EncoderWeights { head_bias: Matrix::default(), ..good }).is_err());

    assert!(Autoencoder::new(&AutoencoderWeights::default()).is_err());
    let good = autoencoder_weights(57);
    for standard in [(f32::NAN, 1.0), (0.0, 0.0), (0.0, -1.0), (f32::INFINITY, 1.0), (0.0, f32::NAN)] {
        let mut broken = good.clone();
        broken.standards[3] = Standard { mean: standard.0, deviation: standard.1 };
        assert!(Autoencoder::new(&broken).is_err(), "{standard:?}");
    }
    let fewer = AutoencoderWeights { standards: good.standards[..56].to_vec(), ..good };
    assert!(matches!(Autoencoder::new(&fewer), Err(Error::Shape { .. })));
}

#[test]
fn a_standard_is_that_of_the_known_values() {
    let standard = Standard::of([f32::NAN, 0.0, std::f32::consts::E - 1.0, f32::INFINITY].into_iter());
    assert!((standard.mean - 0.5).abs() < 1e-6 && (standard.deviation - 0.5).abs() < 1e-6, "{standard:?}");
    assert_eq!(Standard::of([f32::NAN].into_iter()), Standard { mean: 0.0, deviation: 1.0 });
    assert!(Standard::of([3.0; 9].into_iter()).deviation > 0.0);
}
