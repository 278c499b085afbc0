//! `latchkey-api audit verify`: whether anybody has tampered with the audit trail.
//!
//! A line for each tenant says how long its chain is and what its last hash is. Kept away from the database, these lines
//! are what a later run compares with: a database that was set back as a whole fits together, and only they can tell.

use std::{collections::BTreeMap, io::Write, process::ExitCode, time::Duration};

use latchkey_shared::{
    audit::{Fault, Report, Verdict, Verification},
    context::Context,
    id::TenantId,
    tenant::{Directory, ResolveError},
};
use sea_orm::DbErr;
use uuid::Uuid;

/// What came of it: the exit code of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is as it was written: 0.
    Intact,
    /// Of something it cannot be told: 2.
    Unchecked,
    /// Somebody has tampered with something: 1.
    Tampered,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Intact => 0,
            Outcome::Tampered => 1,
            Outcome::Unchecked => 2,
        })
    }
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database does not answer.
    #[error("PostgreSQL: {0}")]
    Database(#[from] DbErr),
    /// No tenant has that name.
    #[error("--tenant: {0}")]
    Tenant(#[from] ResolveError),
    /// What is found cannot be written.
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
    /// A line that no verification has written.
    #[error("--against: line {0} is not from an earlier run")]
    Against(usize),
    /// The line that a verification writes last is missing.
    #[error(
        "--against: not the whole of what an earlier run has printed: it ends with a line of {SUMMARY:?}"
    )]
    Broken,
}

/// What the last line counts last.
const SUMMARY: &str = "sealed rows:";

/// The ends of chains that an earlier run has seen.
#[derive(Debug, Default)]
pub struct Known(BTreeMap<Uuid, (i64, String)>);

impl Known {
    /// Reads what an earlier run has printed, to its last line: what was cut off would not be compared.
    ///
    /// # Errors
    /// [`VerifyError::Against`] and [`VerifyError::Broken`].
    pub fn read(text: &str) -> Result<Self, VerifyError> {
        let (mut known, mut whole) = (BTreeMap::new(), false);
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let tenant = words.first().and_then(|word| word.parse::<Uuid>().ok());
            // The line of a tenant may say the same words.
            whole = tenant.is_none() && line.contains(SUMMARY);
            if whole {
                continue;
            }
            let Some((tenant, seen)) = tenant.zip(end(&words)) else {
                return Err(VerifyError::Against(number + 1));
            };
            known.insert(tenant, seen);
        }
        if whole {
            Ok(Self(known))
        } else {
            Err(VerifyError::Broken)
        }
    }
}

/// The end of a chain, which a line says last: what stands before it names what is in the database, and may look like it.
fn end(words: &[&str]) -> Option<(i64, String)> {
    let [.., length, head, waiting] = words else {
        return None;
    };
    waiting.strip_prefix("waiting=")?;
    let length = length.strip_prefix("length=")?.parse().ok()?;
    Some((length, head.strip_prefix("head=")?.to_owned()))
}

/// Verifies the trail of one tenant, or of all, and writes a line for each.
///
/// # Errors
/// See [`VerifyError`]; nothing is told of tenants without a line.
pub async fn verify(
    context: &Context,
    tenant: Option<&str>,
    grace: Duration,
    mut known: Known,
    out: &mut impl Write,
) -> Result<Outcome, VerifyError> {
    let verification = Verification::new(context, grace);
    let only = match tenant {
        Some(name) => Some(find(context, name).await?),
        None => None,
    };
    let (mut worst, mut tenants, mut rows) = (Outcome::Intact, 0_u64, 0_i64);
    let mut next = match only {
        Some(only) => Some(only),
        None => verification.next(TenantId(Uuid::nil())).await?,
    };
    while let Some(tenant) = next {
        let before = known.0.remove(&tenant.0);
        let report = verification
            .tenant(tenant, |length, hash| match &before {
                Some((then, head)) if *then == length && *head != hex(hash) => Err(Fault::SetBack(*then)),
                _ => Ok(()),
            })
            .await?;
        let report = not_shorter(report, before.as_ref());
        worst = worst.max(write_line(out, &report, before.as_ref())?);
        tenants += 1;
        rows += report.length;
        next = match only {
            Some(_) => None,
            None => verification.next(tenant).await?,
        };
    }
    if only.is_none() {
        for (tenant, (length, head)) in known.0.iter().filter(|(_, (length, _))| *length > 0) {
            let fault = Fault::SetBack(*length);
            writeln!(
                out,
                "{tenant} TAMPERED: {fault}; length={length} head={head} waiting=0"
            )?;
            worst = Outcome::Tampered;
        }
    }
    let verdict = match worst {
        Outcome::Intact => "nothing was tampered with",
        Outcome::Unchecked => "not everything could be checked",
        Outcome::Tampered => "the audit trail was TAMPERED with",
    };
    writeln!(out, "{tenants} tenants, {rows} {SUMMARY} {verdict}")?;
    Ok(worst)
}

/// Deleted tenants have no name any more, and are found by their id.
async fn find(context: &Context, name: &str) -> Result<TenantId, VerifyError> {
    if let Ok(id) = name.parse() {
        return Ok(TenantId(id));
    }
    let named = Directory::new(context.clone()).named(Some(name), None).await?;
    Ok(named.ok_or(ResolveError::Unknown)?.id)
}

fn not_shorter(mut report: Report, before: Option<&(i64, String)>) -> Report {
    match before {
        Some((then, _)) if *then > report.length && !matches!(report.verdict, Verdict::Tampered(_)) => {
            report.verdict = Verdict::Tampered(Fault::SetBack(*then));
        }
        _ => {}
    }
    report
}

/// The end of the chain that is told is the furthest one that was ever good: whoever compares with this line is told of
/// a chain that was set back until it is the one it was.
fn write_line(
    out: &mut impl Write,
    report: &Report,
    before: Option<&(i64, String)>,
) -> Result<Outcome, std::io::Error> {
    let Report {
        tenant,
        length,
        hash,
        waiting,
        verdict,
    } = report;
    let (outcome, word) = match verdict {
        Verdict::Intact => (Outcome::Intact, "intact".to_owned()),
        Verdict::Tampered(fault) => (Outcome::Tampered, format!("TAMPERED: {fault};")),
        Verdict::Unchecked(reason) => (Outcome::Unchecked, format!("UNCHECKED: {reason};")),
    };
    let (length, head) = match before {
        Some((then, head)) if outcome == Outcome::Tampered && then >= length => (then, head.clone()),
        _ => (length, hex(hash)),
    };
    writeln!(
        out,
        "{tenant} {word} length={length} head={head} waiting={waiting}"
    )?;
    Ok(outcome)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
