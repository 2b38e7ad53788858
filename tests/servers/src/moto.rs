//! moto_server: AWS' interfaces, with everything in memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::process::{Process, free_port, program};

/// Ports that are tried: somebody else may take one between finding it free and using it.
const PORTS_TRIED_MAX: usize = 5;

/// An AWS of this machine. Killed when dropped.
#[derive(Debug)]
pub struct Moto {
    // Lives as long as this does.
    _process: Process,
    port: u16,
}

impl Moto {
    /// # Panics
    /// When there is no such program, or it does not start.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With the policies that AWS manages, which take it seconds for each account.
    ///
    /// # Panics
    /// Like [`Moto::start`].
    pub fn with_managed_policies() -> Self {
        Self::with(&[("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")])
    }

    fn with(variables: &[(&str, &str)]) -> Self {
        let started = (0..PORTS_TRIED_MAX).find_map(|_| {
            let port = free_port();
            let process = Process::start(
                Command::new(program(&["moto_server"])).args(["-p", &port.to_string()]).envs(variables.iter().copied()),
            );
            process.wait_for(|line| line.contains("Running on").then_some(()))?;
            Some(Self { _process: process, port })
        });
        started.unwrap_or_else(|| panic!("moto_server does not start"))
    }

    /// `http://127.0.0.1:5000`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When it is refused.
    pub fn bucket(&self, name: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "PUT /{name} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.take(4_096).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Asks a service that speaks the query protocol, with a form; what it answers.
    ///
    /// # Panics
    /// When it refuses.
    pub fn query(&self, service: &str, form: &str) -> String {
        let scope = format!("example/20260101/us-east-1/{service}/aws4_request");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nAuthorization: AWS4-HMAC-SHA256 \
             Credential={scope}, SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{form}",
            form.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.take(1 << 20).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        answer
    }

    /// The variables by which a client of AWS finds it.
    pub fn environment(&self) -> Vec<(String, String)> {
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            own("AWS_ENDPOINT_URL", &self.url()),
            own("AWS_REGION", "us-east-1"),
            own("AWS_ACCESS_KEY_ID", "example"),
            own("AWS_SECRET_ACCESS_KEY", "example"),
        ]
    }
}
