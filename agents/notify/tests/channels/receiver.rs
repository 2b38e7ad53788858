//! An HTTP server that remembers what it was asked, and answers as its moods say.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How one request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    Takes,
    /// A status, with headers.
    Says(u16, &'static str),
    /// No HTTP at all.
    Garbage,
    /// A body that goes on and on.
    Endless,
    HangsUp,
    /// Takes the request and never answers.
    Silent,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Receiver<usize>,
}

impl Receiver {
    /// Answers as many requests as there are moods, each on a connection of its own.
    pub(crate) async fn start(moods: Vec<Mood>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (counter, count) = watch::channel(0);
        let all = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut silent = Vec::new();
            for mood in moods {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                all.lock().unwrap().push(request);
                counter.send_modify(|count| *count += 1);
                if matches!(mood, Mood::Silent) {
                    silent.push(stream);
                } else {
                    answer(stream, mood).await;
                }
            }
            // Connections that are held, and the counter, stay as long as the test does.
            std::future::pending::<()>().await;
        });
        Self { url, asked, count }
    }

    /// What was asked, once it was asked so often.
    pub(crate) async fn asked(&self, times: usize) -> Vec<Asked> {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
        self.asked.lock().unwrap().clone()
    }
}

async fn read(stream: &mut TcpStream) -> Asked {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the request breaks off");
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().to_owned();
        let split = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<(String, String)> = lines.filter_map(split).collect();
        let asked = Asked { path, headers, body: bytes[end + 4..].to_vec() };
        if asked.body.len() >= asked.header("content-length").parse().unwrap() {
            return asked;
        }
    }
}

async fn answer(mut stream: TcpStream, mood: Mood) {
    let text = match mood {
        Mood::Takes => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned(),
        Mood::Says(status, headers) => {
            format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: 3\r\nConnection: close\r\n\r\nno.")
        }
        Mood::Garbage => "\u{1b}[2J\r\n\r\n".to_owned(),
        Mood::Endless => {
            let start = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
            if stream.write_all(start.as_bytes()).await.is_ok() {
                while stream.write_all(&[b'x'; 4_096]).await.is_ok() {}
            }
            return;
        }
        Mood::HangsUp | Mood::Silent => return,
    };
    // Whoever has left does not read it.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
