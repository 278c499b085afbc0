//! The private listener: metrics for Prometheus, and a sign of life. It must not face the Internet.

use std::{io, net::SocketAddr};

use poem::{
    EndpointExt, Response, Route, Server,
    endpoint::make_sync,
    http::header,
    listener::{Acceptor, Listener, TcpAcceptor, TcpListener},
};
use tokio_util::sync::CancellationToken;

/// The content type of the text format, as Prometheus asks for it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Takes the address.
///
/// # Errors
/// When it is in use or not this machine's.
pub async fn bind(address: SocketAddr) -> io::Result<TcpAcceptor> {
    TcpListener::bind(address).into_acceptor().await
}

/// The address that was taken, where port 0 was asked for.
#[must_use]
pub fn address(acceptor: &TcpAcceptor) -> Option<SocketAddr> {
    acceptor
        .local_addr()
        .first()
        .and_then(|address| address.as_socket_addr().copied())
}

/// Serves `/metrics`, with the text that `render` makes, and `/health/live`, until the shutdown.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    acceptor: TcpAcceptor,
    render: impl Fn() -> String + Send + Sync + 'static,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let metrics = make_sync(move |_| {
        Response::builder()
            .header(header::CONTENT_TYPE, TEXT_FORMAT)
            .body(render())
    });
    let routes = Route::new()
        .at("/metrics", metrics)
        .at("/health/live", make_sync(|_| "ok"))
        .boxed();
    Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(routes, shutdown.cancelled_owned(), None)
        .await
}
