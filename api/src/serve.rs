//! The process: from settings to a listening server, and to its end.

use std::{future::pending, io, sync::Arc, time::Duration};

use latchkey_shared::{
    auth::{Auth, AuthStartError, upkeep},
    clock::SystemClock,
    config::Config,
    context::{Context, OpenError},
    open_files,
    random::OsRandom,
    signal::{self, Signals},
    telemetry::{self, TelemetryError},
};
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use poem::{EndpointExt, Route, get, handler, web::Data};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal as unix_signal},
};
use tokio_util::sync::CancellationToken;

use crate::{app::app, breach::range_service, connections, connections::Patience, routes::health::Draining};

/// Why the process ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Logs could not be set up.
    #[error(transparent)]
    Logs(#[from] TelemetryError),
    /// Metrics could not be set up.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    /// PostgreSQL or Redis cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Signing or hashing could not start.
    #[error(transparent)]
    Auth(#[from] AuthStartError),
    /// The client for the service of leaked passwords could not be built.
    #[error("passwords.breach_range_url: {0}")]
    BreachRange(#[from] reqwest::Error),
    /// What was revoked could not be read.
    #[error("PostgreSQL: {0}")]
    Signals(#[from] sea_orm::DbErr),
    /// The document could not be written.
    #[error("the OpenAPI document: {0}")]
    Document(#[from] serde_json::Error),
    /// A listener could not be opened, or broke.
    #[error("{0}")]
    Listen(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT, then ends without failing a request.
///
/// # Errors
/// When something that is needed cannot start.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    telemetry::init_logs(&config.log)?;
    open_files::raise_limit();
    let metrics = telemetry::init_metrics()?;
    let context = Context::open(config, Arc::new(SystemClock), Arc::new(OsRandom::new())).await?;
    let leaked = range_service(&context.config.passwords)?;
    let auth = Auth::start(context.clone(), leaked)?;
    let stop = CancellationToken::new();
    signal::tail(
        Arc::clone(&context.signals),
        context.postgres.clone(),
        context.redis.clone(),
        Arc::clone(&context.clock),
        stop.clone(),
    )
    .await?;

    let server = &context.config.server;
    let draining = Draining::default();
    let upkeep = tokio::spawn(upkeep(auth.clone(), stop.clone()));
    let api = app(auth, draining.clone())?;
    let ended = ask_to_end()?;
    let metrics_listener = TcpListener::bind(server.metrics_listen).await?;
    tokio::spawn(keep_metrics(metrics.clone()));
    let patience = Patience::from(server);
    let signals = Arc::clone(&context.signals);
    tokio::spawn(serve_metrics(metrics_listener, patience, metrics, signals));
    tracing::info!(listen = %server.listen, "serving");
    let notice = server.drain_notice;
    let ending = async move {
        ended.await;
        tracing::info!("draining");
        // First nobody new is sent here, then nobody new is let in.
        draining.begin();
        tokio::time::sleep(notice).await;
    };
    let listener = TcpListener::bind(server.listen).await?;
    connections::serve(listener, api, ending, patience).await?;
    stop.cancel();
    if let Err(error) = upkeep.await {
        tracing::error!(%error, "the upkeep broke off");
    }
    context.queue.flush().await;
    context.postgres.close().await;
    tracing::info!("ended");
    Ok(())
}

/// Resolves when the process is asked to end.
fn ask_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = unix_signal(SignalKind::terminate())?;
    let mut interrupt = unix_signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn serve_metrics(
    listener: TcpListener,
    patience: Patience,
    handle: PrometheusHandle,
    signals: Arc<Signals>,
) {
    let routes = Route::new()
        .at("/metrics", get(render))
        .data(handle)
        .data(signals);
    if let Err(error) = connections::serve(listener, routes, pending(), patience).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

/// Folds samples into buckets, so that they do not pile up where nobody asks for them.
async fn keep_metrics(handle: PrometheusHandle) {
    let mut pace = tokio::time::interval(Duration::from_secs(5));
    loop {
        pace.tick().await;
        handle.run_upkeep();
    }
}

#[handler]
fn render(Data(handle): Data<&PrometheusHandle>, Data(signals): Data<&Arc<Signals>>) -> String {
    metrics::gauge!("latchkey_signals_unheard_seconds").set(signals.unheard().as_secs_f64());
    handle.render()
}
