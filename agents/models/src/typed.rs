//! A typed value out of an untrusted answer, with one try at mending it.

use serde::de::DeserializeOwned;
use trailwarden_runtime::quoted::quoted;

use crate::{Error, Model, Question, Reply, Usage};

/// What came of [`ask_typed`].
#[derive(Debug)]
pub struct Asked<T> {
    pub value: Result<T, Error>,
    /// All that was said, as it was said, in order: none, one or two.
    pub replies: Vec<Reply>,
}

impl<T> Asked<T> {
    /// Tokens of all replies. What an error may have cost stands in the gateway's count alone.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.replies.iter().fold(Usage::default(), |sum, reply| sum.plus(reply.usage))
    }
}

/// Asks, and where the answer does not fit `T` asks once more, saying where it did not.
pub async fn ask_typed<T: DeserializeOwned>(model: &dyn Model, question: &Question) -> Asked<T> {
    let mut replies = Vec::new();
    let first = match model.ask(question).await {
        Ok(reply) => reply,
        Err(error) => return Asked { value: Err(error), replies },
    };
    let parsed = parse(&first.text);
    replies.push(first);
    let place = match parsed {
        Ok(value) => return Asked { value: Ok(value), replies },
        Err(place) => place,
    };
    let value = match model.ask(&mended(question, &place)).await {
        Ok(second) => {
            let parsed = parse(&second.text).map_err(|place| Error::Malformed(format!("twice, then {place}")));
            replies.push(second);
            parsed
        }
        Err(error) => Err(error),
    };
    Asked { value, replies }
}

/// Depth is bounded by serde_json (128), length by whoever read the answer.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let words = error.to_string();
        // The place comes first, so that it stands when the words are cut.
        let words = words.split(" at line ").next().unwrap_or_default();
        quoted(&format!("line {} column {}: {words}", error.line(), error.column()))
    })
}

fn mended(question: &Question, place: &str) -> Question {
    let user = format!(
        "{}\n\nYour previous answer did not fit the schema {} ({place}). Answer again, with that mended.",
        question.user, question.schema_name
    );
    Question { user, ..question.clone() }
}
