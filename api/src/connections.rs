//! Connections: accepting them, serving them, and letting them end.
//!
//! The framework's own server looks at a connection once more after its answer has failed, and so writes the end of a body
//! that has broken off: to its reader an export of half the users would be all of them (RFC 9112 section 8). Here such a
//! connection is closed without that end.
//!
//! They speak HTTP/1.1: TLS and HTTP/2 end at the gateway.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use latchkey_shared::config;
use poem::{
    Endpoint, Response,
    http::{Request, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{sleep, timeout},
};

/// So long nobody is let in after the system had no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// How long clients are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a request's head, from the end of the request before: who sends none holds a connection that nobody else can
    /// have.
    pub keep_alive: Duration,
    /// For requests that have begun, once nobody new is let in.
    pub drain: Duration,
}

impl From<&config::Server> for Patience {
    fn from(server: &config::Server) -> Self {
        Self {
            keep_alive: server.keep_alive,
            drain: server.drain,
        }
    }
}

/// Serves whoever connects until `ending` resolves. Then nobody new is let in, and requests that have begun are waited
/// for.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<E: Endpoint + 'static>(
    listener: TcpListener,
    app: E,
    ending: impl Future<Output = ()>,
    patience: Patience,
) -> io::Result<()> {
    let (app, local) = (Arc::new(app), LocalAddr(listener.local_addr()?.into()));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(patience.keep_alive);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut ending = pin!(ending);
    loop {
        let accepted = tokio::select! {
            () = &mut ending => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(NO_ROOM).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the parts of answers go out together");
        }
        let (app, local, remote) = (Arc::clone(&app), local.clone(), RemoteAddr(peer.into()));
        let service = service_fn(move |request: Request<Incoming>| {
            let app = Arc::clone(&app);
            let request = (request, local.clone(), remote.clone(), Scheme::HTTP).into();
            async move {
                let response: Response = app.get_response(request).await;
                Ok::<_, Infallible>(response.into())
            }
        });
        let connection = protocol.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
    drop(listener);
    if timeout(patience.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "requests are broken off");
    }
    Ok(())
}
