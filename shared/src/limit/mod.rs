//! Rate limits: how often one client address, one tenant or one e-mail address may ask for what is costly.
//!
//! Each class of requests has limits of its own, and all that concern a request are judged in one step in Redis, by
//! the generic cell rate algorithm and the server's own clock: a request that is refused uses nothing up. While Redis
//! is away, each process counts for itself or the class is closed, as its setting says; the first request to notice
//! waits for a moment, those after it do not.
//!
//! Nobody is refused for trying one account too often: that would tell which accounts somebody tries, and
//! lockout does it silently. Mail to one address ends silently as well.
//!
//! What must never happen: a request that waits for Redis longer than the timeout; an address of a person in Redis;
//! memory that grows with what clients make up; a database or a hash at work before the limits have spoken.

mod local;
mod outage;
mod subject;

use std::{num::NonZeroU32, sync::LazyLock, time::Duration};

use redis::Script;
use uuid::Uuid;

pub use self::subject::{Scope, Subject};
use self::{local::Local, outage::Outage};
use crate::{
    config::{self, ClassLimits, Config, Key, Rate, WithoutRedis},
    id::{ApiKeyId, EndpointId, TenantId},
    redis::Redis,
};

static GCRA: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("gcra.lua")));

/// What a request costs us, and so how it is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It checks a password or a second factor.
    SignIn,
    /// It sends mail.
    Mail,
    /// It brings a token that nobody can guess.
    Token,
}

impl Class {
    /// The name in headers, keys and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignIn => "sign_in",
            Self::Mail => "mail",
            Self::Token => "token",
        }
    }
}

/// The name of keys' own limits in headers, keys and metrics.
pub const API_KEY: &str = "api_key";
/// In the keys of Redis and in metrics: calls of a webhook endpoint, each with a limit of its own.
const ENDPOINT: &str = "webhook_endpoint";

/// Redis is away, and without it the class is closed.
#[derive(Debug, thiserror::Error)]
#[error("requests of this class cannot be counted")]
pub struct Closed;

/// Why something may not be done now.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It was done too often.
    #[error("too many requests")]
    TooOften(Exceeded),
    /// See [`Closed`].
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A limit that something has met.
#[derive(Clone, Copy, Debug)]
pub struct Exceeded {
    /// What it limits.
    pub class: Class,
    /// The limit.
    pub rate: Rate,
    /// After so long it may be done again.
    pub wait: Duration,
}

/// Where a subject stands with one limit, after the request was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The limit.
    pub rate: Rate,
    /// So many requests would pass now.
    pub remaining: u32,
    /// Until the limit is whole again.
    pub whole_in: Duration,
    /// How long this request would have had to wait; nothing for one that keeps within the limit.
    pub wait: Duration,
}

/// What the limits say to a request.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Vec<(Scope, Standing)>);

impl Verdict {
    /// For how long the request is refused; `None` if it may pass.
    #[must_use]
    pub fn refused_for(&self) -> Option<Duration> {
        let waits = self.0.iter().map(|(_, standing)| standing.wait);
        waits.max().filter(|wait| !wait.is_zero())
    }

    /// Where the subject of that scope stands, if the class limits it.
    #[must_use]
    pub fn of(&self, scope: Scope) -> Option<Standing> {
        let found = self.0.iter().find(|(of, _)| *of == scope);
        found.map(|(_, standing)| *standing)
    }
}

/// One limit on one subject.
#[derive(Clone, Debug)]
struct Policy {
    scope: Scope,
    rate: Rate,
    /// So many requests is this one worth.
    cost: NonZeroU32,
    key: String,
}

/// All limits.
pub struct Limits {
    settings: config::Limits,
    names: Key,
    redis: Redis,
    outage: Outage,
    local: Local,
}

impl Limits {
    /// The limits in the settings, counted in that Redis.
    #[must_use]
    pub fn new(config: &Config, redis: Redis) -> Self {
        Self {
            settings: config.limits.clone(),
            names: config.secrets.data_keys.oldest().clone(),
            redis,
            outage: Outage::default(),
            local: Local::new(),
        }
    }

    /// Judges a request of the class that concerns the subjects. If it may pass, each of their limits has it counted.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn judge(&self, class: Class, subjects: &[Subject<'_>]) -> Result<Verdict, Closed> {
        let verdict = self.verdict(class, subjects).await;
        let word = match &verdict {
            Ok(verdict) if verdict.refused_for().is_none() => return Ok(verdict.clone()),
            Ok(_) => "refused",
            Err(Closed) => "closed",
        };
        metrics::counter!("latchkey_limited_requests_total", "class" => class.as_str(), "outcome" => word)
            .increment(1);
        verdict
    }

    /// As [`Self::judge`], for whoever needs to know no more than whether to go on.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn spend(&self, class: Class, subjects: &[Subject<'_>]) -> Result<(), Refused> {
        let Verdict(standings) = self.judge(class, subjects).await?;
        let longest = standings.into_iter().map(|(_, standing)| standing);
        match longest.max_by_key(|standing| standing.wait) {
            Some(Standing { rate, wait, .. }) if !wait.is_zero() => {
                Err(Refused::TooOften(Exceeded { class, rate, wait }))
            }
            _ => Ok(()),
        }
    }

    /// Whether another mail may go to the address because a stranger has asked for it. Asked alike for addresses with
    /// and without an account; whoever asked is not told.
    pub async fn may_mail(&self, tenant: TenantId, purpose: &'static str, canonical_address: &str) -> bool {
        let subject = Subject::Account(tenant, purpose, canonical_address);
        // Where mail is closed without Redis, no request comes as far as this.
        let verdict = self.judge(Class::Mail, &[subject]).await;
        verdict.is_ok_and(|verdict| verdict.refused_for().is_none())
    }

    /// Judges a use of a key that has a limit of its own, and is worth `cost` uses. While Redis is away, each process
    /// counts for itself: a key that is good stays so.
    pub async fn judge_key(&self, key: ApiKeyId, rate: Rate, cost: NonZeroU32) -> Verdict {
        self.judge_one(API_KEY, Scope::Key, key.0, rate, cost).await
    }

    /// Judges a call of a webhook endpoint that has a limit of its own, which all workers share; while Redis is away,
    /// each counts for itself.
    pub async fn judge_endpoint(&self, endpoint: EndpointId, rate: Rate) -> Verdict {
        self.judge_one(ENDPOINT, Scope::Endpoint, endpoint.0, rate, NonZeroU32::MIN)
            .await
    }

    async fn judge_one(
        &self,
        class: &'static str,
        scope: Scope,
        id: Uuid,
        rate: Rate,
        cost: NonZeroU32,
    ) -> Verdict {
        let name = id.simple().to_string();
        let policies = [Policy {
            scope,
            rate,
            cost,
            key: self.redis.keys.limit(class, scope.as_str(), &name),
        }];
        let verdict = match self.outage.unless_away(self.in_redis(&policies)).await {
            Some(standings) => Verdict(standings.into_iter().map(|standing| (scope, standing)).collect()),
            None => self.local.judge(&policies),
        };
        if verdict.refused_for().is_some() {
            metrics::counter!("latchkey_limited_requests_total", "class" => class, "outcome" => "refused")
                .increment(1);
        }
        verdict
    }

    async fn verdict(&self, class: Class, subjects: &[Subject<'_>]) -> Result<Verdict, Closed> {
        let policies: Vec<Policy> = subjects
            .iter()
            .filter_map(|subject| self.policy(class, subject))
            .collect();
        if policies.is_empty() {
            return Ok(Verdict::default());
        }
        if let Some(standings) = self.outage.unless_away(self.in_redis(&policies)).await {
            let scopes = policies.iter().map(|policy| policy.scope);
            return Ok(Verdict(scopes.zip(standings).collect()));
        }
        match self.class(class).without_redis {
            WithoutRedis::Local => Ok(self.local.judge(&policies)),
            WithoutRedis::Closed => Err(Closed),
        }
    }

    fn class(&self, class: Class) -> &ClassLimits {
        match class {
            Class::SignIn => &self.settings.sign_in,
            Class::Mail => &self.settings.mail,
            Class::Token => &self.settings.token,
        }
    }

    fn policy(&self, class: Class, subject: &Subject<'_>) -> Option<Policy> {
        let (limits, scope) = (self.class(class), subject.scope());
        let rate = match scope {
            Scope::Address => Some(limits.per_address),
            Scope::Tenant => match subject {
                Subject::Tenant(_, Some(own)) => Some(*own),
                _ => limits.per_tenant,
            },
            Scope::Account => limits.per_account,
            // These limits stand in the rows of what they limit.
            Scope::Key | Scope::Endpoint => None,
        };
        let key = |rate| Policy {
            scope,
            rate,
            cost: NonZeroU32::MIN,
            key: self
                .redis
                .keys
                .limit(class.as_str(), scope.as_str(), &subject.name(&self.names)),
        };
        rate.map(key)
    }

    async fn in_redis(&self, policies: &[Policy]) -> Option<Vec<Standing>> {
        let mut call = GCRA.prepare_invoke();
        for policy in policies {
            let cost = micros(interval(policy.rate) * policy.cost.get());
            call.key(&policy.key).arg(cost).arg(micros(burst(policy.rate)));
        }
        let mut connection = self.redis.connection();
        let answer = call.invoke_async::<Vec<u64>>(&mut connection);
        let answer = match tokio::time::timeout(self.settings.redis_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(%error, "requests are limited without Redis");
                return None;
            }
            Err(_) => {
                tracing::warn!("Redis takes too long; requests are limited without it");
                return None;
            }
        };
        let standing = |(policy, answer): (&Policy, &[u64])| match answer {
            [wait, owed] => Some(standing(policy.rate, *wait, *owed)),
            _ => None,
        };
        policies.iter().zip(answer.chunks(2)).map(standing).collect()
    }
}

/// How long one request takes to be made good.
fn interval(rate: Rate) -> Duration {
    let micros = micros(rate.window) / u64::from(rate.count.get());
    Duration::from_micros(micros.max(1))
}

/// How long all requests of a limit take to be made good.
fn burst(rate: Rate) -> Duration {
    interval(rate) * rate.count.get()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// From microseconds: how long the request would have to wait, and what is yet to be made good.
fn standing(rate: Rate, wait: u64, owed: u64) -> Standing {
    let left = micros(burst(rate)).saturating_sub(owed) / micros(interval(rate));
    Standing {
        rate,
        remaining: u32::try_from(left).unwrap_or(u32::MAX),
        whole_in: Duration::from_micros(owed),
        wait: Duration::from_micros(wait),
    }
}
