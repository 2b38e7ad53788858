//! Anthropic's Messages: the structured output is the input of a tool that must be called.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Said, TOOL_DESCRIPTION, nothing};
use crate::{Error, Question, Usage};

pub(crate) fn body(model: &str, temperature: Option<f32>, question: &Question) -> Value {
    let mut body = json!({
        "model": model,
        "max_tokens": question.tokens_max,
        "system": question.system,
        "messages": [{"role": "user", "content": question.user}],
        "tools": [{
            "name": question.schema_name,
            "description": TOOL_DESCRIPTION,
            "input_schema": question.schema,
        }],
        "tool_choice": {"type": "tool", "name": question.schema_name},
    });
    if let Some(temperature) = temperature {
        body["temperature"] = temperature.into();
    }
    body
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
    usage: Option<Counted>,
    model: Option<String>,
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Block<'a> {
    name: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Counted {
    input_tokens: u64,
    output_tokens: u64,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
}

impl Counted {
    /// What was written to or read from the cache of prompts counts as input; that is dearer or cheaper than the rest.
    fn usage(&self) -> Usage {
        let cached = [self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let input_tokens = cached.into_iter().flatten().fold(self.input_tokens, u64::saturating_add);
        Usage { input_tokens, output_tokens: self.output_tokens }
    }
}

pub(crate) fn said(body: &[u8], schema_name: &str) -> Result<Said, Error> {
    let answer: Answer<'_> = super::read(body)?;
    let input = answer.content.iter().find(|block| block.name.as_deref() == Some(schema_name)).and_then(|b| b.input);
    Ok(Said {
        text: input.ok_or_else(|| nothing(answer.stop_reason.as_deref()))?.get().to_owned(),
        usage: answer.usage.map(|usage| usage.usage()),
        model: answer.model,
    })
}
