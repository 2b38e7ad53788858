//! Training of the encoder and its head on labelled sequences.

use candle_core::{Device, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use trailwarden_core::sequence::{API_BUCKETS, LENGTH, Sequence, Token};
use trailwarden_scorer::network::token::{DENSE, clamped, dense};
use trailwarden_scorer::network::{EMBEDDING, EncoderWeights, Error, GATES, HEAD, HIDDEN};

use super::descent::{Descent, bound, kept, parameter, shuffle, uniform};
use super::recurrence::last_states;

/// How the encoder learns.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderOptions {
    /// Times every sequence is seen.
    pub epochs: usize,
    /// Sequences a step.
    pub batch: usize,
    /// Greatest learning rate.
    pub learning_rate: f64,
    pub seed: u64,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self { epochs: 3, batch: 256, learning_rate: 4e-3, seed: 0 }
    }
}

/// Learns to tell sequences apart: cross entropy of `labels` (0 to 1), each times its weight over the mean weight.
///
/// # Errors
/// [`Error::Training`] when lengths differ, nothing is to be learnt from, or a label, weight or option is out of range;
/// [`Error::NotFinite`] when training diverges.
pub fn train_encoder(
    sequences: &[Sequence],
    labels: &[f32],
    weights: &[f32],
    options: &EncoderOptions,
) -> Result<EncoderWeights, Error> {
    let targets = Targets::new(sequences.len(), labels, weights)?;
    if options.epochs == 0 || options.batch == 0 {
        return Err(Error::Training { reason: "no epochs, or empty batches" });
    }
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let network = Network::new(&mut random, targets.log_odds())?;
    let steps = options.epochs * sequences.len().div_ceil(options.batch);
    let mut descent = Descent::new(network.parameters(), options.learning_rate, steps)?;
    let count = u32::try_from(sequences.len()).map_err(|_| Error::Training { reason: "too many sequences" })?;
    let mut order: Vec<u32> = (0..count).collect();
    for _ in 0..options.epochs {
        shuffle(&mut random, &mut order);
        for members in order.chunks(options.batch) {
            let batch = Batch::new(sequences, members);
            let logits = network.logits(&batch)?;
            // The gradient of the loss is known in closed form, so its sum of products with the logits stands in for it.
            let slopes = targets.slopes(&batch.members, &logits.to_vec1::<f32>()?);
            let slopes = Tensor::from_vec(slopes, batch.members.len(), &Device::Cpu)?;
            descent.step(&(logits * slopes)?.sum_all()?)?;
        }
    }
    network.kept()
}

/// What is to be learnt.
struct Targets<'a> {
    labels: &'a [f32],
    weights: &'a [f32],
    mean_weight: f64,
}

impl<'a> Targets<'a> {
    fn new(count: usize, labels: &'a [f32], weights: &'a [f32]) -> Result<Self, Error> {
        if count == 0 || labels.len() != count || weights.len() != count {
            return Err(Error::Training { reason: "no sequences, or not one label and weight for each" });
        }
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let in_range = labels.iter().all(|label| (0.0..=1.0).contains(label))
            && weights.iter().all(|weight| *weight >= 0.0)
            && sum.is_finite()
            && sum > 0.0;
        if !in_range {
            return Err(Error::Training { reason: "labels are 0 to 1; weights at least 0, and not all 0" });
        }
        Ok(Self { labels, weights, mean_weight: sum / count as f64 })
    }

    /// Of the weighted share of positives, kept off the ends: where the output's bias starts.
    fn log_odds(&self) -> f32 {
        let pairs = self.labels.iter().zip(self.weights);
        let positive: f64 = pairs.map(|(label, weight)| f64::from(*label) * f64::from(*weight)).sum();
        let share = (positive / (self.mean_weight * self.labels.len() as f64)).clamp(1e-3, 1.0 - 1e-3);
        (share / (1.0 - share)).ln() as f32
    }

    /// Derivative of the batch's mean loss by each logit: weight (probability - label) / count.
    fn slopes(&self, members: &[u32], logits: &[f32]) -> Vec<f32> {
        let slope = |(member, logit): (&u32, &f32)| {
            let member = *member as usize;
            let probability = 1.0 / (1.0 + (-f64::from(*logit)).exp());
            let weight = f64::from(self.weights[member]) / self.mean_weight;
            (weight * (probability - f64::from(self.labels[member])) / members.len() as f64) as f32
        };
        members.iter().zip(logits).map(slope).collect()
    }
}

/// Sequences packed step by step, longest first.
pub(super) struct Batch {
    /// Which sequences, in the order of the rows.
    pub(super) members: Vec<u32>,
    /// How many sequences are longer than each step.
    reading: Vec<usize>,
    apis: Vec<u32>,
    dense: Vec<f32>,
}

impl Batch {
    pub(super) fn new(sequences: &[Sequence], members: &[u32]) -> Self {
        let mut members = members.to_vec();
        let length = |member: &u32| sequences[*member as usize].len();
        members.sort_by_key(|member| std::cmp::Reverse(length(member)));
        let unrolled = |member: &u32| {
            let mut tokens = [Token::default(); LENGTH];
            tokens.iter_mut().zip(sequences[*member as usize].iter()).for_each(|(token, read)| *token = read);
            tokens
        };
        let tokens: Vec<[Token; LENGTH]> = members.iter().map(unrolled).collect();
        let reading: Vec<usize> = (0..LENGTH)
            .map(|step| members.partition_point(|member| length(member) > step))
            .take_while(|reading| *reading > 0)
            .collect();
        let packed = || {
            let steps = reading.iter().enumerate();
            steps.flat_map(|(step, reading)| tokens[..*reading].iter().map(move |tokens| tokens[step]))
        };
        let apis = packed().map(|token| u32::from(clamped(token).api)).collect();
        let dense = packed().flat_map(dense).collect();
        Self { members, reading, apis, dense }
    }
}

/// The parameters while they are learnt; shapes as in [`EncoderWeights`].
pub(super) struct Network {
    embedding: Var,
    input: Var,
    recurrent: Var,
    bias: Var,
    head: Var,
    head_bias: Var,
    output: Var,
    output_bias: Var,
}

impl Network {
    pub(super) fn new(random: &mut ChaCha8Rng, log_odds: f32) -> Result<Self, Error> {
        let width = EMBEDDING + DENSE;
        // A forget gate that starts open lets early activities reach the end (Jozefowicz et al. 2015).
        let bias = (0..GATES).map(|at| if at / HIDDEN == 1 { 1.0 } else { 0.0 }).collect();
        Ok(Self {
            embedding: uniform(random, API_BUCKETS, EMBEDDING, 0.5)?,
            input: uniform(random, width, GATES, bound(width, HIDDEN))?,
            recurrent: uniform(random, HIDDEN, GATES, 1.0 / (HIDDEN as f32).sqrt())?,
            bias: parameter(bias, 1, GATES)?,
            head: uniform(random, HIDDEN, HEAD, bound(HIDDEN, HEAD))?,
            head_bias: parameter(vec![0.0; HEAD], 1, HEAD)?,
            output: uniform(random, HEAD, 1, bound(HEAD, 1))?,
            output_bias: parameter(vec![log_odds], 1, 1)?,
        })
    }

    pub(super) fn parameters(&self) -> Vec<Var> {
        let Self { embedding, input, recurrent, bias, head, head_bias, output, output_bias } = self;
        [embedding, input, recurrent, bias, head, head_bias, output, output_bias].map(Var::clone).to_vec()
    }

    /// By the batch's members.
    pub(super) fn logits(&self, batch: &Batch) -> Result<Tensor, Error> {
        let rows = batch.apis.len();
        let count = batch.members.len();
        let states = if rows == 0 {
            Tensor::zeros((count, HIDDEN), candle_core::DType::F32, &Device::Cpu)?
        } else {
            let apis = Tensor::from_slice(&batch.apis, rows, &Device::Cpu)?;
            let dense = Tensor::from_slice(&batch.dense, (rows, DENSE), &Device::Cpu)?;
            let inputs = Tensor::cat(&[&self.embedding.index_select(&apis, 0)?, &dense], 1)?;
            let inputs = inputs.matmul(&self.input)?.broadcast_add(&self.bias)?;
            last_states(&inputs, &self.recurrent, &batch.reading, count)?
        };
        let head = states.matmul(&self.head)?.broadcast_add(&self.head_bias)?.relu()?;
        Ok(head.matmul(&self.output)?.broadcast_add(&self.output_bias)?.flatten_all()?)
    }

    fn kept(&self) -> Result<EncoderWeights, Error> {
        Ok(EncoderWeights {
            embedding: kept("embedding", &self.embedding)?,
            input: kept("input", &self.input)?,
            recurrent: kept("recurrent", &self.recurrent)?,
            bias: kept("bias", &self.bias)?,
            head: kept("head", &self.head)?,
            head_bias: kept("head_bias", &self.head_bias)?,
            output: kept("output", &self.output)?,
            output_bias: kept("output_bias", &self.output_bias)?,
        })
    }
}
