//! A model's service that behaves as its mood is: real HTTP on a free port of 127.0.0.1, for all four APIs.

use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Until the slow one has said all: far beyond any deadline of a test.
const DRIP: Duration = Duration::from_millis(20);
/// What the oversized one would say if nobody stopped it.
pub(crate) const OVERSIZED_BYTES: usize = 64 << 20;

/// How the service behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    /// Answers in the right shape what would close any case.
    HostileBenign,
    /// Answers in the right shape what would condemn anybody.
    HostileMalicious,
    /// Says JSON that is no answer of the API.
    OtherShape,
    /// Bytes that are nothing at all, said to be JSON.
    Garbage,
    /// The first half of an honest answer, as a whole body.
    CutJson,
    /// Hangs up in the middle of the body.
    CutConnection,
    /// A byte at a time.
    SlowDrip,
    /// Takes the request and says nothing.
    Hang,
    /// Status 429, and after how many seconds to come again.
    Limited(u64),
    /// A status from 500, with an HTML page.
    Away(u16),
    /// Status 401, saying the request's own keys and terminal codes back.
    Echo,
    /// An endless body without a length.
    Oversized,
    /// A length beyond every bound.
    OversizedLength,
    /// HTML with status 200.
    WrongType,
    /// Points elsewhere.
    Redirect,
    /// A right answer whose counts are nonsense.
    AbsurdUsage,
}

/// What each kind of mood answers: JSON texts in the shape that the question asks for.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) honest: Value,
    pub(crate) benign: Value,
    pub(crate) malicious: Value,
}

/// What is answered to a request in a mood that answers in form.
pub(crate) type Voice = Box<dyn Fn(&Seen, Mood) -> Value + Send + Sync>;
/// The mood in which a request is met; the number is its place among all.
pub(crate) type Temper = Box<dyn Fn(&Seen, usize) -> Mood + Send + Sync>;

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Seen {
    /// The schema that the answer is asked to have, wherever the API puts it.
    pub(crate) fn schema(&self) -> Value {
        let places = [
            "/response_format/json_schema/schema",
            "/tools/0/function/parameters",
            "/tools/0/input_schema",
            "/toolConfig/tools/0/toolSpec/inputSchema/json",
            "/generationConfig/responseSchema",
        ];
        places.iter().find_map(|place| self.body.pointer(place)).cloned().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Ends with its value.
pub(crate) struct Fake {
    pub(crate) base: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    temper: Temper,
    voice: Voice,
    seen: Mutex<Vec<Seen>>,
    written: AtomicUsize,
}

impl Fake {
    /// Each mood is for one request in turn; the last one stays.
    pub(crate) async fn start(moods: &[Mood], answers: Answers) -> io::Result<Self> {
        let moods = moods.to_vec();
        let temper = move |_: &Seen, nth: usize| moods.get(nth).or(moods.last()).copied().unwrap_or(Mood::Honest);
        let voice = move |_: &Seen, mood: Mood| match mood {
            Mood::HostileBenign => answers.benign.clone(),
            Mood::HostileMalicious => answers.malicious.clone(),
            _ => answers.honest.clone(),
        };
        Self::speaking(Box::new(temper), Box::new(voice)).await
    }

    pub(crate) async fn speaking(temper: Temper, voice: Voice) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared { temper, voice, seen: Mutex::default(), written: AtomicUsize::new(0) });
        let serving = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    // A caller that hangs up is part of the play.
                    tokio::spawn(async move { drop(serve(stream, &shared).await) });
                }
            }
        });
        Ok(Self { base, shared, serving })
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Bytes of bodies that the system took over from the service.
    pub(crate) fn written(&self) -> usize {
        self.shared.written.load(Ordering::SeqCst)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let seen = read(&mut stream).await?;
    let nth = {
        let mut all = shared.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let mood = (shared.temper)(&seen, nth);
    let stream = stream.get_mut();
    let honest =
        envelope(&seen, &(shared.voice)(&seen, mood), if mood == Mood::AbsurdUsage { u64::MAX } else { 7 }).to_string();
    let json = "content-type: application/json\r\n";
    match mood {
        Mood::Honest | Mood::HostileBenign | Mood::HostileMalicious | Mood::AbsurdUsage => {
            whole(stream, 200, json, honest.as_bytes()).await
        }
        Mood::OtherShape => {
            whole(stream, 200, json, br#"{"choices":7,"content":null,"output":[],"candidates":{}}"#).await
        }
        Mood::Garbage => whole(stream, 200, json, b"\xff\xfe\0{]\x1b[2J").await,
        Mood::CutJson => whole(stream, 200, json, &honest.as_bytes()[..honest.len() / 2]).await,
        Mood::CutConnection => {
            head(stream, 200, &format!("{json}content-length: {}\r\n", honest.len())).await?;
            stream.write_all(&honest.as_bytes()[..honest.len() / 2]).await
        }
        Mood::SlowDrip => {
            head(stream, 200, &format!("{json}content-length: 50000\r\n")).await?;
            for _ in 0..50_000 {
                stream.write_all(b" ").await?;
                tokio::time::sleep(DRIP).await;
            }
            Ok(())
        }
        Mood::Hang => {
            // Ends when the caller hangs up.
            stream.read(&mut [0; 1]).await.map(|_| ())
        }
        Mood::Limited(seconds) => {
            let headers = format!("{json}retry-after: {seconds}\r\n");
            whole(stream, 429, &headers, br#"{"error":{"message":"slow down"}}"#).await
        }
        Mood::Away(status) => {
            let page = format!("<html>{}</html>", "sorry \u{1b}[31m".repeat(10_000));
            whole(stream, status, "content-type: text/html\r\n", page.as_bytes()).await
        }
        Mood::Echo => {
            let mut said = String::from("no such key\r\n\u{1b}[2J: ");
            for (_, value) in &seen.headers {
                let _ = write!(said, "{value} ");
            }
            whole(stream, 401, json, json!({"error": {"message": said}}).to_string().as_bytes()).await
        }
        Mood::Oversized => oversized(stream, shared, json).await,
        Mood::OversizedLength => {
            head(stream, 200, &format!("{json}content-length: {}\r\n", u64::MAX / 2)).await?;
            stream.read(&mut [0; 1]).await.map(|_| ())
        }
        Mood::WrongType => whole(stream, 200, "content-type: text/html\r\n", honest.as_bytes()).await,
        Mood::Redirect => {
            let elsewhere = seen.header("host").map(|host| format!("location: http://{host}/elsewhere\r\n"));
            whole(stream, 307, &elsewhere.unwrap_or_default(), b"").await
        }
    }
}

async fn oversized(stream: &mut TcpStream, shared: &Shared, json: &str) -> io::Result<()> {
    head(stream, 200, &format!("{json}transfer-encoding: chunked\r\n")).await?;
    let piece = [b' '; 4_096];
    while shared.written.load(Ordering::SeqCst) < OVERSIZED_BYTES {
        stream.write_all(b"1000\r\n").await?;
        stream.write_all(&piece).await?;
        stream.write_all(b"\r\n").await?;
        shared.written.fetch_add(piece.len(), Ordering::SeqCst);
    }
    stream.write_all(b"0\r\n\r\n").await
}

async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut lines = String::new();
    while !lines.ends_with("\r\n\r\n") {
        if lines.len() > REQUEST_BYTES_MAX || stream.read_line(&mut lines).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let mut lines = lines.lines();
    seen.path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    seen.headers = lines.filter_map(pair).collect();
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; usize::min(length, REQUEST_BYTES_MAX)];
    stream.read_exact(&mut body).await?;
    seen.body = serde_json::from_slice(&body).unwrap_or_default();
    Ok(seen)
}

async fn head(stream: &mut TcpStream, status: u16, headers: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} x\r\n{headers}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}

async fn whole(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) -> io::Result<()> {
    head(stream, status, &format!("{headers}content-length: {}\r\n", body.len())).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// The answer as the API that was asked would give it.
fn envelope(seen: &Seen, output: &Value, tokens: u64) -> Value {
    let body = &seen.body;
    if seen.path.ends_with("/chat/completions") {
        let message = match body.pointer("/tools/0/function/name") {
            Some(name) => {
                let function = json!({"name": name, "arguments": output.to_string()});
                json!({"content": null, "tool_calls": [{"id": "t", "type": "function", "function": function}]})
            }
            None => json!({"role": "assistant", "content": output.to_string()}),
        };
        json!({
            "id": "x", "model": body["model"], "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": tokens, "completion_tokens": tokens},
        })
    } else if seen.path.ends_with("/messages") {
        let used = json!({"type": "tool_use", "id": "t", "name": body["tools"][0]["name"], "input": output});
        json!({
            "id": "x", "model": body["model"], "content": [{"type": "text", "text": "Well."}, used],
            "stop_reason": "tool_use", "usage": {"input_tokens": tokens, "output_tokens": tokens},
        })
    } else if seen.path.ends_with("/converse") {
        let name = &body["toolConfig"]["tools"][0]["toolSpec"]["name"];
        let used = json!({"toolUse": {"toolUseId": "t", "name": name, "input": output}});
        json!({
            "output": {"message": {"role": "assistant", "content": [{"text": "Well."}, used]}},
            "stopReason": "tool_use", "usage": {"inputTokens": tokens, "outputTokens": tokens, "totalTokens": tokens},
        })
    } else {
        let parts = json!([{"text": "Hm.", "thought": true}, {"text": output.to_string()}]);
        json!({
            "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": tokens, "candidatesTokenCount": tokens}, "modelVersion": "gemini-x",
        })
    }
}
