//! A model's file from an address, once: kept in a folder by its SHA-256, which is known before anything is sent.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, StatusCode, Url};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use trailwarden_runtime::quoted::quoted;
use trailwarden_runtime::sigv4::hex;
use trailwarden_runtime::transport::{cause, is_loopback};

use crate::Error;

const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Between two pieces.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A file that nobody has written to for so long was left behind by a process that died while it fetched it.
const LEFT_BEHIND: Duration = Duration::from_secs(600);
/// Hubs point to where their files truly lie.
const REDIRECTS_MAX: usize = 5;

/// A model's file at an address.
#[derive(Clone, Debug)]
pub struct Distant {
    /// `https`, or `http` at this machine.
    pub url: String,
    /// SHA-256 of its bytes, in hexadecimal. Another file is thrown away unread.
    pub sha256: String,
    /// What is larger is not fetched.
    pub bytes_max: u64,
    /// Where it is kept.
    pub folder: PathBuf,
}

impl Distant {
    /// Whether it can be fetched at all, as far as one can tell before.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an address or a digest that cannot be.
    pub fn check(&self) -> Result<(), Error> {
        self.checked().map(|_| ())
    }

    fn checked(&self) -> Result<(Url, String), Error> {
        let sha256 = self.sha256.trim().to_ascii_lowercase();
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::Configuration("a SHA-256 has 64 hexadecimal digits".to_owned()));
        }
        let url = Url::parse(&self.url).ok().filter(is_safe).ok_or_else(|| {
            Error::Configuration("a model's address is https without a user and a password".to_owned())
        })?;
        Ok((url, sha256))
    }

    /// The file where it is kept; fetched, if it is not there yet.
    ///
    /// # Errors
    /// [`Error::Configuration`] for an address or a digest that cannot be; [`Error::Local`] where the file cannot be kept, is
    /// too large or another one; what keeps it from being fetched otherwise.
    pub async fn fetched(&self, within: Duration) -> Result<PathBuf, Error> {
        let (url, sha256) = self.checked()?;
        let kept = self.folder.join(format!("{sha256}.gguf"));
        if kept.is_file() {
            return Ok(kept);
        }
        fs::create_dir_all(&self.folder).map_err(unkept)?;
        sweep(&self.folder);
        let mut partial = Partial::new(&self.folder, &sha256)?;
        let fetching = self.fetch(url, &mut partial.file);
        let found = tokio::time::timeout(within, fetching).await.unwrap_or(Err(Error::Timeout { after: within }))?;
        if found != sha256 {
            return Err(Error::Local(format!("what was fetched has the SHA-256 {found}, another one was pinned")));
        }
        partial.file.sync_all().map_err(unkept)?;
        // Whole and known at last: who fetches the same at the same time puts the same in its place.
        fs::rename(&partial.path, &kept).map_err(unkept)?;
        Ok(kept)
    }

    /// Writes what comes, and gives its digest.
    async fn fetch(&self, url: Url, file: &mut File) -> Result<String, Error> {
        let is_plain = url.scheme() == "http";
        let follow = move |attempt: Attempt<'_>| {
            let is_fit = is_safe(attempt.url()) && (is_plain || attempt.url().scheme() == "https");
            if is_fit && attempt.previous().len() <= REDIRECTS_MAX { attempt.follow() } else { attempt.stop() }
        };
        let client = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .read_timeout(SILENCE_MAX)
            .redirect(Policy::custom(follow))
            .no_proxy()
            .user_agent(concat!("trailwarden/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Configuration(cause(&error)))?;
        let failed = |error: reqwest::Error| Error::Unreachable(cause(&error));
        let mut response = client.get(url).send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            let status = response.status().as_u16();
            return Err(Error::Refused { status, said: "no file came".to_owned() });
        }
        let too_large = || Error::Local(format!("the file has more than {} bytes", self.bytes_max));
        if response.content_length().is_some_and(|length| length > self.bytes_max) {
            return Err(too_large());
        }
        let (mut sum, mut bytes) = (Context::new(&SHA256), 0_u64);
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            bytes = bytes.saturating_add(piece.len() as u64);
            if bytes > self.bytes_max {
                return Err(too_large());
            }
            sum.update(&piece);
            // Pieces are small, and go to the system's cache.
            file.write_all(&piece).map_err(unkept)?;
        }
        Ok(hex(sum.finish().as_ref()))
    }
}

/// `https`, or `http` at this machine.
fn is_safe(url: &Url) -> bool {
    let is_open = url.username().is_empty() && url.password().is_none();
    is_open
        && match (url.scheme(), url.host_str()) {
            ("https", Some(_)) => true,
            ("http", Some(host)) => is_loopback(host),
            _ => false,
        }
}

/// A file on its way, gone with its value unless it was moved.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn new(folder: &Path, sha256: &str) -> Result<Self, Error> {
        let mut name = [0; 8];
        SystemRandom::new().fill(&mut name).map_err(|_| Error::Local("there is no randomness".to_owned()))?;
        let path = folder.join(format!("{sha256}.{}.partial", hex(&name)));
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(unkept)?;
        Ok(Self { path, file })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Moved, it is not there any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what dead processes left behind: each is as large as a model. One that is in use is written to every minute.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // As [`Partial`] names them: the folder is the operator's, and may hold other files.
        let name = entry.file_name();
        let parts: Vec<&str> = name.to_str().unwrap_or_default().split('.').collect();
        let is_ours = matches!(parts[..], [sha256, random, "partial"] if sha256.len() == 64 && random.len() == 16);
        let changed = entry.metadata().ok().and_then(|about| about.modified().ok());
        let is_old = changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFT_BEHIND);
        if is_ours && is_old {
            // Somebody else may have been faster, and what stays costs room alone.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn unkept(error: std::io::Error) -> Error {
    Error::Local(quoted(&format!("the file cannot be kept: {error}")))
}
