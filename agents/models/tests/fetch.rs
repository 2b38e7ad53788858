//! A model's file is fetched once, within bounds, and is the pinned one, over real HTTP on this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use trailwarden_models::{Distant, Kind};

/// SHA-256 of "abc", as FIPS 180-4 gives it.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const LONG: Duration = Duration::from_secs(20);

/// Answers every request with the same bytes, and counts them.
async fn served(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let mut head = [0; 2_048];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            // An answer without an end stays open until whoever asked hangs up.
            if answer.contains("endless") {
                let _ = stream.read(&mut head).await;
            }
        }
    });
    (base, asked)
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trailwarden-fetch-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).into_iter().flatten();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn distant(url: &str, folder: &Path) -> Distant {
    Distant { url: url.to_owned(), sha256: ABC.to_owned(), bytes_max: 100, folder: folder.to_owned() }
}

#[tokio::test]
async fn the_pinned_file_is_fetched_once_through_a_redirect_and_kept() {
    let (base, asked) = served("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc").await;
    let place: &'static str = Box::leak(
        format!(
            "HTTP/1.1 302 Found\r\nlocation: {base}/file?signed=1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into_boxed_str(),
    );
    let (hub, hubs) = served(place).await;
    let folder = Folder::new("once");
    for sha256 in [ABC.to_owned(), ABC.to_uppercase()] {
        let path = Distant { sha256, ..distant(&hub, &folder.0) }.fetched(LONG).await.unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().len(), 3);
    }
    assert_eq!((hubs.load(Ordering::SeqCst), asked.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(folder.names(), [format!("{ABC}.gguf")]);
}

#[tokio::test]
async fn another_one_a_large_one_and_one_that_does_not_come_leave_nothing() {
    let folder = Folder::new("none");
    for (answer, kind, within) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabd", Kind::Local, LONG),
        ("HTTP/1.1 200 OK\r\ncontent-length: 101\r\nconnection: close\r\n\r\nabc", Kind::Local, LONG),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nC8\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n0\r\n\r\n",
            Kind::Local,
            LONG,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nabc", Kind::Unreachable, LONG),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc", Kind::Refused, LONG),
        ("HTTP/1.1 302 Found\r\nlocation: ftp://127.0.0.1/x\r\ncontent-length: 0\r\n\r\n", Kind::Refused, LONG),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://models.example.com/x\r\ncontent-length: 0\r\n\r\n",
            Kind::Refused,
            LONG,
        ),
        ("HTTP/1.1 200 OK\r\nx: endless\r\ncontent-length: 9\r\n\r\nabc", Kind::Timeout, Duration::from_millis(200)),
    ] {
        let (base, _) = served(answer).await;
        let error = distant(&base, &folder.0).fetched(within).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error}");
        assert_eq!(folder.names(), [""; 0], "{answer}");
    }
}

#[tokio::test]
async fn what_a_dead_process_left_behind_goes_and_what_another_one_writes_stays() {
    let (base, _) = served("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc").await;
    let folder = Folder::new("left");
    std::fs::create_dir_all(&folder.0).unwrap();
    let (left, written) = (format!("{ABC}.00112233aabbccdd.partial"), format!("{ABC}.0011223344556677.partial"));
    for (name, age) in [(left.as_str(), 601), (written.as_str(), 60), ("other.partial", 601), ("old.gguf", 601)] {
        let file = std::fs::File::create(folder.0.join(name)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    let kept = distant(&base, &folder.0).fetched(LONG).await.unwrap();
    let mut names = folder.names();
    names.sort_unstable();
    let kept = kept.file_name().unwrap().to_str().unwrap();
    assert_eq!(names, [written.as_str(), kept, "old.gguf", "other.partial"]);
}

#[tokio::test]
async fn odd_addresses_and_digests_are_refused_before_anything_is_sent() {
    let folder = Folder::new("odd");
    for url in ["http://models.example.com/x.gguf", "ftp://127.0.0.1/x", "https://user:key@example.com/x", "x", ""] {
        assert_eq!(distant(url, &folder.0).fetched(LONG).await.unwrap_err().kind(), Kind::Configuration, "{url}");
    }
    let (base, asked) = served("").await;
    for sha256 in ["", "abc", "../../../../etc/passwd"] {
        let pinned = Distant { sha256: sha256.to_owned(), ..distant(&base, &folder.0) };
        assert_eq!(pinned.fetched(LONG).await.unwrap_err().kind(), Kind::Configuration, "{sha256}");
    }
    assert_eq!((asked.load(Ordering::SeqCst), folder.0.exists()), (0, false));
}
