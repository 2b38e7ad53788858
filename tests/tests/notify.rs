//! Alerts as an operator sees them: a test of the channels, and the role as a process.
#![allow(clippy::disallowed_methods, reason = "reads files and answers requests that the suite itself made")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use trailwarden_bus::{Bus, Connection, JetStream, Layout, Outgoing, Subject};
use trailwarden_core::alert::{Alert, Kind};
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;
use trailwarden_proto::convert::alert_to_wire;
use trailwarden_proto::wire;
use trailwarden_servers::{Nats, Smtp};
use trailwarden_tests::command::{binary, trailwarden};

const KEY: &str = "a secret that is long enough";

fn written(folder: &TempDir, toml: &str) -> PathBuf {
    let path = folder.path().join("trailwarden.toml");
    std::fs::write(&path, toml).unwrap();
    path
}

/// One request, taken: its body.
fn taken(mut stream: TcpStream) -> Value {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4_096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the request breaks off");
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if bytes.len() - end - 4 >= length.parse().unwrap() {
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            return serde_json::from_slice(&bytes[end + 4..]).unwrap();
        }
    }
}

#[test]
fn a_test_says_of_each_channel_whether_it_took_it() {
    let (folder, mail) = (tempfile::tempdir().unwrap(), Smtp::start("tls", None));
    let log = folder.path().join("alerts.jsonl");
    let toml = format!(
        "[notify]\nlanguage = 'ko'\n\
         [[notify.channels]]\nname = 'mail'\nkind = 'email'\nserver = '{}'\nca_file = '{}'\nfrom = 'a@example.org'\nto = ['b@example.org']\n\
         [[notify.channels]]\nname = 'file'\nkind = 'log'\npath = '{}'\n\
         [[notify.channels]]\nname = 'hook'\nkind = 'webhook'\nurl = 'http://127.0.0.1:1/'\nsecret_variable = 'HOOK_SECRET'\n",
        mail.address(),
        mail.ca_file().display(),
        log.display()
    );
    let config = written(&folder, &toml);
    let test = |names: &[&str]| {
        let run = trailwarden(["notify", "test", "--config"]).arg(&config).env("HOOK_SECRET", KEY);
        names.iter().fold(run, |run, name| run.args(["--channel", name])).run()
    };
    let whole = test(&[]);
    whole.assert_code(1);
    let lines: Vec<&str> = whole.stdout.lines().collect();
    assert_eq!(lines[..2], ["sent    mail (email)", "sent    file (log)"], "{}", whole.told());
    assert!(lines[2].starts_with("FAILED  hook (webhook): ") && lines.len() == 3, "{}", whole.told());
    assert!(!whole.told().contains(KEY));
    assert!(mail.mail(1).contains("Subject: =?utf-8?b?"));
    test(&["file", "mail"]).assert_code(0);
    let told = std::fs::read_to_string(&log).unwrap();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((told.len(), &told[0]["kind"]), (2, &Value::from("test")));
    assert!(told[0]["text"].as_str().unwrap().contains("시험 알림"), "{}", told[0]);

    test(&["male"]).assert_code(2).assert_says(&["mail, file, hook"]);
    let bare = trailwarden(["notify", "test", "--config"]).arg(&config).args(["--channel", "hook"]).run();
    bare.assert_code(1);
    assert!(bare.stdout.contains("HOOK_SECRET is not set"), "{}", bare.told());
    trailwarden(["notify", "test"]).run().assert_code(2).assert_says(&["no channel is configured"]);
    trailwarden(["run", "--role", "notify"]).run().assert_code(2).assert_says(&["no channel is configured"]);
    let doctor = trailwarden(["doctor", "--config"]).arg(&config).run();
    doctor.assert_code(1);
    assert!(doctor.stdout.contains("ok     alerts: channel mail (email)"), "{}", doctor.told());
    assert!(doctor.stdout.contains("wrong  alerts: the channel `hook`"), "{}", doctor.told());
}

/// Killed when dropped.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_tells_what_is_raised_on_the_bus_and_stops_in_order() {
    let (server, folder) = (Nats::start(), tempfile::tempdir().unwrap());
    let bus = JetStream::connect(Connection { url: server.url(), tenant: "default".to_owned() }).await.unwrap();
    while bus.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
    bus.set_up(&Layout { stream_bytes_max: 64 << 20, ..Layout::single("default", 4) }).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let toml = format!(
        "[bus]\nurl = '{}'\nstream_mib_max = 64\n[run]\npartitions = 4\n[listen]\nstatus = '127.0.0.1:0'\n\
         [[notify.channels]]\nname = 'hook'\nkind = 'webhook'\nurl = 'http://{}/'\nsecret_variable = 'HOOK_SECRET'\n",
        server.url(),
        listener.local_addr().unwrap()
    );
    let mut command = Command::new(binary());
    command.args(["run", "--role", "notify", "--config"]).arg(written(&folder, &toml)).env("HOOK_SECRET", KEY);
    let mut role = Role(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    // The role has begun when that is noted; what is raised from then on is told.
    while bus.last(&Subject::throttle("default", 16)).await.unwrap().is_none() {
        assert!(role.0.try_wait().unwrap().is_none(), "the role ended");
        tokio::task::yield_now().await;
    }
    let alert = Alert::new("one", Kind::NotReady, Severity::High, Timestamp::from_millis(5_000), "scorer@node-1");
    let payload = wire::pack(&alert_to_wire(&alert));
    bus.publish(&Subject::raised("default"), Outgoing { payload, ..Outgoing::default() }).await.unwrap();
    let event = tokio::task::spawn_blocking(move || taken(listener.accept().unwrap().0)).await.unwrap();
    assert_eq!(
        (&event["type"], &event["subject"]),
        (&"dev.trailwarden.alert.not_ready".into(), &"scorer@node-1".into())
    );
    let stopped = Command::new("kill").arg("-TERM").arg(role.0.id().to_string()).status().unwrap();
    assert!(stopped.success() && role.0.wait().unwrap().success());
}
