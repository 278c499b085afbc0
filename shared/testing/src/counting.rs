//! A receiver that only counts, so that as much as can be of the machine is left to who calls it.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use poem::{Endpoint, Request, Server, http::StatusCode, listener::TcpAcceptor};

/// Answers 204 to all. Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Counting(Arc<Counts>);

#[derive(Default)]
struct Counts {
    calls: AtomicUsize,
    callers: Mutex<HashSet<SocketAddr>>,
}

impl Endpoint for Counting {
    type Output = StatusCode;

    async fn call(&self, mut request: Request) -> poem::Result<StatusCode> {
        request.take_body().into_bytes().await?;
        let caller = *request.remote_addr().as_socket_addr().unwrap();
        self.0.callers.lock().unwrap().insert(caller);
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Ok(StatusCode::NO_CONTENT)
    }
}

impl Counting {
    /// Listens at a URL of its own, until the test ends.
    #[must_use]
    pub fn serve(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        tokio::spawn(Server::new_with_acceptor(TcpAcceptor::from_std(listener).unwrap()).run(self.clone()));
        url
    }

    /// How many calls there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// How many connections they came over.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.callers.lock().unwrap().len()
    }
}
