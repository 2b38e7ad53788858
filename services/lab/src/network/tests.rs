use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trailwarden_core::sequence::{LENGTH, Sequence, Token};
use trailwarden_scorer::network::{Autoencoder, Encoder, GATES, HIDDEN};

use super::descent::uniform;
use super::recurrence::last_states;
use super::train_encoder::{Batch, Network};
use super::*;

/// Sequences in which API 1 stands directly before API 2 (label 1) or directly after it (label 0), among others.
fn ordered(count: usize, seed: u64) -> (Vec<Sequence>, Vec<f32>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let example = |_| {
        let length = random.random_range(4..=LENGTH);
        let place = random.random_range(0..length - 1);
        let before = random.random_bool(0.5);
        let mut sequence = Sequence::default();
        for at in 0..length {
            let other = random.random_range(3..12);
            let api = if at == place {
                2 - u16::from(before)
            } else if at == place + 1 {
                1 + u16::from(before)
            } else {
                other
            };
            sequence.push(Token { api, gap: random.random_range(0..6), ..Token::default() });
        }
        (sequence, f32::from(u8::from(before)))
    };
    (0..count).map(example).unzip()
}

/// Share of pairs of a positive and a negative that are in the right order.
fn area_under_curve(scores: &[f32], labels: &[f32]) -> f64 {
    let of = |label: f32| scores.iter().zip(labels).filter(move |(_, found)| **found == label).map(|(score, _)| *score);
    let (mut right, mut pairs) = (0.0, 0.0);
    for positive in of(1.0) {
        for negative in of(0.0) {
            right += if positive > negative {
                1.0
            } else if positive == negative {
                0.5
            } else {
                0.0
            };
            pairs += 1.0;
        }
    }
    right / pairs
}

#[test]
fn the_encoder_learns_an_order() {
    let (sequences, labels) = ordered(4_000, 1);
    let options = EncoderOptions { epochs: 3, batch: 64, seed: 5, ..EncoderOptions::default() };
    let weights = train_encoder(&sequences, &labels, &vec![1.0; labels.len()], &options).unwrap();
    let encoder = Encoder::new(&weights).unwrap();
    let (unseen, labels) = ordered(600, 2);
    let area = area_under_curve(&encoder.logits(&unseen), &labels);
    assert!(area > 0.95, "area {area}");
    // The measure itself: labels that belong to other sequences give no area.
    let shuffled: Vec<f32> = labels.iter().rev().copied().collect();
    let by_chance = area_under_curve(&encoder.logits(&unseen), &shuffled);
    assert!((by_chance - 0.5).abs() < 0.1, "area by chance {by_chance}");
}

#[test]
fn training_twice_gives_the_same_bytes() {
    let (sequences, labels) = ordered(700, 3);
    let weights: Vec<f32> = (0..700).map(|at| 1.0 + (at % 3) as f32).collect();
    let options = EncoderOptions { epochs: 1, batch: 256, ..EncoderOptions::default() };
    let train =
        |seed| train_encoder(&sequences, &labels, &weights, &EncoderOptions { seed, ..options.clone() }).unwrap();
    let first = train(8);
    assert_eq!(first, train(8));
    assert_ne!(first, train(9));

    let rows = manifold(2_000, 4);
    let train = |seed| {
        train_autoencoder(&rows, COLUMNS, &AutoencoderOptions { seed, ..AutoencoderOptions::default() }).unwrap()
    };
    let first = train(8);
    assert_eq!(first, train(8));
    assert_ne!(first, train(9));
}

#[test]
fn the_recurrences_gradient_is_the_numerical_one() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let reading = [4, 3, 3, 1];
    let rows = reading.iter().sum();
    let inputs = uniform(&mut random, rows, GATES, 1.5).unwrap();
    let recurrent = uniform(&mut random, HIDDEN, GATES, 0.3).unwrap();
    let slopes = uniform(&mut random, 5, HIDDEN, 1.0).unwrap();
    let loss = |inputs: &Tensor, recurrent: &Tensor| {
        let states = last_states(inputs, recurrent, &reading, 5).unwrap();
        (states * slopes.as_tensor()).unwrap().sum_all().unwrap()
    };
    let gradients = loss(&inputs, &recurrent).backward().unwrap();
    // In single precision a directional derivative over many entries is far above the rounding; one entry is not.
    for (name, parameter) in [("inputs", &inputs), ("recurrent", &recurrent)] {
        for _ in 0..20 {
            let (rows, columns) = parameter.dims2().unwrap();
            let direction = uniform(&mut random, rows, columns, 1.0).unwrap();
            let step = 2e-3;
            let moved = |step: f64| {
                let moved = (parameter.as_tensor() + (direction.as_tensor() * step).unwrap()).unwrap();
                let loss = if name == "inputs" { loss(&moved, &recurrent) } else { loss(&inputs, &moved) };
                f64::from(loss.to_scalar::<f32>().unwrap())
            };
            let numerical = (moved(step) - moved(-step)) / (2.0 * step);
            let gradient = gradients.get(parameter).unwrap();
            let exact = (gradient * direction.as_tensor()).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            let difference = (numerical - f64::from(exact)).abs();
            assert!(difference < 1e-2 * (1.0 + f64::from(exact).abs()), "{name}: {exact} but {numerical}");
        }
    }
}

/// Against the same network from candle's differentiable parts, one sequence at a time.
#[test]
fn every_parameters_gradient_equals_candles_own() {
    let (sequences, _) = ordered(6, 9);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let network = Network::new(&mut random, 0.3).unwrap();
    let batch = Batch::new(&sequences, &[0, 1, 2, 3, 4, 5]);
    let sum = network.logits(&batch).unwrap().sum_all().unwrap();
    let parameters = network.parameters();
    let [embedding, input, recurrent, bias, head, head_bias, output, output_bias] = &parameters[..] else {
        panic!("eight parameters");
    };
    let sigmoid = |x: Tensor| candle_nn::ops::sigmoid(&x).unwrap();
    let mut other = Tensor::new(0f32, &Device::Cpu).unwrap();
    for sequence in &sequences {
        let mut state = Tensor::zeros((1, HIDDEN), candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut cell = state.clone();
        for token in sequence.iter() {
            let api = Tensor::new(&[u32::from(token.api)], &Device::Cpu).unwrap();
            let dense = trailwarden_scorer::network::token::dense(token);
            let dense = Tensor::from_slice(&dense, (1, dense.len()), &Device::Cpu).unwrap();
            let x = Tensor::cat(&[&embedding.index_select(&api, 0).unwrap(), &dense], 1).unwrap();
            let z = (x.matmul(input).unwrap() + state.matmul(recurrent).unwrap()).unwrap();
            let gates = (z + bias.as_tensor()).unwrap().chunk(4, 1).unwrap();
            let kept = (sigmoid(gates[1].clone()) * cell).unwrap();
            cell = (kept + (sigmoid(gates[0].clone()) * gates[2].tanh().unwrap()).unwrap()).unwrap();
            state = (sigmoid(gates[3].clone()) * cell.tanh().unwrap()).unwrap();
        }
        let hidden = (state.matmul(head).unwrap() + head_bias.as_tensor()).unwrap().relu().unwrap();
        let logit = (hidden.matmul(output).unwrap() + output_bias.as_tensor()).unwrap();
        other = (other + logit.sum_all().unwrap()).unwrap();
    }
    let difference = sum.to_scalar::<f32>().unwrap() - other.to_scalar::<f32>().unwrap();
    assert!(difference.abs() < 1e-4, "logits differ by {difference}");
    let (ours, theirs) = (sum.backward().unwrap(), other.backward().unwrap());
    for (at, parameter) in parameters.iter().enumerate() {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (ours, theirs) = (values(ours.get(parameter).unwrap()), values(theirs.get(parameter).unwrap()));
        let greatest = theirs.iter().fold(0f32, |greatest, value| greatest.max(value.abs()));
        let furthest = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(greatest > 0.0 && furthest < 1e-4 * greatest.max(1.0), "parameter {at}: {furthest} of {greatest}");
    }
}

const COLUMNS: usize = 9;

/// Rows that depend on two hidden numbers, some values unknown.
fn manifold(count: usize, seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Vec::new();
    for _ in 0..count {
        let (a, b): (f32, f32) = (random.random_range(-1.0..1.0), random.random_range(-1.0..1.0));
        for column in 0..COLUMNS {
            let slope = column as f32 / 4.0 - 1.0;
            let value = (3.0 * a * slope + b * (1.0 - slope)).sinh();
            rows.push(if random.random_bool(0.05) { f32::NAN } else { value });
        }
    }
    rows
}

#[test]
fn the_autoencoder_rebuilds_what_it_saw_and_not_the_rest() {
    let options = AutoencoderOptions { epochs: 20, batch: 128, ..AutoencoderOptions::default() };
    let network = Autoencoder::new(&train_autoencoder(&manifold(4_000, 1), COLUMNS, &options).unwrap()).unwrap();
    let ordinary = manifold(500, 2);
    // Every column keeps its own distribution; what binds them is lost.
    let strange: Vec<f32> = (0..ordinary.len())
        .map(|at| ordinary[(at / COLUMNS + 37 * (at % COLUMNS)) % 500 * COLUMNS + at % COLUMNS])
        .collect();
    let ordinary = network.errors(&ordinary, COLUMNS).unwrap();
    let strange = network.errors(&strange, COLUMNS).unwrap();
    let labels: Vec<f32> = [vec![0.0; 500], vec![1.0; 500]].concat();
    let area = area_under_curve(&[ordinary, strange].concat(), &labels);
    assert!(area > 0.95, "area {area}");
}

#[test]
fn what_cannot_be_learnt_from_is_refused() {
    let (sequences, labels) = ordered(4, 1);
    let (ones, options) = ([1.0; 4], EncoderOptions::default());
    let refused = |result: Result<_, Error>| matches!(result, Err(Error::Training { .. }));
    assert!(refused(train_encoder(&[], &[], &[], &options)));
    assert!(refused(train_encoder(&sequences, &labels[..3], &ones, &options)));
    assert!(refused(train_encoder(&sequences, &labels, &[0.0; 4], &options)));
    assert!(refused(train_encoder(&sequences, &labels, &[f32::NAN; 4], &options)));
    assert!(refused(train_encoder(&sequences, &[2.0; 4], &ones, &options)));
    for broken in [
        EncoderOptions { batch: 0, ..options.clone() },
        EncoderOptions { epochs: 0, ..options.clone() },
        EncoderOptions { learning_rate: f64::NAN, ..options.clone() },
    ] {
        assert!(refused(train_encoder(&sequences, &labels, &ones, &broken)), "{broken:?}");
    }
    let nothing = [Sequence::default(); 4];
    assert!(train_encoder(&nothing, &labels, &ones, &options).is_ok(), "empty sequences");
    let options = AutoencoderOptions::default();
    assert!(matches!(train_autoencoder(&[], 3, &options), Err(Error::Training { .. })));
    assert!(matches!(train_autoencoder(&[0.0; 4], 3, &options), Err(Error::Training { .. })));
    assert!(train_autoencoder(&[f32::NAN; 6], 3, &options).is_ok(), "nothing known");
}
