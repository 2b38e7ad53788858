//! A long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) over a
//! session's latest activities, and a small head that turns its last state into a logit.
//!
//! A sequence is read oldest first and has its own length: nothing is padded. With x the step's input
//! ([`token`](super::token)), W, U and b the weights, s the logistic function and the gates in the order i, f, g, o:
//!
//! ```text
//! z = x W + h U + b        c' = s(z_f) c + s(z_i) tanh(z_g)        h' = s(z_o) tanh(c')
//! ```
//!
//! x W + b is a sum of rows of tables that are made once, when the weights are loaded.

use serde::{Deserialize, Serialize};
use trailwarden_core::sequence::{API_BUCKETS, GAP_MAX, Sequence, Token};

use super::activation::exponential;
use super::dense::Dense;
use super::token::{ACCESS, ACCESSES, AGENT, AGENTS, DENSE, GAPS, NOVELTIES, NOVELTY, OUTCOME, OUTCOMES};
use super::token::{SOURCE, SOURCES, clamped};
use super::{Error, Matrix};

/// Width of an API's embedding.
pub const EMBEDDING: usize = 16;
/// Width of the state, and of a session's embedding.
pub const HIDDEN: usize = 128;
/// Columns of the four gates: i, f, g, o.
pub const GATES: usize = 4 * HIDDEN;
/// Width of the head's hidden layer.
pub const HEAD: usize = 64;

/// What is learnt, rows times columns; a layer's rows are its inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncoderWeights {
    /// [`API_BUCKETS`] x [`EMBEDDING`].
    pub embedding: Matrix,
    /// [`EMBEDDING`] + [`DENSE`] x [`GATES`].
    pub input: Matrix,
    /// [`HIDDEN`] x [`GATES`].
    pub recurrent: Matrix,
    /// 1 x [`GATES`].
    pub bias: Matrix,
    /// [`HIDDEN`] x [`HEAD`].
    pub head: Matrix,
    /// 1 x [`HEAD`].
    pub head_bias: Matrix,
    /// [`HEAD`] x 1.
    pub output: Matrix,
    /// 1 x 1.
    pub output_bias: Matrix,
}

/// Gate inputs of one table row.
type Row = [f32; GATES];

/// The network ready to read; about 2.7 MB.
pub struct Encoder {
    /// By bucket, the bias included.
    api: Vec<Row>,
    gap: Vec<Row>,
    /// By access and outcome.
    call: Vec<Row>,
    /// By agent and source.
    origin: Vec<Row>,
    /// By all bits.
    novelty: Vec<Row>,
    recurrent: Dense,
    head: Dense,
    head_bias: Vec<f32>,
    output: Vec<f32>,
    output_bias: f32,
}

impl Encoder {
    /// # Errors
    /// [`Error::Shape`] or [`Error::NotFinite`] for weights that are not an encoder's.
    pub fn new(weights: &EncoderWeights) -> Result<Self, Error> {
        let embedding = weights.embedding.values("embedding", API_BUCKETS, EMBEDDING)?;
        let input = weights.input.values("input", EMBEDDING + DENSE, GATES)?;
        let bias = weights.bias.values("bias", 1, GATES)?;
        let head_bias = weights.head_bias.values("head_bias", 1, HEAD)?;
        let output = weights.output.values("output", HEAD, 1)?;
        let output_bias = weights.output_bias.values("output_bias", 1, 1)?[0];
        let recurrent = Dense::new(&weights.recurrent, "recurrent", HIDDEN, GATES)?;
        let head = Dense::new(&weights.head, "head", HIDDEN, HEAD)?;

        let projection = Dense::of(&input[..EMBEDDING * GATES], GATES);
        let bucket = |embedding: &[f32]| {
            let mut projected = [0.0; GATES];
            projection.multiply(embedding, &mut projected);
            sum_of(&[(&projected, 1.0), (&bias, 1.0)])
        };
        let api = embedding.chunks_exact(EMBEDDING).map(bucket).collect();
        let column = |column: usize| &input[(EMBEDDING + column) * GATES..][..GATES];
        let pairs = |first: usize, firsts: usize, second: usize, seconds: usize| {
            let pair = move |at| sum_of(&[(column(first + at / seconds), 1.0), (column(second + at % seconds), 1.0)]);
            (0..firsts * seconds).map(pair).collect()
        };
        let gap = |gap| sum_of(&[(column(0), gap as f32 / f32::from(GAP_MAX))]);
        let bits = |bits: usize| {
            sum_of(&std::array::from_fn::<_, NOVELTIES, _>(|bit| (column(NOVELTY + bit), (bits >> bit & 1) as f32)))
        };
        Ok(Self {
            api,
            gap: (0..GAPS).map(gap).collect(),
            call: pairs(ACCESS, ACCESSES, OUTCOME, OUTCOMES),
            origin: pairs(AGENT, AGENTS, SOURCE, SOURCES),
            novelty: (0..1 << NOVELTIES).map(bits).collect(),
            recurrent,
            head,
            head_bias,
            output,
            output_bias,
        })
    }

    /// The last state of each sequence, in their order; zeros for an empty one. Each number is within [-1, 1].
    pub fn embed(&self, sequences: &[Sequence]) -> Vec<[f32; HIDDEN]> {
        sequences.iter().map(|sequence| self.last_state(sequence)).collect()
    }

    /// The logit of each sequence, in their order; always finite.
    pub fn logits(&self, sequences: &[Sequence]) -> Vec<f32> {
        sequences.iter().map(|sequence| self.logit_of(&self.last_state(sequence))).collect()
    }

    /// The logit of an embedding of [`Self::embed`].
    pub fn logit_of(&self, embedding: &[f32; HIDDEN]) -> f32 {
        let mut hidden = [0.0; HEAD];
        self.head.multiply(embedding, &mut hidden);
        let terms = hidden.iter().zip(&self.head_bias).zip(&self.output);
        self.output_bias + terms.map(|((hidden, bias), weight)| (hidden + bias).max(0.0) * weight).sum::<f32>()
    }

    fn last_state(&self, sequence: &Sequence) -> [f32; HIDDEN] {
        let (mut cell, mut state) = ([0.0; HIDDEN], [0.0; HIDDEN]);
        let mut recurrent = [0.0; GATES];
        for (step, token) in sequence.iter().enumerate() {
            // The state is 0 before the first step.
            if step > 0 {
                self.recurrent.multiply(&state, &mut recurrent);
            }
            advance(&self.gates(clamped(token), &recurrent), &mut cell, &mut state);
        }
        state
    }

    /// All terms of the gates. The token is clamped.
    fn gates(&self, token: Token, recurrent: &Row) -> Row {
        let [access, agent] = [token.access, token.agent].map(usize::from);
        let [source, outcome] = [token.source, token.outcome].map(usize::from);
        let api = &self.api[usize::from(token.api)];
        let gap = &self.gap[usize::from(token.gap)];
        let call = &self.call[access * OUTCOMES + outcome];
        let origin = &self.origin[agent * SOURCES + source];
        let novelty = &self.novelty[usize::from(token.novelty)];
        std::array::from_fn(|at| recurrent[at] + api[at] + gap[at] + call[at] + origin[at] + novelty[at])
    }
}

/// Sum of rows, each times a number.
fn sum_of(terms: &[(&[f32], f32)]) -> Row {
    std::array::from_fn(|at| terms.iter().map(|(row, factor)| row[at] * factor).sum())
}

/// One step of one sequence. Divisions are joined: with E = e^-z, s(f) c + s(i) tanh(g) has the common denominator
/// (1 + E_f)(1 + E_i)(1 + E_2g), and likewise s(o) tanh(c).
fn advance(gates: &Row, cell: &mut [f32; HIDDEN], state: &mut [f32; HIDDEN]) {
    for at in 0..HIDDEN {
        let input = 1.0 + exponential(-gates[at]);
        let forget = 1.0 + exponential(-gates[HIDDEN + at]);
        let candidate = exponential(-2.0 * gates[2 * HIDDEN + at]);
        let output = 1.0 + exponential(-gates[3 * HIDDEN + at]);
        let both = input * (1.0 + candidate);
        let next = (cell[at] * both + (1.0 - candidate) * forget) / (forget * both);
        let power = exponential(-2.0 * next);
        cell[at] = next;
        state[at] = (1.0 - power) / (output * (1.0 + power));
    }
}
