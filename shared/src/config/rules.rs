//! What settings must satisfy together, and what production refuses.

use std::time::Duration;

use super::{Config, Environment, KeyRing, MailTransport, Source};

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
    if range_url.is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
        source.fault("passwords.breach_range_url: expects an http or https URL");
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
    for (key, url) in [
        ("postgres.url", &config.postgres.url),
        ("redis.url", &config.redis.url),
    ] {
        if !url.expose().is_empty() && url::Url::parse(url.expose()).is_err() {
            source.fault(format!("{key}: expects a URL"));
        }
    }
}

fn production(config: &Config, source: &mut Source) {
    if config.server.public_url.scheme() != "https" {
        source.fault("server.public_url: must be https in production");
    }
    if matches!(config.mail.transport, MailTransport::File(_)) {
        source.fault("mail.transport: mails would stay in files; production wants smtp");
    }
    if config.server.trusted_proxies.is_empty() && !config.server.listen.ip().is_loopback() {
        source.fault("server.trusted_proxies: names no gateway, so every client would have its address");
    }
    // OWASP's floor for Argon2id: 19 MiB, two iterations, one lane.
    if config.passwords.memory_kib < 19_456 || config.passwords.iterations < 2 {
        source.fault("passwords: memory_kib below 19456 or iterations below 2 are too weak for production");
    }
    let range_url = config.passwords.breach_range_url.as_ref();
    if range_url.is_some_and(|url| url.scheme() == "http") {
        source.fault("passwords.breach_range_url: must be https in production");
    }
    if config
        .webhooks
        .allowed_cidrs
        .iter()
        .any(|net| net.prefix_len() == 0)
    {
        source.fault("webhooks.allowed_cidrs: allows every address");
    }
}
