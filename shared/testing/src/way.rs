//! A way to a server that a test may close.

use std::net::Ipv4Addr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use url::Url;

/// Passes connections on to a server. Dropped, it is closed.
#[derive(Debug)]
pub struct Way {
    /// The server's URL, by this way.
    pub url: String,
    port: u16,
    server: (String, u16),
    passing: JoinHandle<()>,
}

impl Way {
    /// An open one to the PostgreSQL of that URL.
    pub async fn to(server: &str) -> Self {
        let mut url = Url::parse(server).unwrap();
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        let listener = listen(0).await;
        let port = listener.local_addr().unwrap().port();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(port)).unwrap();
        Self {
            url: url.into(),
            port,
            passing: tokio::spawn(pass(listener, server.clone())),
            server,
        }
    }

    /// Breaks off all connections, and refuses those that come.
    pub async fn close(&mut self) {
        self.passing.abort();
        assert!((&mut self.passing).await.is_err(), "it had ended");
    }

    /// Lets connections through again.
    pub async fn open(&mut self) {
        self.passing = tokio::spawn(pass(listen(self.port).await, self.server.clone()));
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

async fn listen(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap()
}

async fn pass(listener: TcpListener, (host, port): (String, u16)) {
    // Dropped, it takes its connections along.
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect((&*host, port)).await.unwrap();
        connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    }
}
