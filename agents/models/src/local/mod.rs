//! A small model of our own: one advisory vote between two answers, calibrated, never prose.
//!
//! Small models lean to one letter whatever they are asked. What they say of a question without content is therefore taken
//! off (contextual calibration: Zhao et al. 2021, "Calibrate Before Use"). The same file and machine give the same bits;
//! another processor may add in another order.

mod fetch;
mod llama;
#[cfg(test)]
mod tests;
mod tokens;
mod voter;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::quantized::gguf_file::Content;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use trailwarden_runtime::quoted::quoted;
use trailwarden_runtime::sigv4::hex;

use crate::Error;
use llama::{Cache, Llama};
use tokens::Tokens;

pub use fetch::Distant;
pub use voter::{Advisor, Voter};

/// What stands for "nothing" when a model's leaning is measured.
const CONTENT_FREE: [&str; 3] = ["N/A", "(none)", "..."];
const PIECE_BYTES: usize = 1 << 20;

/// A model's file, as the operator chose it.
#[derive(Clone, Debug, Deserialize)]
pub struct Pinned {
    /// A GGUF file of the `llama` architecture.
    pub path: PathBuf,
    /// SHA-256 of its bytes, in hexadecimal. Another file is refused before anything of it is parsed.
    pub sha256: String,
    /// A larger file is refused unread. About as much memory is held.
    pub bytes_max: u64,
}

/// A loaded model. It blocks the thread that asks it, for milliseconds a token; give it to a thread for blocking work.
pub struct Runner {
    llama: Llama,
    tokens: Tokens,
}

impl Runner {
    /// # Errors
    /// [`Error::Local`] where the file is not there, too large, another one, or not of a kind that is run here.
    pub fn load(pinned: &Pinned) -> Result<Self, Error> {
        let file = opened(&pinned.path, pinned.bytes_max)?;
        let found = digest(file.try_clone().map_err(unreadable)?)?;
        if !found.eq_ignore_ascii_case(pinned.sha256.trim()) {
            return Err(Error::Local(format!("the file has the SHA-256 {found}, another one was pinned")));
        }
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        // The reader of the format divides by what a file says. A pinned file can still be a broken one.
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            let content = Content::read(&mut reader).map_err(failed)?;
            Ok(Self { tokens: Tokens::read(&content)?, llama: Llama::load(&content, &mut reader)? })
        }));
        parsed.unwrap_or_else(|_| Err(Error::Local("the file cannot be parsed".to_owned())))
    }

    /// The likeliest next token after a text, as text: tells whether a model runs as it should.
    ///
    /// # Errors
    /// [`Error::Local`] for a text that is empty or beyond the bound.
    pub fn next(&self, text: &str) -> Result<String, Error> {
        let logits = self.llama.forward(&self.tokens.of_text(text)?, &mut Cache::default(), &always)?;
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(id, _)| id);
        self.tokens.text_of(&[best as u32])
    }

    /// A text's tokens as they are put to the model. Names of control tokens in it are text like any other.
    ///
    /// # Errors
    /// [`Error::Local`] where the vocabulary cannot spell it.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.tokens.of_text(text)
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// [`Error::Local`] for tokens that the vocabulary does not have.
    pub fn text(&self, tokens: &[u32]) -> Result<String, Error> {
        self.tokens.text_of(tokens)
    }
}

/// A question with a place for content, and its two answers.
#[derive(Clone, Debug)]
pub struct Form {
    /// Instructions and examples, before the content.
    pub before: String,
    /// The question itself, after it.
    pub after: String,
    /// Each one token of the model, such as `A` and `B`.
    pub answers: [String; 2],
}

/// A form put to a model, with what the model leans to before it has read anything.
pub struct Vote {
    runner: Arc<Runner>,
    /// The model's memory of all that stands before the content.
    before: Cache,
    after: Vec<u32>,
    answers: [u32; 2],
    leaning: f64,
}

/// What a model says for the first answer against the second, in log-odds (natural logarithm).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    /// `raw - leaning`: above zero for the first answer.
    pub log_odds: f64,
    /// As the model gave it.
    pub raw: f64,
    /// Its mean over questions without content.
    pub leaning: f64,
}

impl Vote {
    /// Reads what stands before the content once, and measures the leaning.
    ///
    /// # Errors
    /// [`Error::Local`] where an answer is not one token, both are the same, or the form is beyond the bound of tokens.
    pub fn new(runner: Arc<Runner>, form: &Form) -> Result<Self, Error> {
        let [first, second] = &form.answers;
        let answers = [runner.tokens.only(first)?, runner.tokens.only(second)?];
        if answers[0] == answers[1] {
            return Err(Error::Local("both answers are the same".to_owned()));
        }
        let (opening, closing) = runner.tokens.frame();
        let opening = [opening, runner.tokens.of_text(&form.before)?].concat();
        let after = [runner.tokens.of_text(&form.after)?, closing].concat();
        let mut before = Cache::default();
        runner.llama.forward(&opening, &mut before, &always)?;
        let mut vote = Self { runner, before, after, answers, leaning: 0.0 };
        let mut sum = 0.0;
        for nothing in CONTENT_FREE {
            sum += vote.raw(nothing, &always)?;
        }
        vote.leaning = sum / CONTENT_FREE.len() as f64;
        Ok(vote)
    }

    /// Weighs one content. Each call begins from the same memory, so none colours another.
    ///
    /// # Errors
    /// [`Error::Local`] where content and form together are beyond the bound of tokens.
    pub fn weigh(&self, content: &str) -> Result<Weighed, Error> {
        self.weigh_while(content, &always)
    }

    /// The same, for as long as `goes_on` says so: it is asked before each layer of the model.
    ///
    /// # Errors
    /// As [`Self::weigh`], and where it was given up.
    pub fn weigh_while(&self, content: &str, goes_on: &dyn Fn() -> bool) -> Result<Weighed, Error> {
        let raw = self.raw(content, goes_on)?;
        Ok(Weighed { log_odds: raw - self.leaning, raw, leaning: self.leaning })
    }

    fn raw(&self, content: &str, goes_on: &dyn Fn() -> bool) -> Result<f64, Error> {
        let tokens = [&self.runner.tokens.of_text(content)?[..], &self.after].concat();
        let logits = self.runner.llama.forward(&tokens, &mut self.before.clone(), goes_on)?;
        let logit = |id: u32| logits.get(id as usize).copied().map(f64::from);
        match (logit(self.answers[0]), logit(self.answers[1])) {
            // The normalising sum is the same for both, so it need not be known.
            (Some(first), Some(second)) if (first - second).is_finite() => Ok(first - second),
            _ => Err(Error::Local("the model gives no number for an answer".to_owned())),
        }
    }
}

const fn always() -> bool {
    true
}

fn opened(path: &Path, bytes_max: u64) -> Result<File, Error> {
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() || about.len() > bytes_max {
        return Err(Error::Local(format!("the file has {} bytes, at most {bytes_max} are read", about.len())));
    }
    Ok(file)
}

fn digest(mut file: File) -> Result<String, Error> {
    let mut sum = Context::new(&SHA256);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(hex(sum.finish().as_ref())),
            length => sum.update(&piece[..length]),
        }
    }
}

fn unreadable(error: std::io::Error) -> Error {
    Error::Local(quoted(&format!("the file cannot be read: {error}")))
}

fn failed(error: candle_core::Error) -> Error {
    Error::Local(quoted(&error.to_string()))
}
