//! valkey-server, or redis-server where that is what is installed.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port, program};

/// Ports that are tried: somebody else may take one between finding it free and using it.
const PORTS_TRIED_MAX: usize = 5;

/// How a server is to run.
#[derive(Clone, Debug)]
pub struct ValkeyOptions {
    /// Writes to disk before it answers.
    pub appendonly: bool,
    pub maxmemory_policy: String,
    /// Copies the server on this port.
    pub replica_of: Option<u16>,
    /// As one node of a cluster.
    pub cluster: bool,
}

impl Default for ValkeyOptions {
    fn default() -> Self {
        Self { appendonly: false, maxmemory_policy: "noeviction".to_owned(), replica_of: None, cluster: false }
    }
}

/// A Valkey server. Killed when dropped, its store removed.
#[derive(Debug)]
pub struct Valkey {
    process: Process,
    folder: TempDir,
    options: ValkeyOptions,
    port: u16,
}

impl Valkey {
    /// A server alone, that evicts nothing and keeps nothing over a restart.
    ///
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn start() -> Self {
        Self::with(&ValkeyOptions::default())
    }

    /// # Panics
    /// Like [`Valkey::start`].
    pub fn with(options: &ValkeyOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let started = (0..PORTS_TRIED_MAX).find_map(|_| {
            let port = free_port();
            run(&folder, options, port).ok().map(|process| (process, port))
        });
        let (process, port) = started.unwrap_or_else(|| panic!("valkey-server does not start"));
        Self { process, folder, options: options.clone(), port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:6379`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts it again on the same port and store.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = run(&self.folder, &self.options, self.port).unwrap_or_else(|log| panic!("{log}"));
    }

    /// Holds it still: it answers nobody and copies nothing until [`Valkey::resume`].
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Waits until a replica has the whole of what it copies.
    ///
    /// # Panics
    /// When it ends before.
    pub fn wait_for_copy(&self) {
        let done =
            |line: &str| (line.contains("Finished with success") || line.contains("Successful partial")).then_some(());
        assert!(self.process.wait_for(done).is_some(), "the replica ended:\n{}", self.process.log());
    }

    /// Sends one command in plain words; what is answered, as it stands on the wire.
    ///
    /// # Panics
    /// When there is no connection.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "{command}\r\nQUIT\r\n").unwrap();
        let mut answer = String::new();
        stream.take(4_096).read_to_string(&mut answer).unwrap();
        answer
    }

    /// What it has said since it was started last.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

/// What it said, when it does not start.
fn run(folder: &TempDir, options: &ValkeyOptions, port: u16) -> Result<Process, String> {
    let mut command = Command::new(program(&["valkey-server", "redis-server"]));
    let yes_no = |yes| if yes { "yes" } else { "no" };
    command.current_dir(folder.path());
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
    command.args(["--appendonly", yes_no(options.appendonly), "--appendfsync", "always"]);
    command.args(["--maxmemory-policy", &options.maxmemory_policy]);
    command.args(["--cluster-enabled", yes_no(options.cluster)]);
    // A replica of a test must not wait for more replicas to share one transfer with.
    command.args(["--repl-diskless-sync-delay", "0"]);
    if let Some(port) = options.replica_of {
        command.args(["--replicaof", "127.0.0.1", &port.to_string()]);
    }
    let process = Process::start(&mut command);
    let ready = process.wait_for(|line| line.contains("Ready to accept connections").then_some(()));
    if ready.is_none() { Err(process.log()) } else { Ok(process) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_keeps_what_it_was_told_to_and_a_replica_follows() {
        let mut server = Valkey::with(&ValkeyOptions { appendonly: true, ..ValkeyOptions::default() });
        assert!(server.ask("SET key 17").starts_with("+OK"));
        server.kill();
        server.restart();
        assert!(server.ask("GET key").contains("17"));
        assert!(server.ask("CONFIG GET maxmemory-policy").contains("noeviction"));
        let replica = Valkey::with(&ValkeyOptions { replica_of: Some(server.port()), ..ValkeyOptions::default() });
        replica.wait_for_copy();
        assert!(replica.ask("GET key").contains("17"));
        server.stop();
    }
}
