//! The time loop of the LSTM as one operation of candle, with its gradient written out: candle's own would keep and walk some
//! twenty small tensors a step.
//!
//! A batch is packed: its sequences stand in order of falling length, and rows follow one another step by step, the
//! first `reading[t]` sequences at step t. Nothing is padded, so short sequences cost little.
//!
//! Forward, with p the packed input of the gates (x W + b) and U the recurrent weights:
//!
//! ```text
//! z = p + h U;  i, f, o = s(z_i), s(z_f), s(z_o);  g = tanh(z_g);  c' = f c + i g;  q = tanh(c');  h' = o q
//! ```
//!
//! Backward, from the last step to the first, with dh the gradient of h' (of the result, where the sequence ends) and dc
//! what the later step handed down:
//!
//! ```text
//! dc' = dc + dh o (1 - q^2);  dz_o = dh q o (1 - o);  dz_i = dc' g i (1 - i);  dz_f = dc' c f (1 - f)
//! dz_g = dc' i (1 - g^2);  dc = dc' f;  dh = dz U^T;  dp = dz;  dU = sum over rows of h^T dz
//! ```

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Shape, Storage, Tensor};
use trailwarden_scorer::network::activation::{logistic, tangent};
use trailwarden_scorer::network::{GATES, HIDDEN};

type State = [f32; HIDDEN];
type Gates = [f32; GATES];

/// Last states, sequences x [`HIDDEN`], of `inputs` (packed rows x [`GATES`]) and `recurrent` ([`HIDDEN`] x
/// [`GATES`]). `reading[t]` of `sequences` sequences are longer than t; it falls.
pub(super) fn last_states(
    inputs: &Tensor,
    recurrent: &Tensor,
    reading: &[usize],
    sequences: usize,
) -> candle_core::Result<Tensor> {
    let recurrence = Recurrence { reading: reading.to_vec(), sequences, trace: OnceLock::new() };
    inputs.contiguous()?.apply_op2(&recurrent.contiguous()?, recurrence)
}

struct Recurrence {
    reading: Vec<usize>,
    sequences: usize,
    /// Written by the forward pass, read by the backward one.
    trace: OnceLock<Trace>,
}

/// By packed rows.
struct Trace {
    /// i, f, g, o after squashing.
    gates: Vec<Gates>,
    /// Before and after the step.
    cells: Vec<[State; 2]>,
    /// States before the step.
    before: Vec<State>,
}

impl CustomOp2 for Recurrence {
    fn name(&self) -> &'static str {
        "recurrence"
    }

    fn cpu_fwd(
        &self,
        inputs: &CpuStorage,
        inputs_layout: &Layout,
        recurrent: &CpuStorage,
        recurrent_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let inputs = contiguous(inputs, inputs_layout)?.as_chunks::<GATES>().0;
        let recurrent = Tensor::from_slice(contiguous(recurrent, recurrent_layout)?, (HIDDEN, GATES), &Device::Cpu)?;
        let rows = inputs.len();
        if self.reading.iter().sum::<usize>() != rows || self.reading.iter().any(|reading| *reading > self.sequences) {
            candle_core::bail!("recurrence: {rows} rows do not fit the sequences' lengths");
        }
        let mut trace =
            Trace { gates: inputs.to_vec(), cells: vec![[[0.0; HIDDEN]; 2]; rows], before: vec![[0.0; HIDDEN]; rows] };
        let mut cells = vec![[0.0; HIDDEN]; self.sequences];
        let mut states = vec![[0.0; HIDDEN]; self.sequences];
        let mut start = 0;
        for reading in &self.reading {
            let rows = start..start + reading;
            if start > 0 {
                trace.before[rows.clone()].copy_from_slice(&states[..*reading]);
                let product = matrix(states[..*reading].as_flattened(), HIDDEN)?.matmul(&recurrent)?;
                with_values(&product, |product| add(trace.gates[rows.clone()].as_flattened_mut(), product))?;
            }
            let traces = trace.gates[rows.clone()].iter_mut().zip(&mut trace.cells[rows]);
            for ((gates, both), (cell, state)) in traces.zip(cells.iter_mut().zip(&mut states)) {
                both[0] = *cell;
                forward(gates, cell, state);
                both[1] = *cell;
            }
            start += reading;
        }
        if self.trace.set(trace).is_err() {
            candle_core::bail!("recurrence: used twice");
        }
        Ok((CpuStorage::F32(states.into_flattened()), Shape::from((self.sequences, HIDDEN))))
    }

    fn bwd(
        &self,
        _inputs: &Tensor,
        recurrent: &Tensor,
        _states: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(trace) = self.trace.get() else {
            candle_core::bail!("recurrence: no forward pass");
        };
        let transposed = recurrent.t()?.contiguous()?;
        let mut of_state = gradient.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
        let mut of_cell = vec![[0.0; HIDDEN]; self.sequences];
        let mut of_gates = vec![[0.0; GATES]; trace.gates.len()];
        let mut end = trace.gates.len();
        for reading in self.reading.iter().rev() {
            let rows = end - reading..end;
            let traces = trace.gates[rows.clone()].iter().zip(&trace.cells[rows.clone()]);
            let gradients = of_gates[rows.clone()].iter_mut().zip(of_state.as_chunks().0.iter().zip(&mut of_cell));
            for ((gates, cells), (of_gates, (of_state, of_cell))) in traces.zip(gradients) {
                backward(gates, cells, of_state, of_cell, of_gates);
            }
            let handed_down = matrix(of_gates[rows].as_flattened(), GATES)?.matmul(&transposed)?;
            with_values(&handed_down, |values| of_state[..values.len()].copy_from_slice(values))?;
            end -= reading;
        }
        let of_gates = matrix(of_gates.as_flattened(), GATES)?;
        let of_recurrent = matrix(trace.before.as_flattened(), HIDDEN)?.t()?.matmul(&of_gates)?;
        Ok((Some(of_gates), Some(of_recurrent)))
    }
}

/// One step of one sequence; `gates` holds z and becomes i, f, g, o.
fn forward(gates: &mut Gates, cell: &mut State, state: &mut State) {
    let (input, rest) = gates.split_at_mut(HIDDEN);
    let (forget, rest) = rest.split_at_mut(HIDDEN);
    let (candidate, output) = rest.split_at_mut(HIDDEN);
    for at in 0..HIDDEN {
        input[at] = logistic(input[at]);
        forget[at] = logistic(forget[at]);
        candidate[at] = tangent(candidate[at]);
        output[at] = logistic(output[at]);
        cell[at] = forget[at] * cell[at] + input[at] * candidate[at];
        state[at] = output[at] * tangent(cell[at]);
    }
}

/// One step of one sequence backward.
fn backward(gates: &Gates, cells: &[State; 2], of_state: &State, of_cell: &mut State, of_gates: &mut Gates) {
    let (input, rest) = gates.split_at(HIDDEN);
    let (forget, rest) = rest.split_at(HIDDEN);
    let (candidate, output) = rest.split_at(HIDDEN);
    let (of_input, rest) = of_gates.split_at_mut(HIDDEN);
    let (of_forget, rest) = rest.split_at_mut(HIDDEN);
    let (of_candidate, of_output) = rest.split_at_mut(HIDDEN);
    let [before, after] = cells;
    for at in 0..HIDDEN {
        let (i, f, g, o) = (input[at], forget[at], candidate[at], output[at]);
        let q = tangent(after[at]);
        let whole = of_cell[at] + of_state[at] * o * (1.0 - q * q);
        of_input[at] = whole * g * i * (1.0 - i);
        of_forget[at] = whole * before[at] * f * (1.0 - f);
        of_candidate[at] = whole * i * (1.0 - g * g);
        of_output[at] = of_state[at] * q * o * (1.0 - o);
        of_cell[at] = whole * f;
    }
}

fn add(sum: &mut [f32], terms: &[f32]) {
    for (sum, term) in sum.iter_mut().zip(terms) {
        *sum += term;
    }
}

fn matrix(values: &[f32], columns: usize) -> candle_core::Result<Tensor> {
    Tensor::from_slice(values, (values.len() / columns, columns), &Device::Cpu)
}

fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("recurrence: strided input"),
    }
}

fn with_values(tensor: &Tensor, read: impl FnOnce(&[f32])) -> candle_core::Result<()> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => read(contiguous(storage, layout)?),
        _ => candle_core::bail!("recurrence: not on the CPU"),
    }
    Ok(())
}
