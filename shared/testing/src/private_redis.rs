//! A Redis of a test's own, which it may lose.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub struct PrivateRedis {
    /// Where it listens, on loopback.
    pub port: u16,
    server: Child,
}

impl PrivateRedis {
    /// A port that nobody listens on.
    #[must_use]
    pub fn free_port() -> u16 {
        crate::process::free_port()
    }

    /// An empty one, once it listens.
    pub async fn start(port: u16) -> Self {
        Self::with(port, &std::env::temp_dir(), &[]).await
    }

    /// As [`Self::start`], with more arguments, whose files are in that directory.
    pub async fn with(port: u16, directory: &Path, arguments: &[&str]) -> Self {
        let server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(arguments)
            .current_dir(directory)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed");
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(Instant::now() < until, "Redis does not listen");
            sleep(Duration::from_millis(20)).await;
        }
        Self { port, server }
    }

    /// Where it is reached.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as `kill -9` does: what it held is lost.
    pub async fn kill(&mut self) {
        self.server.kill().await.unwrap();
    }

    /// Sends it a signal, `STOP` or `CONT`.
    pub async fn signal(&self, name: &str) {
        let pid = self.server.id().unwrap().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await;
        assert!(sent.unwrap().success(), "SIG{name}");
    }
}
