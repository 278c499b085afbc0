//! A count and a duration for each request, by method, route and status.
//!
//! To find a figure by its labels costs more than to add to it: each is found once. There are as many as the
//! document has operations and statuses, because no label is a client's to choose.

use std::{
    collections::HashMap,
    sync::{LazyLock, RwLock},
    time::Duration,
};

use metrics::{Counter, Histogram};

#[derive(Clone)]
struct Figures {
    requests: Counter,
    seconds: Histogram,
}

impl Figures {
    fn of(method: &'static str, route: &str, status: u16) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        Self {
            requests: metrics::counter!("latchkey_http_requests_total", &labels),
            seconds: metrics::histogram!("latchkey_http_request_seconds", &labels),
        }
    }

    fn add(&self, elapsed: Duration) {
        self.requests.increment(1);
        self.seconds.record(elapsed);
    }
}

type ByRoute = HashMap<Box<str>, HashMap<(&'static str, u16), Figures>>;

/// Counts a request that was answered.
pub(super) fn count(method: &'static str, route: &str, status: u16, elapsed: Duration) {
    static KNOWN: LazyLock<RwLock<ByRoute>> = LazyLock::new(RwLock::default);
    let key = (method, status);
    if let Ok(known) = KNOWN.read()
        && let Some(figures) = known.get(route).and_then(|of| of.get(&key))
    {
        figures.add(elapsed);
        return;
    }
    let figures = Figures::of(method, route, status);
    figures.add(elapsed);
    if let Ok(mut known) = KNOWN.write() {
        known.entry(route.into()).or_default().insert(key, figures);
    }
}
