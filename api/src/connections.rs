//! Connections: accepting them, serving them, and letting them end.
//!
//! The framework's own server looks at a connection once more after its answer has failed, and so writes the end of a body
//! that has broken off: to its reader an export of half the users would be all of them (RFC 9112 section 8). Here such a
//! connection is closed without that end.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use poem::{
    Endpoint, Response,
    http::{Request, uri::Scheme},
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

/// A request's head takes no longer, or its sender holds connections that nobody else can have.
const HEAD: Duration = Duration::from_secs(30);
/// So long nobody is let in after the system had no room for another connection.
const NO_ROOM: Duration = Duration::from_millis(100);
/// As many bytes of headers as HTTP/1.1 has by itself.
const MAX_HEADERS: u32 = 16 * 1024;

/// Serves whoever connects until `ending` resolves. Then nobody new is let in, and requests that have begun are waited for
/// as long as `drain`.
///
/// # Errors
/// When the listener has no address.
pub async fn serve<E>(
    listener: TcpListener,
    app: E,
    ending: impl Future<Output = ()>,
    drain: Duration,
) -> io::Result<()>
where
    E: Endpoint + 'static,
{
    let local = LocalAddr(listener.local_addr()?.into());
    let app = Arc::new(app);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut ending = pin!(ending);
    loop {
        let accepted = tokio::select! {
            () = &mut ending => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let remote = RemoteAddr(peer.into());
                connections.spawn(converse(
                    stream,
                    local.clone(),
                    remote,
                    Arc::clone(&app),
                    &graceful,
                ));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(NO_ROOM).await;
            }
        }
    }
    drop(listener);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(open = connections.len(), "requests are broken off");
    }
    Ok(())
}

/// One connection from its first request to its last.
fn converse<E>(
    stream: TcpStream,
    local: LocalAddr,
    remote: RemoteAddr,
    app: Arc<E>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static
where
    E: Endpoint + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, local, remote) = (Arc::clone(&app), local.clone(), remote.clone());
        async move {
            let request = (request, local, remote, Scheme::HTTP).into();
            let response: Response = app.get_response(request).await;
            Ok::<_, Infallible>(response.into())
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADERS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection.into_owned());
    async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
