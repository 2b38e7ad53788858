//! Runs the built binary as an operator would, and measures what it took.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No run of a suite may take longer; a hang is a failure, not a wait.
const RUN_S_MAX: u64 = 240;
const POLL_MS: u64 = 2;

/// The binary beside the test that asks: `target/<profile>/trailwarden`.
///
/// # Panics
/// When it has not been built: cargo builds another package's binary only when asked to.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("trailwarden{}", std::env::consts::EXE_SUFFIX);
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no {name} beside {}; build it first: cargo build --release -p trailwarden (./tests/run.sh does)",
            test.display()
        )
    })
}

/// One run to be made.
pub struct Invocation {
    arguments: Vec<OsString>,
    environment: Vec<(String, String)>,
    stdin: Vec<u8>,
    folder: Option<PathBuf>,
    stdout_is_closed: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The most memory it held, from `/proc`; `None` where there is none, or it was gone before it could be asked.
    pub peak_bytes: Option<u64>,
}

/// `trailwarden` with these arguments, an empty standard input and none of this process's settings.
pub fn trailwarden<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Invocation {
    Invocation {
        arguments: arguments.into_iter().map(|text| text.as_ref().to_owned()).collect(),
        environment: Vec::new(),
        stdin: Vec::new(),
        folder: None,
        stdout_is_closed: false,
    }
}

impl Invocation {
    pub fn arg(mut self, text: impl AsRef<OsStr>) -> Self {
        self.arguments.push(text.as_ref().to_owned());
        self
    }

    pub fn args<A: AsRef<OsStr>>(mut self, texts: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(texts.into_iter().map(|text| text.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: &str, text: &str) -> Self {
        self.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The folder it is started in; otherwise this process's.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Its standard output is a pipe that nobody reads any more, as after `| head -0`.
    pub fn with_stdout_closed(mut self) -> Self {
        self.stdout_is_closed = true;
        self
    }

    /// # Panics
    /// When it cannot be started or does not end in time.
    pub fn run(self) -> Run {
        let mut command = Command::new(binary());
        command.args(&self.arguments).env_clear().envs(self.environment);
        for kept in ["PATH", "TMPDIR", "LD_LIBRARY_PATH"] {
            if let Some(text) = std::env::var_os(kept) {
                command.env(kept, text);
            }
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
        if self.stdout_is_closed {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            command.stdout(writer);
        }
        let mut child = command.spawn().unwrap();
        // The command holds the parent's end of a closed pipe; the child must be the only one left.
        drop(command);
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let mut pipe = child.stdin.take().unwrap();
        let stdin = self.stdin;
        // A program that does not read its input closes the pipe: that is its right.
        let feeder = thread::spawn(move || drop(pipe.write_all(&stdin)));
        let (code, peak_bytes) = wait(&mut child, &self.arguments);
        feeder.join().unwrap();
        Run { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), peak_bytes }
    }
}

impl Run {
    /// # Panics
    /// With all that was printed, when the exit code is another one, or when the program panicked on the way.
    pub fn assert_code(&self, expected: i32) -> &Self {
        assert!(!self.stderr.contains("panicked at"), "{}", self.told());
        assert_eq!(self.code, Some(expected), "{}", self.told());
        self
    }

    /// # Panics
    /// Unless one line on stderr holds one of these words, in any case of letters.
    pub fn assert_says(&self, any: &[&str]) -> &Self {
        let says = |line: &str| any.iter().any(|word| line.to_lowercase().contains(&word.to_lowercase()));
        assert!(self.stderr.lines().any(says), "no line on stderr says any of {any:?}\n{}", self.told());
        self
    }

    /// The number that stands at `word` on stderr: `rejected 2`, `rejected: 2`, `2 rejected`, `1,000 rejected`.
    ///
    /// # Panics
    /// When there is none.
    pub fn counted(&self, word: &str) -> u64 {
        let found = self.stderr.lines().find_map(|line| number_at(line, word));
        found.unwrap_or_else(|| panic!("no number at {word:?} on stderr\n{}", self.told()))
    }

    /// The printed cap on memory, from a line on stderr that speaks of memory and names so many MiB.
    ///
    /// # Panics
    /// When none does.
    pub fn memory_cap_bytes(&self) -> u64 {
        let lines = self.stderr.lines().filter(|line| line.to_lowercase().contains("memory"));
        let mib = lines.filter_map(|line| number_at(line, "MiB")).next();
        mib.unwrap_or_else(|| panic!("no line on stderr names memory in MiB\n{}", self.told())) << 20
    }

    /// # Panics
    /// When more memory was taken than the printed cap and 64 bytes for each of `events`.
    pub fn assert_memory_is_bounded(&self, events: u64) -> &Self {
        let allowed = self.memory_cap_bytes() + 64 * events;
        match self.peak_bytes {
            Some(peak) => assert!(peak <= allowed, "took {peak} bytes, {allowed} are allowed\n{}", self.told()),
            None => eprintln!("memory was not checked: this system has no /proc, or the run was too short to ask"),
        }
        self
    }

    /// Exit code, stdout and stderr, for a message.
    pub fn told(&self) -> String {
        format!("exit code: {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, cut(&self.stdout), cut(&self.stderr))
    }
}

/// The event ids of an `--events` file, in its order.
///
/// # Panics
/// When it cannot be read or a line is not an event.
pub fn event_ids(events: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(events).unwrap_or_else(|error| panic!("{}: {error}", events.display()));
    text.lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            event["event_id"].as_str().expect("every line names its event").to_owned()
        })
        .collect()
}

/// The same as a set, for what must at least be there.
pub fn event_id_set(events: &Path) -> BTreeSet<String> {
    event_ids(events).into_iter().collect()
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).unwrap();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, arguments: &[OsString]) -> (Option<i32>, Option<u64>) {
    let started = Instant::now();
    let mut peak_bytes = None;
    loop {
        // The kernel keeps the high-water mark, so asking now and then misses only the last moments.
        peak_bytes = peak_of(child.id()).max(peak_bytes);
        if let Some(status) = child.try_wait().unwrap() {
            return (status.code(), peak_bytes);
        }
        if started.elapsed() > Duration::from_secs(RUN_S_MAX) {
            child.kill().unwrap();
            panic!("still running after {RUN_S_MAX} s: {arguments:?}");
        }
        thread::sleep(Duration::from_millis(POLL_MS));
    }
}

fn peak_of(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// The number that follows `word` (with no comma between them), else the one before it.
fn number_at(line: &str, word: &str) -> Option<u64> {
    let lower = line.to_lowercase();
    let at = lower.find(&word.to_lowercase())?;
    let (before, after) = (&lower[..at], &lower[at + word.len()..]);
    let digits = |c: char| c.is_ascii_digit() || c == ',' || c == '_';
    let after = after.trim_start_matches([' ', ':', '=', '\t', '|']);
    let end = after.find(|c| !digits(c)).unwrap_or(after.len());
    let before = before.trim_end_matches([' ', '\t']);
    let start = before.rfind(|c| !digits(c)).map_or(0, |last| last + 1);
    [&after[..end], &before[start..]].iter().find_map(|digits| {
        let plain: String = digits.chars().filter(char::is_ascii_digit).collect();
        plain.parse().ok()
    })
}

fn cut(text: &str) -> &str {
    const SHOWN_BYTES_MAX: usize = 8_000;
    let mut end = text.len().min(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::number_at;

    #[test]
    fn numbers_are_found_on_either_side_of_their_word() {
        for (line, word, expected) in [
            ("rejected 2", "rejected", Some(2)),
            ("rejected: 1,234 (line too long 3)", "rejected", Some(1234)),
            ("5 events, 3 duplicates, 2 rejected", "duplicates", Some(3)),
            ("  Duplicates    999,999", "duplicates", Some(999_999)),
            ("memory: at most 1024 MiB", "MiB", Some(1024)),
            ("nothing here", "rejected", None),
        ] {
            assert_eq!(number_at(line, word), expected, "{line}");
        }
    }
}
