//! What a model is to its callers.

use async_trait::async_trait;
use serde_json::Value;

use crate::Error;

/// Bytes of the text to a token, at the least that is usual; what is not yet known is reckoned by it.
const BYTES_A_TOKEN: u64 = 3;
/// Tokens that a service adds of its own: roles, the frame of a tool.
const FRAME_TOKENS: u64 = 256;

/// Whatever answers a question with structured output.
#[async_trait]
pub trait Model: Send + Sync {
    /// What it is called in transcripts and counters.
    fn name(&self) -> &str;

    /// Puts the question once. Ends in bounded time.
    async fn ask(&self, question: &Question) -> Result<Reply, Error>;
}

/// One turn: instructions, what they are about, and the shape of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub system: String,
    pub user: String,
    /// Letters, digits, `_` and `-`, at most 64: services know the shape by it.
    pub schema_name: String,
    /// A JSON schema whose root is an object.
    pub schema: Value,
    /// Tokens of the answer at most.
    pub tokens_max: u32,
}

/// What a model said.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The structured output as raw JSON text. It is untrusted, and need not even be JSON.
    pub text: String,
    pub usage: Usage,
    /// Who answered, by the service's own word, quoted like an error's text.
    pub model: String,
}

/// Tokens paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: u64,
    pub output_tokens: u64,
}

impl Usage {
    #[must_use]
    pub const fn total(self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }

    /// What a question may cost: its text at three bytes a token, and the whole answer.
    #[must_use]
    pub fn foreseen(question: &Question) -> Self {
        Self {
            input_tokens: question.bytes() / BYTES_A_TOKEN + FRAME_TOKENS,
            output_tokens: u64::from(question.tokens_max),
        }
    }

    /// The same, held to what can be: nobody reads more tokens than bytes, or writes far beyond what was granted. A service
    /// that reports nonsense cannot spend a budget with one answer.
    #[must_use]
    pub(crate) fn plausible(self, question: &Question) -> Self {
        Self {
            input_tokens: self.input_tokens.min(question.bytes() + 16 * FRAME_TOKENS),
            output_tokens: self.output_tokens.min(u64::from(question.tokens_max).saturating_mul(4) + FRAME_TOKENS),
        }
    }
}

impl Question {
    fn bytes(&self) -> u64 {
        let text = self.system.len() + self.user.len() + self.schema_name.len();
        text as u64 + self.schema.to_string().len() as u64
    }
}
