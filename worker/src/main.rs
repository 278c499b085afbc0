//! `latchkey-worker`: reads the settings, works until it is asked to stop, and ends in good order.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use latchkey_shared::{
    clock::SystemClock,
    config::{Config, Process},
    context::Context,
    memory, open_files,
    random::OsRandom,
    telemetry,
};
use latchkey_worker::listener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Samples gather until then where nobody scrapes them.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// Delivers webhooks and mail.
#[derive(Parser)]
#[command(name = "latchkey-worker", version)]
struct Arguments {
    /// The settings; `LATCHKEY_CONFIG` names the file otherwise.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match work(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The logs may not be set up yet, and whoever starts the process reads this.
            eprintln!("latchkey-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let file = arguments
        .config
        .or_else(|| std::env::var_os("LATCHKEY_CONFIG").map(PathBuf::from));
    let config = Config::load(Process::Worker, file.as_deref())?;
    telemetry::init_logs(&config.log)?;
    open_files::raise_limit();
    memory::in_small_pages();
    let metrics = telemetry::init_metrics()?;

    let shutdown = stop_on_signal()?;
    let listen = config.worker.metrics_listen;
    let context = Context::open(config, Arc::new(SystemClock), Arc::new(OsRandom::new())).await?;
    let listener = listener::bind(listen)
        .await
        .map_err(|error| format!("worker.metrics_listen {listen}: {error}"))?;
    let rendered = metrics.clone();
    let serving = tokio::spawn(listener::serve(
        listener,
        context.clone(),
        move || rendered.render(),
        shutdown.clone(),
    ));
    let upkeep = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            metrics.run_upkeep();
        }
    });
    tracing::info!(metrics = %listen, "the worker is at work");
    latchkey_worker::run(context, shutdown).await?;
    serving.abort();
    upkeep.abort();
    tracing::info!("the worker has ended");
    Ok(())
}

/// A token that SIGTERM (a supervisor) or SIGINT (a person) cancels.
fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let shutdown = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let cancel = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop; running jobs come to their end");
        cancel.cancel();
    });
    Ok(shutdown)
}
