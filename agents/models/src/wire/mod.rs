//! What each kind of service wants to be asked and how it answers: bodies and their reading, no I/O.

pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod gemini;
pub(crate) mod openai;

use serde::Deserialize;
use trailwarden_runtime::quoted::quoted;

use crate::{Error, Usage};

/// Said of the tool that stands for the structured output.
const TOOL_DESCRIPTION: &str = "Gives the answer.";

/// An answer as the service gave it.
#[derive(Debug, PartialEq)]
pub(crate) struct Said {
    pub text: String,
    pub usage: Option<Usage>,
    pub model: Option<String>,
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Malformed(quoted(&error.to_string())))
}

/// The answer holds no output: the service's own word on why, if it gave one.
fn nothing(why: Option<&str>) -> Error {
    Error::Malformed(why.map_or_else(|| "no output in it".to_owned(), |why| quoted(&format!("no output in it: {why}"))))
}
