//! Amazon Bedrock's Converse: the structured output is the input of a tool.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use trailwarden_runtime::sigv4::encoded;

use super::{Said, TOOL_DESCRIPTION, nothing};
use crate::service::ToolChoice;
use crate::{Error, Question, Usage};

/// Path of a model, which may be named by an ARN with slashes and colons.
pub(crate) fn path(model: &str) -> String {
    format!("/model/{}/converse", encoded(model, false))
}

pub(crate) fn body(choice: ToolChoice, temperature: Option<f32>, question: &Question) -> Value {
    let mut body = json!({
        "system": [{"text": question.system}],
        "messages": [{"role": "user", "content": [{"text": question.user}]}],
        "inferenceConfig": {"maxTokens": question.tokens_max},
        "toolConfig": {
            "tools": [{"toolSpec": {
                "name": question.schema_name,
                "description": TOOL_DESCRIPTION,
                "inputSchema": {"json": question.schema},
            }}],
            "toolChoice": match choice {
                ToolChoice::Named => json!({"tool": {"name": question.schema_name}}),
                ToolChoice::Any => json!({"any": {}}),
                ToolChoice::Auto => json!({"auto": {}}),
            },
        },
    });
    if let Some(temperature) = temperature {
        body["inferenceConfig"]["temperature"] = temperature.into();
    }
    body
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    usage: Option<Counted>,
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    tool_use: Option<ToolUse<'a>>,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    name: String,
    #[serde(borrow)]
    input: &'a RawValue,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Counted {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: u64,
    cache_write_input_tokens: u64,
}

impl Counted {
    fn usage(&self) -> Usage {
        let cached = self.cache_read_input_tokens.saturating_add(self.cache_write_input_tokens);
        Usage { input_tokens: self.input_tokens.saturating_add(cached), output_tokens: self.output_tokens }
    }
}

pub(crate) fn said(body: &[u8], schema_name: &str) -> Result<Said, Error> {
    let answer: Answer<'_> = super::read(body)?;
    let mut uses = answer.output.message.content.iter().filter_map(|block| block.tool_use.as_ref());
    let used = uses.find(|used| used.name == schema_name).ok_or_else(|| nothing(answer.stop_reason.as_deref()))?;
    Ok(Said { text: used.input.get().to_owned(), usage: answer.usage.map(|usage| usage.usage()), model: None })
}
