//! A mail server.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, program};

/// A mail server that says what it takes. Recipients `unknown@…` are refused for good, `busy@…` for now. Killed when dropped.
#[derive(Debug)]
pub struct Smtp {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Smtp {
    /// `mode` is `none`, `starttls` or `tls`; with a login, nobody else may send.
    ///
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn start(mode: &str, login: Option<(&str, &str)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("smtp.py");
        let mut command = Command::new(program(&["python"]));
        command.arg(script).arg(mode).arg(folder.path());
        if let Some((user, password)) = login {
            command.args([user, password]);
        }
        let process = Process::start(&mut command);
        let port = process.wait_for(|line| line.strip_prefix("listening ")?.parse().ok());
        let port = port.unwrap_or_else(|| panic!("the mail server does not start: {}", process.log()));
        Self { process, port, folder }
    }

    /// `127.0.0.1:2525`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The authority that its certificate is of.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The n-th mail that it took, from 1, once it did: JSON of `from`, `to`, `mail`, `is_encrypted` and `is_known`.
    ///
    /// # Panics
    /// When it does not come.
    pub fn mail(&self, n: usize) -> String {
        let start = format!("mail {n} ");
        let mail = self.process.wait_for(|line| line.strip_prefix(&start).map(str::to_owned));
        mail.unwrap_or_else(|| panic!("mail {n} does not come: {}", self.process.log()))
    }

    /// How many mails it has taken so far.
    pub fn taken(&self) -> usize {
        self.process.log().lines().filter(|line| line.starts_with("mail ")).count()
    }
}
