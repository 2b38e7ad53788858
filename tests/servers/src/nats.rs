//! nats-server with JetStream.

use std::fmt::Write as _;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port, program};

/// How a server is to run.
#[derive(Clone, Debug, Default)]
pub struct NatsOptions {
    /// Every message is on disk before it is acknowledged.
    pub sync_always: bool,
    /// More lines of its configuration file.
    pub more: String,
}

/// A NATS server with JetStream. Killed when dropped, its store removed.
#[derive(Debug)]
pub struct Nats {
    process: Process,
    folder: TempDir,
    options: NatsOptions,
    name: String,
    port: u16,
    /// Own route port, and all of the cluster's; empty outside one.
    routes: Vec<u16>,
    own_route: u16,
}

impl Nats {
    /// A server alone.
    ///
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn start() -> Self {
        Self::with(&NatsOptions::default())
    }

    /// # Panics
    /// Like [`Nats::start`].
    pub fn with(options: &NatsOptions) -> Self {
        Self::launch("alone", options, 0, Vec::new())
    }

    /// A cluster. Its members are up when this returns; they elect their leaders afterwards.
    ///
    /// # Panics
    /// Like [`Nats::start`].
    pub fn cluster(members: usize, options: &NatsOptions) -> Vec<Self> {
        let routes: Vec<u16> = (0..members).map(|_| free_port()).collect();
        let name = |member| format!("member{member}");
        let launch = |(member, route): (usize, &u16)| Self::launch(&name(member), options, *route, routes.clone());
        routes.iter().enumerate().map(launch).collect()
    }

    fn launch(name: &str, options: &NatsOptions, own_route: u16, routes: Vec<u16>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (name, options) = (name.to_owned(), options.clone());
        let port = free_port();
        let process = run(&folder, &name, &options, port, own_route, &routes);
        Self { process, folder, options, name, port, routes, own_route }
    }

    /// `nats://127.0.0.1:4222`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Name within its cluster: what JetStream calls the leader of a stream.
    pub fn name(&self) -> &str {
        &self.name
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
        self.process = run(&self.folder, &self.name, &self.options, self.port, self.own_route, &self.routes);
    }

    /// Starts it again on the same port with nothing in its store.
    ///
    /// # Panics
    /// When it does not start.
    pub fn renew(&mut self) {
        self.process.kill();
        std::fs::remove_dir_all(self.folder.path().join("store")).unwrap();
        self.restart();
    }

    /// What it has said since it was started last.
    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }
}

fn run(folder: &TempDir, name: &str, options: &NatsOptions, port: u16, own_route: u16, routes: &[u16]) -> Process {
    let store = folder.path().join("store");
    let sync = if options.sync_always { "sync_interval: always" } else { "" };
    let mut text = format!(
        "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?}\n {sync} }}\n{}\n",
        store.display(),
        options.more
    );
    if !routes.is_empty() {
        let all: Vec<String> = routes.iter().map(|route| format!("\"nats://127.0.0.1:{route}\"")).collect();
        let _ = write!(
            text,
            "cluster {{ name: trial\n listen: \"127.0.0.1:{own_route}\"\n routes: [{}] }}\n",
            all.join(", ")
        );
    }
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, text).unwrap();
    let process = Process::start(Command::new(program(&["nats-server"])).arg("--config").arg(file));
    let ready = process.wait_for(|line| line.contains("Server is ready").then_some(()));
    assert!(ready.is_some(), "nats-server did not start:\n{}", process.log());
    process
}
