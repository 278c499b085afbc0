//! A DNS resolver that waits for answers without holding a thread.
//!
//! The operating system's own (`getaddrinfo`) blocks one for each name until its servers answer, however long that is, and a
//! process has some hundreds of them: whoever owns names whose servers never answer would have them all.

use std::net::SocketAddr;

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::{NetError, runtime::TokioRuntimeProvider},
};

/// A resolver that asks these servers, or the system's where there are none, with options that the caller changes.
///
/// # Errors
/// When the system's settings cannot be read.
pub fn resolver(
    servers: &[SocketAddr],
    change: impl FnOnce(&mut ResolverOpts),
) -> Result<TokioResolver, NetError> {
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = servers.iter().map(|server| name_server(*server)).collect();
        let settings = ResolverConfig::from_parts(None, Vec::new(), servers);
        TokioResolver::builder_with_config(settings, TokioRuntimeProvider::default())
    };
    change(builder.options_mut());
    builder.build()
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut settings = NameServerConfig::udp_and_tcp(server.ip());
    for connection in &mut settings.connections {
        let ConnectionConfig { port, .. } = connection;
        *port = server.port();
    }
    settings
}
