//! A receiver of webhooks: a real HTTP server that keeps what it gets and answers as it is told.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::stream;
use poem::{
    Body, Endpoint, Request, Response, Server,
    http::{HeaderMap, StatusCode},
    listener::{Acceptor, Listener, TcpListener},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Nothing that a test waits for takes longer, on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with the status, headers and body.
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Answers 200 and a body that never ends.
    Endless,
    /// Never answers.
    Silence,
}

impl Answer {
    /// A status and nothing else.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), Vec::new())
    }

    /// A status and one header.
    #[must_use]
    pub fn with_header(status: u16, name: &'static str, value: &str) -> Self {
        Self::Status(status, vec![(name, value.to_owned())], Vec::new())
    }
}

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    /// When all of it was there.
    pub at: Instant,
    /// The path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}"))
            .to_str()
            .unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

struct State {
    received: mpsc::UnboundedSender<Received>,
    answers: Mutex<VecDeque<Answer>>,
    delay: Duration,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    /// Bytes of endless bodies that were asked for.
    streamed: Arc<AtomicUsize>,
}

/// The server, on a port of 127.0.0.1 that was free; gone when dropped.
pub struct Receiver {
    address: SocketAddr,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    state: Arc<State>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Receiver {
    /// Starts one that answers 204 at once.
    pub async fn start() -> Self {
        Self::slow(Duration::ZERO).await
    }

    /// Starts one that takes its time for each answer.
    pub async fn slow(delay: Duration) -> Self {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.unwrap();
        let address = *acceptor.local_addr()[0].as_socket_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            received: sender,
            answers: Mutex::default(),
            delay,
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            streamed: Arc::default(),
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let server = Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(
            Handler(Arc::clone(&state)),
            stop.clone().cancelled_owned(),
            Some(Duration::ZERO),
        );
        tasks.spawn(server);
        Self {
            address,
            received: tokio::sync::Mutex::new(received),
            state,
            stop,
            tasks,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the next requests so, one after the other; 204 afterwards.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.answers.lock().unwrap().extend(answers);
    }

    /// The next request.
    pub async fn next(&self) -> Received {
        let next = async { self.received.lock().await.recv().await.unwrap() };
        tokio::time::timeout(DEADLINE, next)
            .await
            .expect("a request in time")
    }

    /// What has come since and was not asked for.
    pub async fn rest(&self) -> Vec<Received> {
        let mut received = self.received.lock().await;
        std::iter::from_fn(|| received.try_recv().ok()).collect()
    }

    /// The most requests that were under way at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(Ordering::SeqCst)
    }

    /// How many bytes of endless bodies were taken off its hands.
    #[must_use]
    pub fn streamed(&self) -> usize {
        self.state.streamed.load(Ordering::SeqCst)
    }

    /// Stops listening, so that connections are refused.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Handler(Arc<State>);

impl Endpoint for Handler {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let state = &self.0;
        let now = state.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_at_once.fetch_max(now, Ordering::SeqCst);
        let body = request.take_body().into_vec().await?;
        let received = Received {
            at: Instant::now(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
            body,
        };
        // The test may have seen enough.
        let _ = state.received.send(received);
        tokio::time::sleep(state.delay).await;
        let answer = state.answers.lock().unwrap().pop_front();
        let response = match answer.unwrap_or_else(|| Answer::status(204)) {
            Answer::Silence => std::future::pending().await,
            Answer::Endless => Response::builder().body(endless(Arc::clone(&state.streamed))),
            Answer::Status(status, headers, body) => {
                let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
                headers
                    .into_iter()
                    .fold(response, |response, (name, value)| response.header(name, value))
                    .body(body)
            }
        };
        state.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok(response)
    }
}

fn endless(streamed: Arc<AtomicUsize>) -> Body {
    const CHUNK: usize = 1024;
    Body::from_bytes_stream(stream::repeat_with(move || {
        streamed.fetch_add(CHUNK, Ordering::SeqCst);
        Ok::<_, std::io::Error>(vec![b'x'; CHUNK])
    }))
}
