//! Bringing users in from another system, a batch of lines at a time.
//!
//! Each line is a user to be, judged by itself ([`Candidate`]). A batch is one transaction: what is right in it is
//! written, what is not is told of line by line. Whoever is cut off begins again from the start: a line that was
//! imported before is `Unchanged`, told by a keyed hash of all it said, whatever its user has changed since. An account
//! that came into being otherwise is never overwritten, or an import would be a way to take accounts over.
//!
//! Nobody brings in a user with a role they could not give. Nothing is mailed. Each user is an audit row and a
//! `user.registered` event, so that whoever follows the tenant's events knows everyone.

mod candidate;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use self::candidate::Judged;
pub use self::candidate::{Candidate, Fault};
use super::store;
use crate::{
    audit,
    auth::{self, Auth},
    context::Change,
    error::Internal,
    id::{RoleId, UserId},
    mfa,
    outbox::{self, event},
    permission::{Authorized, UsersWrite},
    principal::{Origin, Principal},
    rbac::{self, AssignError, Builtin},
    user::{Email, UserStatus},
};

/// So many lines are one transaction at most.
pub const BATCH: usize = 250;

/// What became of a line.
#[derive(Clone, Debug)]
pub enum Imported {
    /// There is such a user now.
    Created(UserId),
    /// The same line was imported before.
    Unchanged(UserId),
    /// Nothing was done, for these reasons.
    Failed(Vec<Fault>),
}

/// A row to be written.
pub(super) struct NewRow {
    pub(super) id: UserId,
    pub(super) email: Email,
    pub(super) name: Option<String>,
    pub(super) password_hash: String,
    pub(super) status: UserStatus,
    pub(super) email_verified: bool,
    pub(super) external_id: Option<String>,
    pub(super) mac: [u8; 32],
    pub(super) created_at: DateTime<Utc>,
}

/// A line that may be written, and where it stands in the batch.
struct Accepted {
    place: usize,
    line: Judged,
    mac: [u8; 32],
    roles: Vec<RoleId>,
}

/// What a line comes to before anything is written.
enum Verdict {
    Done(Imported),
    Write,
    /// As the line at that place, which has the same address.
    Repeats(usize, [u8; 32]),
}

/// Imports the lines; what became of each, in their order.
///
/// # Errors
/// Only failures inside; nothing of the batch was imported then.
pub async fn import_batch(
    auth: &Auth,
    caller: &Authorized<UsersWrite>,
    origin: &Origin,
    lines: Vec<Candidate>,
) -> Result<Vec<Imported>, Internal> {
    let by = caller.principal();
    let _turn = auth.imports.acquire().await.map_err(Internal::fault)?;
    let mut change = auth.context.change(by.tenant, caller.actor(), origin).await?;
    store::take_turns(&change.tx, by.tenant).await?;
    let judged: Vec<Result<Judged, Vec<Fault>>> =
        lines.into_iter().map(|line| line.judge(change.now)).collect();
    let (verdicts, accepted) = sort_out(&change, by, judged).await?;
    let written = write(auth, &mut change, &accepted).await?;
    change.commit().await?;

    let macs: HashMap<usize, [u8; 32]> = accepted.iter().map(|line| (line.place, line.mac)).collect();
    let outcome = |place: usize| match written.get(&place) {
        Some(id) => Imported::Created(*id),
        // Somebody was quicker.
        None => Imported::Failed(vec![exists()]),
    };
    let outcomes = verdicts
        .into_iter()
        .enumerate()
        .map(|(place, verdict)| match verdict {
            Verdict::Done(imported) => imported,
            Verdict::Write => outcome(place),
            Verdict::Repeats(first, mac) => match outcome(first) {
                Imported::Created(id) if macs.get(&first) == Some(&mac) => Imported::Unchanged(id),
                _ => Imported::Failed(vec![exists()]),
            },
        });
    Ok(outcomes.collect())
}

fn exists() -> Fault {
    Fault::new(
        "/email",
        "exists",
        "There is another account with this address; it was left alone.",
    )
}

/// Which lines are to be written, and what is already known of the others.
async fn sort_out(
    change: &Change<'_>,
    by: &Principal,
    judged: Vec<Result<Judged, Vec<Fault>>>,
) -> Result<(Vec<Verdict>, Vec<Accepted>), Internal> {
    let readable = || judged.iter().flatten();
    let emails = readable().map(|line| line.email.canonical().to_owned()).collect();
    let external_ids = readable().filter_map(|line| line.external_id.clone()).collect();
    let known = store::known(&change.tx, change.tenant, emails, external_ids).await?;
    let by_email: HashMap<&str, &store::Known> = known
        .iter()
        .map(|known| (known.email_canonical.as_str(), known))
        .collect();
    let mut external_ids: BTreeSet<String> = known
        .iter()
        .filter_map(|known| known.external_id.clone())
        .collect();
    let mut roles = Roles::find(change, readable()).await?;
    let key = change.context.config.secrets.data_keys.oldest();

    let (mut verdicts, mut accepted) = (Vec::with_capacity(judged.len()), Vec::<Accepted>::new());
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, line) in judged.into_iter().enumerate() {
        let line = match line {
            Ok(line) => line,
            Err(faults) => {
                verdicts.push(Verdict::Done(Imported::Failed(faults)));
                continue;
            }
        };
        let mac = line.mac(key, change.tenant);
        if let Some(known) = by_email.get(line.email.canonical()) {
            let same = known.import_mac.as_deref() == Some(&mac);
            verdicts.push(Verdict::Done(if same {
                Imported::Unchanged(known.id)
            } else {
                Imported::Failed(vec![exists()])
            }));
            continue;
        }
        if let Some(first) = places.get(line.email.canonical()) {
            verdicts.push(Verdict::Repeats(*first, mac));
            continue;
        }
        let taken = line
            .external_id
            .as_ref()
            .is_some_and(|id| external_ids.contains(id));
        let granted = if taken {
            Err(Fault::new(
                "/external_id",
                "taken",
                "Another user has this external id.",
            ))
        } else {
            roles.grant(change, by, line.roles.as_ref()).await?
        };
        match granted {
            Err(fault) => verdicts.push(Verdict::Done(Imported::Failed(vec![fault]))),
            Ok(roles) => {
                places.insert(line.email.canonical().to_owned(), place);
                external_ids.extend(line.external_id.clone());
                accepted.push(Accepted {
                    place,
                    line,
                    mac,
                    roles,
                });
                verdicts.push(Verdict::Write);
            }
        }
    }
    Ok((verdicts, accepted))
}

/// The roles that a batch names, and which sets of them its caller may give.
struct Roles {
    by_name: HashMap<String, RoleId>,
    member: RoleId,
    asked: BTreeMap<Vec<RoleId>, bool>,
}

impl Roles {
    async fn find(change: &Change<'_>, lines: impl Iterator<Item = &Judged>) -> Result<Self, Internal> {
        let names: BTreeSet<&String> = lines.filter_map(|line| line.roles.as_ref()).flatten().collect();
        let names = names.into_iter().cloned().collect();
        let found = store::role_ids(&change.tx, change.tenant, names).await?;
        Ok(Self {
            by_name: found.into_iter().map(|(id, name)| (name, id)).collect(),
            member: rbac::builtin_id(&change.tx, change.tenant, Builtin::Member).await?,
            asked: BTreeMap::new(),
        })
    }

    /// The ids of the roles, if there are such and the caller may give them: asked once for each set of them.
    async fn grant(
        &mut self,
        change: &Change<'_>,
        by: &Principal,
        names: Option<&BTreeSet<String>>,
    ) -> Result<Result<Vec<RoleId>, Fault>, Internal> {
        // As everybody who registers.
        let Some(names) = names else {
            return Ok(Ok(vec![self.member]));
        };
        let ids: Option<Vec<RoleId>> = names.iter().map(|name| self.by_name.get(name).copied()).collect();
        let Some(ids) = ids else {
            let fault = Fault::new("/roles", "unknown_role", "The tenant has no role of this name.");
            return Ok(Err(fault));
        };
        let may = match self.asked.get(&ids) {
            Some(may) => *may,
            None => match rbac::find_grantable(&change.tx, by, &ids).await {
                Ok(_) => true,
                Err(AssignError::Internal(error)) => return Err(error),
                Err(_) => false,
            },
        };
        self.asked.insert(ids.clone(), may);
        Ok(may.then_some(ids).ok_or_else(|| {
            Fault::new(
                "/roles",
                "escalation",
                "Nobody gives a role that grants what they do not hold.",
            )
        }))
    }
}

/// Writes the users with all that belongs to them: which of the lines were written, each with the id of its user.
async fn write(
    auth: &Auth,
    change: &mut Change<'_>,
    accepted: &[Accepted],
) -> Result<HashMap<usize, UserId>, Internal> {
    if accepted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = accepted.iter().map(|line| row(auth, change, line));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let written = store::insert(change, &rows).await?;
    let users: Vec<(UserId, &Accepted)> = rows
        .iter()
        .map(|row| row.id)
        .zip(accepted)
        .filter(|(id, _)| written.contains(id))
        .collect();
    let pairs = users
        .iter()
        .flat_map(|(id, line)| line.roles.iter().map(|role| (*id, *role)));
    store::assign_each(change, pairs.collect()).await?;
    let factors = users
        .iter()
        .filter_map(|(id, line)| Some((*id, line.line.totp_secret.clone()?)));
    mfa::import(change, factors).await?;
    let targets: Vec<(Uuid, Value)> = users
        .iter()
        .map(|(id, line)| (id.0, json!({ "role_ids": line.roles })))
        .collect();
    if !targets.is_empty() {
        audit::record_each(change, "user.import", "user", targets).await?;
        let events: Vec<_> = users
            .iter()
            .map(|(id, line)| (*id, registered(*id, line)))
            .collect();
        outbox::emit_about_each(change, &events).await?;
    }
    Ok(users.into_iter().map(|(id, line)| (line.place, id)).collect())
}

fn row(auth: &Auth, change: &Change<'_>, accepted: &Accepted) -> Result<NewRow, Internal> {
    let Judged {
        email,
        name,
        email_verified,
        status,
        created_at,
        roles: _,
        external_id,
        password_hash,
        totp_secret: _,
    } = &accepted.line;
    Ok(NewRow {
        id: UserId::new(change.now, &*change.context.random),
        email: email.clone(),
        name: name.clone(),
        password_hash: match password_hash {
            Some(hash) => hash.stored(),
            // Chosen by way of "forgot password".
            None => auth::unusable_hash(auth)?,
        },
        status: *status,
        email_verified: *email_verified,
        external_id: external_id.clone(),
        mac: accepted.mac,
        created_at: created_at.unwrap_or(change.now),
    })
}

fn registered(id: UserId, accepted: &Accepted) -> event::UserRegistered {
    let line = &accepted.line;
    event::UserRegistered {
        user: event::UserDetails {
            id,
            email: line.email.written().to_owned(),
            name: line.name.clone(),
        },
        imported: true,
    }
}
