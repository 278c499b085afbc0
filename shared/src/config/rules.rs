//! What settings must satisfy together, and what production refuses.

use std::{net::IpAddr, time::Duration};

use email_address::{EmailAddress, Options};
use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Config, Environment, KeyRing, MailTransport, Source, WebOrigin};

/// Notes every broken rule.
pub(super) fn check(config: &Config, source: &mut Source) {
    sanity(config, source);
    if config.server.environment == Environment::Production {
        production(config, source);
    }
}

fn sanity(config: &Config, source: &mut Source) {
    let passwords = &config.passwords;
    for (key, value) in [("threads", passwords.threads), ("queue", passwords.queue)] {
        if value == 0 {
            source.fault(format!("passwords.{key}: must be at least 1"));
        }
    }
    if argon2::Params::new(
        passwords.memory_kib,
        passwords.iterations,
        passwords.parallelism,
        None,
    )
    .is_err()
    {
        source.fault("passwords: memory_kib, iterations and parallelism are out of Argon2's range");
    }
    // The PHC string has room for so much.
    let peppers = passwords.peppers.iter().flat_map(KeyRing::iter);
    if peppers
        .into_iter()
        .any(|pepper| pepper.id.len() > argon2::Params::MAX_KEYID_LEN)
    {
        source.fault("passwords.peppers: an id has more than 8 characters");
    }
    let range_url = passwords.breach_range_url.as_ref();
    for (key, url) in [
        ("server.public_url", Some(&config.server.public_url)),
        ("passwords.breach_range_url", range_url),
    ] {
        let Some(url) = url else { continue };
        // What is no secret is logged, dumped and mailed.
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if !plain || url.query().is_some() || !matches!(url.scheme(), "http" | "https") {
            source.fault(format!(
                "{key}: expects an http or https URL without user, password, query and fragment"
            ));
        }
    }
    if !is_mailbox(&config.mail.from) {
        source.fault("mail.from: expects `Name <address>`");
    }
    if let Err(error) = EnvFilter::try_new(&config.log.level) {
        source.fault(format!("log.level: {error}"));
    }
    if config.webhooks.schedule.is_empty() {
        source.fault("webhooks.schedule: holds no wait");
    }
    if config.mail.schedule.is_empty() {
        source.fault("mail.schedule: holds no wait");
    }
    if !(0.0..=1.0).contains(&config.webhooks.jitter) {
        source.fault("webhooks.jitter: must lie between 0 and 1");
    }
    // Partitions are made no further back, and yesterday's are not dropped.
    if !(Duration::from_hours(2 * 24)..=Duration::from_hours(400 * 24)).contains(&config.webhooks.history) {
        source.fault("webhooks.history: must lie between 2 and 400 days");
    }
    let (server, tokens) = (&config.server, &config.tokens);
    for (key, duration) in [
        ("server.body_timeout", server.body_timeout),
        ("server.keep_alive", server.keep_alive),
        ("tokens.access_ttl", tokens.access_ttl),
        ("tokens.refresh_ttl", tokens.refresh_ttl),
        ("tokens.session_ttl", tokens.session_ttl),
        ("tokens.verify_ttl", tokens.verify_ttl),
        ("tokens.invitation_ttl", tokens.invitation_ttl),
        ("tokens.reset_ttl", tokens.reset_ttl),
        ("tokens.change_email_ttl", tokens.change_email_ttl),
        ("tokens.unlock_ttl", tokens.unlock_ttl),
        ("tokens.mfa_ttl", tokens.mfa_ttl),
        ("tokens.reauthentication_ttl", tokens.reauthentication_ttl),
        ("mail.timeout", config.mail.timeout),
        ("webhooks.timeout", config.webhooks.timeout),
        ("worker.sweep_interval", config.worker.sweep_interval),
    ] {
        if duration.is_zero() {
            source.fault(format!("{key}: must be longer than nothing"));
        }
    }
    if config.worker.concurrency == 0 {
        source.fault("worker.concurrency: must be at least 1");
    }
    if config.postgres.max_connections == 0 {
        source.fault("postgres.max_connections: must be at least 1");
    }
}

fn production(config: &Config, source: &mut Source) {
    if config.server.public_url.scheme() != "https" {
        source.fault("server.public_url: must be https in production");
    }
    match &config.mail.transport {
        MailTransport::File(_) => {
            source.fault("mail.transport: mails would stay in files; production wants smtp");
        }
        MailTransport::Smtp(url) if !keeps_secrets(url.expose()) => {
            source.fault(
                "mail.smtp_url: mails carry secrets; production wants smtps, or smtp with ?tls=required",
            );
        }
        MailTransport::Smtp(_) => {}
    }
    // TLS ends at a gateway, wherever it stands.
    if config.server.trusted_proxies.is_empty() {
        source.fault("server.trusted_proxies: names no gateway, so every client would have its address");
    }
    if reaches_all(&config.server.trusted_proxies) {
        source.fault("server.trusted_proxies: trusts every address, so every client could choose its own");
    }
    // Whoever is on the way could put a page of their own in its place.
    let in_clear = |origin: &WebOrigin| {
        Url::parse(origin.as_str()).is_ok_and(|url| url.scheme() == "http" && !is_here(&url))
    };
    if config.server.allowed_origins.iter().any(in_clear) {
        source.fault("server.allowed_origins: must be https in production, but for pages of this machine");
    }
    // OWASP's floor for Argon2id: 19 MiB, two iterations, one lane.
    if config.passwords.memory_kib < 19_456 || config.passwords.iterations < 2 {
        source.fault("passwords: memory_kib below 19456 or iterations below 2 are too weak for production");
    }
    let range_url = config.passwords.breach_range_url.as_ref();
    if range_url.is_some_and(|url| url.scheme() == "http") {
        source.fault("passwords.breach_range_url: must be https in production");
    }
    if reaches_all(&config.webhooks.allowed_cidrs) {
        source.fault("webhooks.allowed_cidrs: allows every address");
    }
}

fn is_mailbox(text: &str) -> bool {
    let address = text.rsplit_once('<').map_or(text, |(_, rest)| {
        rest.trim_end().strip_suffix('>').unwrap_or_default()
    });
    let options = Options::default().without_display_text();
    EmailAddress::parse_with_options(address.trim(), options).is_ok()
}

/// Whether together they hold every address of a family.
fn reaches_all(ranges: &[IpNet]) -> bool {
    IpNet::aggregate(&ranges.to_vec())
        .iter()
        .any(|range| range.prefix_len() == 0)
}

/// Whether nobody on the way to that mail server can read along. Nobody is on the way to this machine itself.
fn keeps_secrets(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else {
        return true; // A fault already.
    };
    let required = url
        .query_pairs()
        .any(|pair| pair == ("tls".into(), "required".into()));
    is_here(&url) || required || url.scheme() == "smtps"
}

/// Whether its host is the machine itself.
fn is_here(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}
