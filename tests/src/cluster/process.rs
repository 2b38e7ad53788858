//! One role as a process.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};

use trailwarden_servers::free_port;

use super::Cluster;
use crate::command::binary;

/// A started role; killed when dropped.
pub struct Process {
    child: Child,
    log: std::path::PathBuf,
    role: &'static str,
    /// Where its measures can be read.
    status: String,
}

impl Process {
    pub(super) fn start(cluster: &Cluster, role: &'static str, name: &str, more: &[&str]) -> Self {
        let log = cluster.log_path(name);
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(binary());
        command.args(["run", "--role", role, "--config"]).arg(cluster.configuration()).env_clear();
        command.envs(cluster.environment.iter().map(|(name, value)| (name, value)));
        let status = format!("127.0.0.1:{}", free_port());
        command.env("TRAILWARDEN_LISTEN__STATUS", &status);
        if name != role {
            // The first of its kind has the address that the configuration names.
            let variable = format!("TRAILWARDEN_LISTEN__{}", role.to_uppercase());
            command.env(variable, format!("127.0.0.1:{}", free_port()));
        }
        command.args(more);
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: command.spawn().unwrap(), log, role, status }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// Holds it still in the middle of whatever it does, until [`Self::resume`].
    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// How it has ended by itself, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Batches that it has done with since it was started.
    pub fn batches(&self) -> u64 {
        let mut stream = TcpStream::connect(&self.status).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        let of_role = page.lines().filter(|line| line.starts_with("trailwarden_batches_total{"));
        of_role.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    /// Whether it has ever logged a text, over all its lives.
    pub fn says(&self, text: &str) -> bool {
        std::fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }

    pub fn told(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(20).collect();
        format!("--- {}\n{}\n", self.role, tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU seconds that a process has used so far, its threads together.
pub fn cpu_seconds(id: u32) -> f64 {
    /// Linux gives times in these for every architecture that Rust runs on.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name in brackets may hold anything; numbers follow the last bracket.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |place: usize| after_name.split_whitespace().nth(place).and_then(|text| text.parse::<f64>().ok());
    (field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0)) / TICKS_A_SECOND
}

/// Memory that a process holds now.
pub fn resident_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}
