//! Chat completions as OpenAI defined them and vLLM, llama.cpp, Ollama and gateways took them over.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Said, TOOL_DESCRIPTION, nothing};
use crate::service::Output;
use crate::{Error, Question, Usage};

pub(crate) fn body(model: &str, output: Output, temperature: Option<f32>, question: &Question) -> Value {
    let mut body = json!({
        "model": model,
        "messages": [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.user},
        ],
    });
    // OpenAI's newer models refuse the old name, most other servers know no other.
    let limit = if output == Output::SchemaOfOpenAi { "max_completion_tokens" } else { "max_tokens" };
    body[limit] = question.tokens_max.into();
    let (name, schema) = (&question.schema_name, &question.schema);
    if output == Output::Tool {
        body["tools"] = json!([{
            "type": "function",
            "function": {"name": name, "description": TOOL_DESCRIPTION, "parameters": schema},
        }]);
        body["tool_choice"] = json!({"type": "function", "function": {"name": name}});
    } else {
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": name, "strict": true, "schema": schema}});
    }
    if let Some(temperature) = temperature {
        body["temperature"] = temperature.into();
    }
    body
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Counted>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

pub(crate) fn said(body: &[u8], output: Output, schema_name: &str) -> Result<Said, Error> {
    let answer: Answer = super::read(body)?;
    let message = answer.choices.into_iter().next().ok_or_else(|| nothing(None))?.message;
    let text = if output == Output::Tool {
        let mut calls = message.tool_calls.unwrap_or_default().into_iter();
        calls.find(|call| call.function.name == schema_name).map(|call| call.function.arguments)
    } else {
        message.content.filter(|content| !content.is_empty())
    };
    Ok(Said {
        text: text.ok_or_else(|| nothing(message.refusal.as_deref()))?,
        usage: answer
            .usage
            .map(|usage| Usage { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens }),
        model: answer.model,
    })
}
