//! The private listener: metrics for Prometheus, a sign of life, and whether the worker can work. It must not face the
//! Internet.

use std::{io, net::SocketAddr, sync::Arc};

use latchkey_shared::context::Context;
use poem::{
    EndpointExt, Response, Route, Server,
    endpoint::{make, make_sync},
    http::header,
    listener::{Acceptor, Listener, TcpAcceptor, TcpListener},
};
use tokio_util::sync::CancellationToken;

use crate::readiness::Readiness;

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

/// Serves `/metrics`, with the text that `render` makes, `/health/live` and `/health/ready`, until the shutdown.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    acceptor: TcpAcceptor,
    context: Context,
    render: impl Fn() -> String + Send + Sync + 'static,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let metrics = make_sync(move |_| {
        Response::builder()
            .header(header::CONTENT_TYPE, TEXT_FORMAT)
            .body(render())
    });
    let readiness = Arc::new(Readiness::new(context));
    let ready = make(move |_| {
        let readiness = Arc::clone(&readiness);
        async move { readiness.tell().await }
    });
    let routes = Route::new()
        .at("/metrics", metrics)
        .at("/health/live", make_sync(|_| "ok"))
        .at("/health/ready", ready)
        .boxed();
    Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(routes, shutdown.cancelled_owned(), None)
        .await
}
