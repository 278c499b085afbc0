//! Mails: claimed, opened, handed to the mail server.

mod transport;

use std::sync::Arc;

use latchkey_shared::{
    context::Context,
    mail::{
        Kind,
        work::{self, Claimed},
    },
    queue::Job,
    random,
    webhook::retry::Schedule,
};
use metrics::{counter, histogram};
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

pub use self::transport::TransportError;
use self::transport::{SendError, Transport};

/// Each wait of the schedule varies by this share.
const JITTER: f64 = 0.2;

/// Sends mails. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mailer {
    context: Context,
    transport: Arc<Transport>,
    schedule: Arc<Schedule>,
    time_up: CancellationToken,
}

impl Mailer {
    /// No mail is sent any longer once their time is up.
    pub(crate) fn new(context: &Context, time_up: &CancellationToken) -> Result<Self, TransportError> {
        // The first mail that is given up is to be seen as a rise.
        for kind in Kind::ALL {
            count(kind.as_str().to_owned(), "given_up", 0);
        }
        Ok(Self {
            context: context.clone(),
            transport: Arc::new(Transport::new(&context.config)?),
            schedule: Arc::new(Schedule {
                waits: context.config.mail.schedule.clone(),
                jitter: JITTER,
            }),
            time_up: time_up.clone(),
        })
    }

    /// Claims the mail, sends it and writes down what came of it; nothing at all, where it is not due or another
    /// worker's.
    pub(crate) async fn handle(&self, job: Job) {
        let lease = crate::lease_for(self.context.config.mail.timeout);
        let claimed = match work::claim(&self.context, job.0, lease).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(mail = %job.0, %error, "a mail was not claimed; the sweep brings it back");
                return;
            }
        };
        let Some(sent) = self.time_up.run_until_cancelled(self.send(&claimed)).await else {
            return self.give_back(&claimed).await;
        };
        if let Err(error) = self.record(&claimed, sent).await {
            tracing::warn!(mail = %claimed.id, %error, "an attempt to send was not recorded; it is made again");
        }
    }

    /// Lets go of a mail whose conversation was broken off. Nothing more of it is said: what is left of the connection says
    /// `QUIT`. Should the server have the mail all the same, it gets it again with the same `Message-ID`, as after a crash; so
    /// the attempt is not counted either.
    async fn give_back(&self, claimed: &Claimed) {
        if let Err(error) = work::give_back(&self.context, claimed).await {
            tracing::warn!(mail = %claimed.id, %error, "a mail was not given back; its lease ends");
        }
    }

    async fn send(&self, claimed: &Claimed) -> Result<(), SendError> {
        let message = claimed
            .open(&self.context.config.secrets.data_keys)
            .map_err(|_| SendError::Sealed)?;
        let sending = self
            .transport
            .send(claimed.id, self.context.clock.now(), &message);
        tokio::time::timeout(self.context.config.mail.timeout, sending)
            .await
            .unwrap_or(Err(SendError::Timeout))
    }

    async fn record(&self, claimed: &Claimed, sent: Result<(), SendError>) -> Result<(), DbErr> {
        let (kind, now) = (claimed.kind.clone(), self.context.clock.now());
        let Err(error) = sent else {
            count(kind, "succeeded", 1);
            let waited = (now - claimed.created_at).to_std().unwrap_or_default();
            histogram!("latchkey_mail_delay_seconds").record(waited);
            return work::succeeded(&self.context, claimed).await;
        };
        let share = f64::from(u32::from_ne_bytes(random::array(&*self.context.random))) / f64::from(u32::MAX);
        let number = claimed.attempts.saturating_add(1);
        let next = self
            .schedule
            .next(number, now, share, None)
            .filter(|_| error.may_pass());
        let outcome = if next.is_some() { "failed" } else { "given_up" };
        count(kind, outcome, 1);
        tracing::warn!(mail = %claimed.id, %error, ?next, "a mail was not sent");
        work::failed(&self.context, claimed, &error.to_string(), next).await
    }
}

fn count(kind: String, outcome: &'static str, attempts: u64) {
    counter!("latchkey_mail_attempts_total", "kind" => kind, "outcome" => outcome).increment(attempts);
}
