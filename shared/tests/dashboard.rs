//! The dashboard asks for what the programs tell, in words that Prometheus understands, and is red where alerts fire.

#![expect(clippy::unwrap_used, reason = "a test says so by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use regex::Regex;
use serde_json::{Value, json};

use super::alerts::{ALERTS, code};

const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboards/latchkey.json");
const DOCUMENT: &str = include_str!("../../openapi/openapi.json");

type Labels = BTreeSet<String>;

/// As the code makes it.
#[derive(Default)]
struct Metric {
    is_histogram: bool,
    labels: Labels,
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// All that shows something; rows only head others.
fn panels() -> Vec<Value> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").cloned().collect()
}

fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().unwrap()
}

fn query(target: &Value) -> &str {
    target["expr"].as_str().unwrap()
}

/// Up to where the bracket closes that was opened before the text.
fn inside(text: &str) -> &str {
    let mut open = 1;
    let end = text.find(|c: char| {
        open += i32::from(c == '(') - i32::from(c == ')');
        open == 0
    });
    &text[..end.unwrap()]
}

fn words(pattern: &Regex, text: &str) -> Labels {
    pattern
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

/// The metrics that the code makes, by their names.
fn made() -> BTreeMap<String, Metric> {
    let code = code();
    let call = Regex::new(r#"\b(counter|gauge|histogram)!\(\s*"(latchkey_[a-z_]+)""#).unwrap();
    let given = Regex::new(r#""([a-z_]+)" =>"#).unwrap();
    let listed = Regex::new(r#"\("([a-z_]+)","#).unwrap();
    let mut metrics: BTreeMap<String, Metric> = BTreeMap::new();
    for found in call.captures_iter(&code) {
        let whole = found.get(0).unwrap();
        let arguments = inside(&code[whole.end()..]);
        let labels = if arguments.contains("&labels") {
            let (_, list) = code[..whole.start()].rsplit_once("let labels = [").unwrap();
            words(&listed, list.split_once("];").unwrap().0)
        } else {
            words(&given, arguments)
        };
        let metric = metrics.entry(found[2].to_owned()).or_default();
        metric.is_histogram = &found[1] == "histogram";
        metric.labels.extend(labels);
    }
    metrics
}

/// What a series of that name is labelled with once Prometheus has it.
fn labels_of(made: &BTreeMap<String, Metric>, series: &str) -> Labels {
    let parts = ["_bucket", "_sum", "_count"];
    let part = parts.into_iter().find(|part| series.ends_with(*part));
    let name = series.strip_suffix(part.unwrap_or_default()).unwrap();
    // A histogram has no series of its own name, and buckets only where it is of seconds.
    let metric = made.get(name).filter(|metric| match part {
        Some(_) => metric.is_histogram && name.ends_with("_seconds"),
        None => !metric.is_histogram,
    });
    let metric = metric.unwrap_or_else(|| panic!("nothing tells {series}"));
    let scraped = ["job", "instance"].into_iter();
    let bucket = (part == Some("_bucket")).then_some("le");
    let added = scraped.chain(bucket).map(str::to_owned);
    added.chain(metric.labels.iter().cloned()).collect()
}

/// The series that the query names, each with the labels that select it.
fn selected(query: &str) -> Vec<(String, Labels)> {
    let series = Regex::new(r"(latchkey_[a-z_]+)(?:\{([^}]*)\})?").unwrap();
    let label = Regex::new(r#"([a-z_]+)(?:=~|!~|!=|=)""#).unwrap();
    let found = series.captures_iter(query).map(|found| {
        let selector = found.get(2).map_or("", |selector| selector.as_str());
        (found[1].to_owned(), words(&label, selector))
    });
    found.collect()
}

/// What the query sums up by, each with what it sums up.
fn grouped(query: &str) -> Vec<(Labels, &str)> {
    let by = Regex::new(r"\bby \(([^)]*)\) \(").unwrap();
    let word = Regex::new("([a-z_]+)").unwrap();
    let found = by.captures_iter(query).map(|found| {
        let rest = &query[found.get(0).unwrap().end()..];
        (words(&word, &found[1]), inside(rest))
    });
    let found: Vec<_> = found.collect();
    assert_eq!(
        found.len(),
        query.matches(" by").count(),
        "written otherwise: {query}"
    );
    found
}

/// Where the panel begins to be red, if it does.
fn red(panel: &Value) -> Option<f64> {
    let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array()?;
    steps.iter().find(|step| step["color"] == "red")?["value"].as_f64()
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let made = made();
    let demand = |series: &str, asked: &Labels, query: &str| {
        let known = labels_of(&made, series);
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{series} has no {unknown:?}: {query}");
    };
    let (panels, dashboard) = (panels(), dashboard());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let variables = variables.filter_map(|variable| variable["definition"].as_str());
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(targets)
        .map(query)
        .chain(variables)
        .collect();
    assert!(queries.len() > 50, "{queries:?}");
    for query in queries {
        let selected_here = selected(query);
        assert!(!selected_here.is_empty(), "{query}");
        for (series, labels) in selected_here {
            demand(&series, &labels, query);
        }
        for (labels, of) in grouped(query) {
            for (series, _) in selected(of) {
                demand(&series, &labels, query);
            }
        }
    }
}

#[test]
fn the_dashboard_names_routes_that_there_are_and_lines_by_what_tells_them_apart() {
    let routes = Regex::new(r#"route=~?"([^"]+)""#).unwrap();
    let named = Regex::new(r"\{\{([a-z_]+)\}\}").unwrap();
    for target in panels().iter().flat_map(targets) {
        for found in routes.captures_iter(query(target)) {
            for route in found[1].split('|') {
                assert!(DOCUMENT.contains(&format!("\"{route}\"")), "{route}");
            }
        }
        let apart: Labels = grouped(query(target))
            .into_iter()
            .flat_map(|(labels, _)| labels)
            .collect();
        let legend = target["legendFormat"].as_str().unwrap_or_default();
        assert!(words(&named, legend).is_subset(&apart), "{target}");
    }
}

#[test]
fn prometheus_understands_every_query_of_the_dashboard() {
    let panels = panels();
    let queries = panels.iter().flat_map(targets).map(query);
    let rules = queries.enumerate().map(|(number, query)| {
        let query = query
            .replace("$__rate_interval", "5m")
            .replace("$__range", "1h")
            .replace("$job", ".*")
            .replace("$instance", ".*");
        assert!(!query.contains('$'), "{query}");
        json!({ "record": format!("dashboard:query:{number}"), "expr": query })
    });
    let rules: Vec<Value> = rules.collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.yaml");
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(&path, groups.to_string()).unwrap();
    let told = Command::new("promtool")
        .args(["check", "rules"])
        .arg(&path)
        .output()
        .unwrap_or_else(|_| panic!("there is no promtool; `./dev test` installs it"));
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_what_to_do() {
    for panel in panels() {
        let unit = &panel["fieldConfig"]["defaults"]["unit"];
        for said in [&panel["title"], &panel["description"], unit] {
            assert!(said.as_str().is_some_and(|said| !said.is_empty()), "{panel}");
        }
    }
}

#[test]
fn the_dashboard_can_be_imported_anywhere() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "latchkey");
    assert!(dashboard["id"].is_null());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let source = variables.iter().find(|variable| variable["type"] == "datasource");
    let source = source.unwrap();
    assert_eq!(source["query"], "prometheus");
    let chosen = format!("${{{}}}", source["name"].as_str().unwrap());
    let asked = variables.iter().filter(|variable| variable["type"] == "query");
    for asking in asked.chain(&panels()) {
        assert_eq!(asking["datasource"]["uid"], chosen.as_str(), "{asking}");
    }
}

#[test]
fn the_dashboard_is_red_where_alerts_fire() {
    let alerts: serde_yaml::Value = serde_yaml::from_str(ALERTS).unwrap();
    let compared = Regex::new(r"(latchkey_[a-z_]+)[^>]*> ([0-9.]+)").unwrap();
    let panels = panels();
    for alert in alerts["groups"][0]["rules"].as_sequence().unwrap() {
        for found in compared.captures_iter(alert["expr"].as_str().unwrap()) {
            let (series, limit): (_, f64) = (&found[1], found[2].parse().unwrap());
            let shown = panels
                .iter()
                .filter(|panel| targets(panel).iter().any(|target| query(target).contains(series)));
            let reds: Vec<f64> = shown.filter_map(red).collect();
            // Grafana's red begins with a number, and an alert above it: above none is any.
            let agrees = |red: &f64| {
                if limit > 0.0 {
                    (red - limit).abs() < f64::EPSILON
                } else {
                    0.0 < *red && *red <= 1.0
                }
            };
            assert!(
                !reds.is_empty() && reds.iter().all(agrees),
                "{series}: {reds:?}, not {limit}"
            );
        }
    }
}
