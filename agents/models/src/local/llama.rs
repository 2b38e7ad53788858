//! The forward pass of a quantised model of the `llama` architecture, on the processor.
//!
//! Only what one vote needs: one text at a time, the logits of its last token, a cache that can be copied. A tensor that
//! is not used here would change what the model means, so a file with any is refused.

use std::collections::BTreeSet;
use std::io::{Read, Seek};
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result as Computed, Tensor};
use candle_nn::ops::{rms_norm, silu, softmax_last_dim};
use candle_nn::rotary_emb::rope_i;
use trailwarden_runtime::quoted::quoted;

use super::failed;
use crate::Error;

/// Tokens that one text may have, whatever the model could take: time grows with them.
const TOKENS_MAX: usize = 2_048;
const LAYERS_MAX: usize = 128;
const WIDTH_MAX: usize = 16_384;
/// Up to this, matrices in forms that candle has no fast product for are unpacked: many times faster, for more memory.
const UNPACKED_BYTES_MAX: usize = 1 << 30;

pub(super) struct Llama {
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Tensor,
    output: QMatMul,
    /// Cosines and sines by position and half of a head's width.
    rotation: (Tensor, Tensor),
    shape: Shape,
}

/// Keys and values of what was read, by layer. A copy shares the memory.
#[derive(Clone, Default)]
pub(super) struct Cache {
    read: usize,
    layers: Vec<(Tensor, Tensor)>,
}

#[derive(Clone, Copy)]
struct Shape {
    layers: usize,
    width: usize,
    heads: usize,
    key_heads: usize,
    head_width: usize,
    epsilon: f32,
    frequency_base: f32,
    tokens_max: usize,
}

struct Layer {
    attention_norm: Tensor,
    query: QMatMul,
    key: QMatMul,
    value: QMatMul,
    attention_output: QMatMul,
    feed_norm: Tensor,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

impl Llama {
    pub(super) fn load<R: Read + Seek>(content: &Content, reader: &mut R) -> Result<Self, Error> {
        let shape = Shape::read(content)?;
        let unpacked = unpacked_bytes(content) <= UNPACKED_BYTES_MAX;
        let mut file = Tensors { content, reader, used: BTreeSet::new(), unpacked };
        let llama = Self::assemble(&mut file, shape).map_err(failed)?;
        let used = file.used;
        match content.tensor_infos.keys().filter(|name| !used.contains(*name)).min() {
            Some(unknown) => {
                Err(Error::Local(quoted(&format!("the file holds a tensor that is not known: {unknown}"))))
            }
            None => Ok(llama),
        }
    }

    fn assemble<R: Read + Seek>(file: &mut Tensors<'_, R>, shape: Shape) -> Computed<Self> {
        let embedding = file.tensor("token_embd.weight")?;
        // Small models read and write with the same matrix.
        let tied = !file.content.tensor_infos.contains_key("output.weight");
        let output = if tied { Arc::clone(&embedding) } else { file.tensor("output.weight")? };
        let layers = (0..shape.layers).map(|number| Layer::load(file, number)).collect::<Computed<_>>()?;
        let norm = file.dense("output_norm.weight")?;
        let rotation = rotation(shape)?;
        Ok(Self { embedding, layers, norm, output: file.multiplied(output)?, rotation, shape })
    }

    /// Reads tokens after what the cache has read, and gives the logits of what may come next, one a token of the vocabulary.
    /// Given up where `goes_on` says no before a layer; the cache is of no use then.
    pub(super) fn forward(
        &self,
        tokens: &[u32],
        cache: &mut Cache,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Vec<f32>, Error> {
        let (length, most) = (cache.read + tokens.len(), self.shape.tokens_max);
        if tokens.is_empty() || length > most {
            return Err(Error::Local(format!("a text of {length} tokens, 1 to {most} are read")));
        }
        self.logits(tokens, cache, goes_on).map_err(failed)
    }

    fn logits(&self, tokens: &[u32], cache: &mut Cache, goes_on: &dyn Fn() -> bool) -> Computed<Vec<f32>> {
        let ids = Tensor::new(tokens, &Device::Cpu)?;
        let mut x = self.embedding.embedding(&ids)?.unsqueeze(0)?;
        let mask = mask(cache.read, tokens.len())?;
        for (number, layer) in self.layers.iter().enumerate() {
            if !goes_on() {
                candle_core::bail!("given up after {number} layers");
            }
            let seen = cache.layers.get(number).cloned();
            let (attended, now) =
                self.attend(layer, &layer.normed(&x, &layer.attention_norm, self.shape)?, seen, &mask)?;
            match cache.layers.get_mut(number) {
                Some(place) => *place = now,
                None => cache.layers.push(now),
            }
            x = (x + attended)?;
            x = (&x + layer.feed_forward(&layer.normed(&x, &layer.feed_norm, self.shape)?)?)?;
        }
        cache.read += tokens.len();
        let last = x.narrow(1, tokens.len() - 1, 1)?.contiguous()?;
        let last = rms_norm(&last, &self.norm, self.shape.epsilon)?;
        self.output.forward(&last)?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
    }

    /// Attention of `x` (1, tokens, width) over what was seen and itself; also keys and values of both.
    fn attend(
        &self,
        layer: &Layer,
        x: &Tensor,
        seen: Option<(Tensor, Tensor)>,
        mask: &Tensor,
    ) -> Computed<(Tensor, (Tensor, Tensor))> {
        let Shape { width, heads, key_heads, head_width, .. } = self.shape;
        let tokens = x.dim(1)?;
        let by_head = |x: Tensor, heads| x.reshape((1, tokens, heads, head_width))?.transpose(1, 2)?.contiguous();
        let position = seen.as_ref().map_or(Ok(0), |(keys, _)| keys.dim(2))?;
        let (cos, sin) = (self.rotation.0.narrow(0, position, tokens)?, self.rotation.1.narrow(0, position, tokens)?);
        let query = rope_i(&by_head(layer.query.forward(x)?, heads)?, &cos, &sin)?;
        let mut keys = rope_i(&by_head(layer.key.forward(x)?, key_heads)?, &cos, &sin)?;
        let mut values = by_head(layer.value.forward(x)?, key_heads)?;
        if let Some((old_keys, old_values)) = seen {
            keys = Tensor::cat(&[&old_keys, &keys], 2)?;
            values = Tensor::cat(&[&old_values, &values], 2)?;
        }
        // Several query heads share one key head, neighbours with neighbours.
        let shared = |x: &Tensor| {
            let (_, _, length, _) = x.dims4()?;
            let spread = x.unsqueeze(2)?.expand((1, key_heads, heads / key_heads, length, head_width))?;
            spread.reshape((1, heads, length, head_width))
        };
        let scores = (query.matmul(&shared(&keys)?.t()?.contiguous()?)? / (head_width as f64).sqrt())?;
        let weights = softmax_last_dim(&scores.broadcast_add(mask)?)?;
        let attended = weights.matmul(&shared(&values)?.contiguous()?)?;
        let attended = attended.transpose(1, 2)?.reshape((1, tokens, width))?;
        Ok((layer.attention_output.forward(&attended)?, (keys, values)))
    }
}

impl Layer {
    fn load<R: Read + Seek>(file: &mut Tensors<'_, R>, number: usize) -> Computed<Self> {
        let name = |part: &str| format!("blk.{number}.{part}.weight");
        Ok(Self {
            attention_norm: file.dense(&name("attn_norm"))?,
            query: file.product(&name("attn_q"))?,
            key: file.product(&name("attn_k"))?,
            value: file.product(&name("attn_v"))?,
            attention_output: file.product(&name("attn_output"))?,
            feed_norm: file.dense(&name("ffn_norm"))?,
            gate: file.product(&name("ffn_gate"))?,
            up: file.product(&name("ffn_up"))?,
            down: file.product(&name("ffn_down"))?,
        })
    }

    fn normed(&self, x: &Tensor, scale: &Tensor, shape: Shape) -> Computed<Tensor> {
        rms_norm(&x.contiguous()?, scale, shape.epsilon)
    }

    fn feed_forward(&self, x: &Tensor) -> Computed<Tensor> {
        self.down.forward(&(silu(&self.gate.forward(x)?)? * self.up.forward(x)?)?)
    }
}

/// Tensors of a file, and which of them were asked for.
struct Tensors<'a, R> {
    content: &'a Content,
    reader: &'a mut R,
    used: BTreeSet<String>,
    /// Whether matrices that are slow in their quantised form are held as plain numbers.
    unpacked: bool,
}

/// Whether candle multiplies with this form by the processor's wide instructions.
fn is_fast(form: GgmlDType, shape: &candle_core::Shape) -> bool {
    let width = shape.dims().last().copied().unwrap_or(0);
    matches!(form, GgmlDType::Q4K | GgmlDType::Q6K | GgmlDType::Q8_0) && width.is_multiple_of(256)
}

/// What the slow matrices need as plain numbers.
fn unpacked_bytes(content: &Content) -> usize {
    let slow = content.tensor_infos.values().filter(|info| !is_fast(info.ggml_dtype, &info.shape));
    slow.fold(0, |sum: usize, info| {
        let elements = info.shape.dims().iter().fold(1, |product: usize, length| product.saturating_mul(*length));
        sum.saturating_add(elements.saturating_mul(size_of::<f32>()))
    })
}

impl<R: Read + Seek> Tensors<'_, R> {
    fn tensor(&mut self, name: &str) -> Computed<Arc<QTensor>> {
        self.used.insert(name.to_owned());
        Ok(Arc::new(self.content.tensor(self.reader, name, &Device::Cpu)?))
    }

    fn product(&mut self, name: &str) -> Computed<QMatMul> {
        let tensor = self.tensor(name)?;
        self.multiplied(tensor)
    }

    fn multiplied(&self, tensor: Arc<QTensor>) -> Computed<QMatMul> {
        if self.unpacked && !is_fast(tensor.dtype(), tensor.shape()) {
            return Ok(QMatMul::Tensor(tensor.dequantize(&Device::Cpu)?));
        }
        QMatMul::from_arc(tensor)
    }

    fn dense(&mut self, name: &str) -> Computed<Tensor> {
        self.tensor(name)?.dequantize(&Device::Cpu)
    }
}

impl Shape {
    fn read(content: &Content) -> Result<Self, Error> {
        let value = |key: &str| content.metadata.get(key);
        let architecture = value("general.architecture").and_then(|name| name.to_string().ok());
        if architecture.is_none_or(|name| name != "llama") {
            return Err(Error::Local(quoted(&format!("the architecture {architecture:?} is not run here"))));
        }
        let whole = |key: &str| {
            let found = value(&format!("llama.{key}")).and_then(|value| value.to_u32().ok());
            found.map(|found| found as usize).ok_or_else(|| Error::Local(format!("the file does not say llama.{key}")))
        };
        let number = |key: &str| value(&format!("llama.{key}")).and_then(|value: &Value| value.to_f32().ok());
        let (width, heads) = (whole("embedding_length")?, whole("attention.head_count")?);
        let shape = Self {
            layers: whole("block_count")?,
            width,
            heads,
            key_heads: whole("attention.head_count_kv").unwrap_or(heads),
            head_width: width.checked_div(heads).unwrap_or(0),
            epsilon: number("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
            frequency_base: number("rope.freq_base").unwrap_or(10_000.0),
            tokens_max: whole("context_length")?.min(TOKENS_MAX),
        };
        let sound = (1..=LAYERS_MAX).contains(&shape.layers)
            && (1..=WIDTH_MAX).contains(&width)
            && shape.head_width * heads == width
            && shape.head_width.is_multiple_of(2)
            && shape.key_heads > 0
            && heads.is_multiple_of(shape.key_heads)
            && whole("rope.dimension_count").is_ok_and(|turned| turned == shape.head_width);
        if sound { Ok(shape) } else { Err(Error::Local("the file's measures do not fit one another".to_owned())) }
    }
}

fn rotation(shape: Shape) -> Computed<(Tensor, Tensor)> {
    let half = shape.head_width / 2;
    let frequency = |i: usize| shape.frequency_base.powf(-((2 * i) as f32) / shape.head_width as f32);
    let angles: Vec<f32> =
        (0..shape.tokens_max).flat_map(|position| (0..half).map(move |i| position as f32 * frequency(i))).collect();
    let angles = Tensor::from_vec(angles, (shape.tokens_max, half), &Device::Cpu)?;
    Ok((angles.cos()?, angles.sin()?))
}

/// Zero where a token may look, minus infinity at what comes after it.
fn mask(read: usize, tokens: usize) -> Computed<Tensor> {
    let later = |row: usize, column: usize| if column > read + row { f32::NEG_INFINITY } else { 0.0 };
    let cells: Vec<f32> =
        (0..tokens).flat_map(|row| (0..read + tokens).map(move |column| later(row, column))).collect();
    Tensor::from_vec(cells, (1, 1, tokens, read + tokens), &Device::Cpu)
}
