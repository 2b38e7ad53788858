//! Text into tokens and back, by the vocabulary that stands in the model's own file.

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use tokenizers::Tokenizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use trailwarden_runtime::quoted::quoted;

use super::failed;
use crate::Error;

/// Bytes of one text: far more than a model here may read.
const TEXT_BYTES_MAX: usize = 64 * 1_024;

pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// What opens and closes a user's turn, by id: no text can spell it.
    frame: (Vec<u32>, Vec<u32>),
}

impl Tokens {
    pub(super) fn read(content: &Content) -> Result<Self, Error> {
        let mut tokenizer = Tokenizer::from_gguf(content).map_err(failed)?;
        let pre = content.metadata.get("tokenizer.ggml.pre").and_then(|pre| pre.to_string().ok());
        match pre.map(String::as_str) {
            // Taken for GPT-2's by the reader, which puts a space before each text and keeps numbers whole.
            Some("smollm") => {
                let steps = vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()];
                tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(steps))));
            }
            Some("qwen2" | "llama3" | "smaug-bpe" | "gpt-2") => {}
            other => {
                let other = other.unwrap_or("none");
                return Err(Error::Local(quoted(&format!("the way to split text {other:?} is not known here"))));
            }
        }
        // Control tokens that a text spells out stay text.
        tokenizer.set_encode_special_tokens(true);
        let mut tokens = Self { tokenizer, frame: (Vec::new(), Vec::new()) };
        tokens.frame = tokens.turn()?;
        Ok(tokens)
    }

    pub(super) fn of_text(&self, text: &str) -> Result<Vec<u32>, Error> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Error::Local(format!("a text of {} bytes, at most {TEXT_BYTES_MAX} are read", text.len())));
        }
        let encoding = self.tokenizer.encode(text, false).map_err(|error| Error::Local(quoted(&error.to_string())))?;
        Ok(encoding.get_ids().to_vec())
    }

    pub(super) fn text_of(&self, tokens: &[u32]) -> Result<String, Error> {
        self.tokenizer.decode(tokens, false).map_err(|error| Error::Local(quoted(&error.to_string())))
    }

    /// The one token of an answer.
    pub(super) fn only(&self, answer: &str) -> Result<u32, Error> {
        match self.of_text(answer)?[..] {
            [token] => Ok(token),
            ref tokens => {
                Err(Error::Local(quoted(&format!("the answer {answer:?} is {} tokens, not one", tokens.len()))))
            }
        }
    }

    /// Tokens before what the user says, and those between that and the model's first word.
    pub(super) fn frame(&self) -> (Vec<u32>, Vec<u32>) {
        self.frame.clone()
    }

    /// ChatML where the vocabulary has its marks; without them a text is simply continued.
    fn turn(&self) -> Result<(Vec<u32>, Vec<u32>), Error> {
        let mark = |name: &str| self.tokenizer.token_to_id(name);
        let (Some(start), Some(end)) = (mark("<|im_start|>"), mark("<|im_end|>")) else {
            return Ok((Vec::new(), Vec::new()));
        };
        let opening = [vec![start], self.of_text("user\n")?].concat();
        let closing = [vec![end], self.of_text("\n")?, vec![start], self.of_text("assistant\n")?].concat();
        Ok((opening, closing))
    }
}
