//! A server's process: what it says, how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a server may take to say what is waited for. Only ever reached when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where [`free_port`] looks.
const PORTS: Range<u16> = 12_000..32_000;

/// The path of a program that `tests/install_servers.sh` installs, or of one by that name on the PATH.
///
/// # Panics
/// When there is neither: a test without its server must not look like a test that passed.
pub fn program(names: &[&str]) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/servers/bin");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(installed).chain(std::env::split_paths(&on_path));
    let mut found =
        folders.flat_map(|folder| names.iter().map(move |name| folder.join(name))).filter(|path| path.is_file());
    found.next().unwrap_or_else(|| {
        panic!("there is no {}; ./tests/run.sh installs the servers that tests need", names.join(" nor "))
    })
}

/// A port that nobody listens on, for what can neither be handed a listener nor say which port it chose.
///
/// No port is given out twice by a process, nor is one that the system gives to an outgoing connection (from 32768 on
/// Linux, 49152 elsewhere): a server that is killed finds its port free when it starts again.
///
/// # Panics
/// When there is no such port.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Programs of tests that run beside each other start apart from one another.
    let first = std::process::id().wrapping_mul(61);
    let count = u32::from(PORTS.end - PORTS.start);
    (0..count)
        .map(|_| first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % count)
        .map(|offset| PORTS.start + u16::try_from(offset).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    ended: bool,
}

/// A running server. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said = Arc::<(Mutex<Said>, Condvar)>::default();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        // One listener a stream: a server whose pipe is full stands still.
        listen(out, Arc::clone(&said));
        listen(err, Arc::clone(&said));
        Self { child, said }
    }

    /// Waits for a line, and gives what `found` makes of it; `None` when the server ended without saying it.
    pub(crate) fn wait_for<T>(&self, found: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (said, changed) = &*self.said;
        let mut said = said.lock().unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = said.lines.iter().find_map(|line| found(line)) {
                return Some(found);
            }
            if said.ended {
                return None;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the server does not say it: {:#?}", said.lines);
            said = changed.wait_timeout(said, left).unwrap().0;
        }
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.said.0.lock().unwrap().lines.join("\n")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name: `TERM`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot signal process {}", self.id());
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(stream: impl Read + Send + 'static, said: Arc<(Mutex<Said>, Condvar)>) {
    std::thread::spawn(move || {
        let (said, changed) = &*said;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            said.lock().unwrap().lines.push(line);
            changed.notify_all();
        }
        said.lock().unwrap().ended = true;
        changed.notify_all();
    });
}
