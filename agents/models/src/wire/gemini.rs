//! Gemini's generateContent with a response schema.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use trailwarden_runtime::sigv4::encoded;

use super::{Said, nothing};
use crate::{Error, Question, Usage};

/// What a response schema may hold: a subset of OpenAPI 3.0, and an unknown word refuses the whole request.
const KNOWN: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "anyOf",
    "items",
    "minimum",
    "maximum",
];

pub(crate) fn path(model: &str) -> String {
    format!("/v1beta/models/{}:generateContent", encoded(model, false))
}

pub(crate) fn body(temperature: Option<f32>, question: &Question) -> Value {
    let mut body = json!({
        "systemInstruction": {"parts": [{"text": question.system}]},
        "contents": [{"role": "user", "parts": [{"text": question.user}]}],
        "generationConfig": {
            "maxOutputTokens": question.tokens_max,
            "responseMimeType": "application/json",
            "responseSchema": subset(&question.schema),
        },
    });
    if let Some(temperature) = temperature {
        body["generationConfig"]["temperature"] = temperature.into();
    }
    body
}

/// A JSON schema in the words that Gemini knows. What has no word there (`additionalProperties`, `$schema`) is left out, so
/// an answer may say more than the schema allows; whoever reads it is strict.
fn subset(schema: &Value) -> Value {
    let Value::Object(object) = schema else {
        return schema.clone();
    };
    let mut kept = Map::new();
    for (word, value) in object {
        match (word.as_str(), value) {
            // Names of properties are no words of the schema.
            ("properties", Value::Object(properties)) => {
                let properties = properties.iter().map(|(name, schema)| (name.clone(), subset(schema))).collect();
                kept.insert(word.clone(), Value::Object(properties));
            }
            ("anyOf" | "oneOf", Value::Array(alternatives)) => {
                kept.insert("anyOf".to_owned(), alternatives.iter().map(subset).collect());
            }
            ("items", items) => {
                kept.insert(word.clone(), subset(items));
            }
            ("const", value) => {
                kept.insert("enum".to_owned(), json!([value]));
            }
            ("type", Value::Array(types)) => {
                let named: Vec<&Value> = types.iter().filter(|name| *name != "null").collect();
                kept.insert(word.clone(), named.first().map_or(Value::Null, |name| (*name).clone()));
                kept.insert("nullable".to_owned(), (named.len() < types.len()).into());
            }
            (known, value) if KNOWN.contains(&known) => {
                kept.insert(word.clone(), value.clone());
            }
            _ => {}
        }
    }
    Value::Object(kept)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Counted>,
    model_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Counted {
    prompt_token_count: u64,
    candidates_token_count: u64,
    thoughts_token_count: u64,
}

pub(crate) fn said(body: &[u8]) -> Result<Said, Error> {
    let answer: Answer = super::read(body)?;
    let blocked = answer.prompt_feedback.and_then(|feedback| feedback.block_reason);
    let candidate = answer.candidates.into_iter().next().ok_or_else(|| nothing(blocked.as_deref()))?;
    let parts = candidate.content.map(|content| content.parts).unwrap_or_default();
    let text: String = parts.into_iter().filter(|part| !part.thought).filter_map(|part| part.text).collect();
    if text.is_empty() {
        return Err(nothing(candidate.finish_reason.as_deref()));
    }
    Ok(Said {
        text,
        usage: answer.usage_metadata.map(|usage| Usage {
            input_tokens: usage.prompt_token_count,
            // Thoughts are paid for like what is said.
            output_tokens: usage.candidates_token_count.saturating_add(usage.thoughts_token_count),
        }),
        model: answer.model_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_keeps_what_gemini_knows_and_properties_of_any_name() {
        let schema = json!({
            "$schema": "x", "type": "object", "additionalProperties": false, "required": ["const"],
            "properties": {
                "const": {"type": ["string", "null"], "additionalProperties": false},
                "kind": {"const": "a"},
                "list": {"type": "array", "items": {"oneOf": [{"type": "string", "$comment": "x"}]}},
            },
        });
        let expected = json!({
            "type": "object", "required": ["const"],
            "properties": {
                "const": {"type": "string", "nullable": true},
                "kind": {"enum": ["a"]},
                "list": {"type": "array", "items": {"anyOf": [{"type": "string"}]}},
            },
        });
        assert_eq!(subset(&schema), expected);
    }
}
