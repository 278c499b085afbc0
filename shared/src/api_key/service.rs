//! What administrators do with keys.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, DbErr, IntoActiveModel};
use serde_json::{Value, json};

use super::{
    ApiKey, ApiKeyError, ApiKeyPatch, CreatedKey, Filter, KeyStatus, KeyText, NewApiKey, RevokeReason,
    UsageHour, batch,
    field::{checked_cidrs, checked_expiry, checked_metadata, checked_scopes},
    model, store,
};
use crate::{
    audit::{self, Record},
    config::Rate,
    context::{Change, Context},
    entity::api_key,
    id::{ApiKeyId, TenantId, UserId},
    outbox::{self, event},
    page::{Page, PageRequest},
    permission::{ApiKeysRead, ApiKeysWrite, Authorized},
    postgres::Tx,
    principal::{Origin, Principal, Subject},
    rbac, service_account, session,
    signal::SignalKind,
    tenant::{self, PLATFORM_SLUG},
};

/// The most live keys of a tenant.
pub const MAX_KEYS: u32 = 10_000;
/// The most live keys of one user or service account.
pub const MAX_KEYS_OF_OWNER: u32 = 200;

type Result<T> = std::result::Result<T, ApiKeyError>;

/// Makes a key. Its text is returned here and never again.
///
/// # Errors
/// When a field is not valid, the scopes are more than the caller holds, the key would act in somebody else's name, or
/// there are as many as there may be.
pub async fn create(
    context: &Context,
    caller: &Authorized<ApiKeysWrite>,
    origin: &Origin,
    new: NewApiKey,
) -> Result<CreatedKey> {
    let NewApiKey {
        name,
        environment,
        scopes,
        owner,
        expires_at,
        allowed_cidrs,
        rate_limit,
        metadata,
    } = new;
    let principal = caller.principal();
    let mut change = context.change(principal.tenant, caller.actor(), origin).await?;
    let is_platform = is_platform(&change.tx, change.tenant).await?;
    let expires_at = checked_expiry(expires_at, change.now)?;
    let allowed_cidrs = checked_cidrs(&allowed_cidrs)?;
    let metadata = checked_metadata(metadata)?;
    let owner = owner.unwrap_or(principal.subject);
    may_act_for(&change, principal, owner).await?;
    let own = rbac::hold_own(&change.tx, change.tenant).await?;
    let scopes = checked_scopes(scopes, &principal.permissions, is_platform, &own)?;
    make_room(&change, owner).await?;
    hold_caller(&change, principal).await?;

    let text = KeyText::new(environment, &*context.random);
    let (rate_count, rate_seconds) = rate_columns(rate_limit);
    let row = api_key::Model {
        name,
        scopes,
        allowed_cidrs,
        rate_count,
        rate_seconds,
        metadata,
        expires_at,
        ..blank(&change, &text, owner)
    };
    let row = row.into_active_model().reset_all().insert(&change.tx).await?;
    let key = ApiKey::of(row, change.now);
    audit::record(&change, record("api_key.create", key.id, json!(key.told()))).await?;
    outbox::emit(&mut change, about(owner), &event::ApiKeyCreated(key.told())).await?;
    change.commit().await?;
    let text = text.into_text();
    Ok(CreatedKey { key, text })
}

/// The row of a new key, without what its maker chooses.
pub(super) fn blank(change: &Change<'_>, text: &KeyText, owner: Subject) -> api_key::Model {
    let (user_id, service_account_id) = match owner {
        Subject::User(user) => (Some(user), None),
        Subject::ServiceAccount(account) => (None, Some(account)),
        Subject::Tenant => (None, None),
    };
    api_key::Model {
        id: ApiKeyId(change.context.uuid(change.now)),
        tenant_id: change.tenant,
        hash: text.hash().to_vec(),
        hint: text.hint(),
        name: String::new(),
        environment: text.environment(),
        scopes: Vec::new(),
        user_id,
        service_account_id,
        allowed_cidrs: Vec::new(),
        rate_count: None,
        rate_seconds: None,
        metadata: json!({}),
        created_at: change.now,
        updated_at: change.now,
        expires_at: None,
        rotated_from: None,
        rotated_to: None,
        retires_at: None,
        revoked_at: None,
        revoke_reason: None,
        last_used_at: None,
        expiry_told_at: None,
    }
}

/// Whether another key of the owner may be made; whoever asks takes turns until the transaction ends.
pub(super) async fn make_room(change: &Change<'_>, owner: Subject) -> Result<()> {
    let (of_tenant, of_owner) = store::count_for_insert(&change.tx, change.tenant, owner, change.now).await?;
    if of_tenant >= i64::from(MAX_KEYS) {
        return Err(ApiKeyError::LimitReached(MAX_KEYS));
    }
    if owner != Subject::Tenant && of_owner >= i64::from(MAX_KEYS_OF_OWNER) {
        return Err(ApiKeyError::LimitReached(MAX_KEYS_OF_OWNER));
    }
    Ok(())
}

/// Asked again once everything is held: a key that was asked for by what has ended since would outlive its end.
pub(super) async fn hold_caller(change: &Change<'_>, caller: &Principal) -> Result<()> {
    let (tx, tenant, now) = (&change.tx, change.tenant, change.now);
    let lives = match (caller.key, caller.session) {
        (Some(key), _) => store::hold_live(tx, tenant, key, now).await?,
        (None, Some(session)) => session::hold_live(tx, tenant, session, now).await?,
        (None, None) => true,
    };
    lives.then_some(()).ok_or(ApiKeyError::CallerEnded)
}

/// Whether the caller may hold a key that acts for the owner: themselves, a service account that they could give all its
/// roles, or the tenant. Whether another user is there is not said.
pub(super) async fn may_act_for(change: &Change<'_>, caller: &Principal, owner: Subject) -> Result<()> {
    match owner {
        _ if owner == caller.subject => {
            let is_there = store::hold_owner(&change.tx, change.tenant, owner).await?;
            is_there.then_some(()).ok_or(ApiKeyError::Escalation)
        }
        Subject::User(_) => Err(ApiKeyError::Escalation),
        Subject::ServiceAccount(account) => {
            match service_account::hold_grantable(change, &caller.permissions, account).await? {
                Some(true) => Ok(()),
                Some(false) => Err(ApiKeyError::Escalation),
                None => Err(ApiKeyError::UnknownOwner),
            }
        }
        Subject::Tenant => Ok(()),
    }
}

/// The tenant's keys that pass the filter, newest first.
///
/// # Errors
/// Only failures inside.
pub async fn list(
    context: &Context,
    caller: &Authorized<ApiKeysRead>,
    filter: Filter,
    page: PageRequest,
) -> Result<Page<ApiKey>> {
    let (tenant, now) = (caller.principal().tenant, context.clock.now());
    let tx = context.postgres.tenant(tenant).await?;
    let rows = store::list(&tx, tenant, filter, page, now).await?;
    Ok(Page::cut(rows, page, |row| row.id.0).map(|row| ApiKey::of(row, now)))
}

/// One key.
///
/// # Errors
/// [`ApiKeyError::NotFound`].
pub async fn get(context: &Context, caller: &Authorized<ApiKeysRead>, id: ApiKeyId) -> Result<ApiKey> {
    find(context, caller.principal().tenant, id).await
}

/// The key that asks.
///
/// # Errors
/// [`ApiKeyError::NotFound`] if nobody came by a key.
pub async fn get_self(context: &Context, caller: &Principal) -> Result<ApiKey> {
    let id = caller.key.ok_or(ApiKeyError::NotFound)?;
    find(context, caller.tenant, id).await
}

async fn find(context: &Context, tenant: TenantId, id: ApiKeyId) -> Result<ApiKey> {
    let tx = context.postgres.tenant(tenant).await?;
    let row = store::find(&tx, tenant, id).await?.ok_or(ApiKeyError::NotFound)?;
    Ok(ApiKey::of(row, context.clock.now()))
}

/// How often a key was used, by hours, newest first.
///
/// # Errors
/// [`ApiKeyError::NotFound`].
pub async fn usage(
    context: &Context,
    caller: &Authorized<ApiKeysRead>,
    id: ApiKeyId,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Vec<UsageHour>> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    store::find(&tx, tenant, id).await?.ok_or(ApiKeyError::NotFound)?;
    Ok(store::usage(&tx, tenant, id, since, until).await?)
}

/// Changes a key that has not ended. Only scopes that it gains must be the caller's.
///
/// # Errors
/// When a field is not valid, there is no such key, it has ended, or gains what the caller does not hold.
pub async fn update(
    context: &Context,
    caller: &Authorized<ApiKeysWrite>,
    origin: &Origin,
    id: ApiKeyId,
    patch: ApiKeyPatch,
) -> Result<ApiKey> {
    let ApiKeyPatch {
        name,
        scopes,
        expires_at,
        allowed_cidrs,
        rate_limit,
        metadata,
    } = patch;
    let principal = caller.principal();
    let mut change = context.change(principal.tenant, caller.actor(), origin).await?;
    let own = rbac::hold_own(&change.tx, change.tenant).await?;
    let row = store::hold(&change.tx, change.tenant, id).await?;
    let row = row.ok_or(ApiKeyError::NotFound)?;
    let before = ApiKey::of(row.clone(), change.now);
    if !matches!(before.status, KeyStatus::Active | KeyStatus::Retiring) {
        return Err(ApiKeyError::NotActive);
    }
    let asked = Bounds {
        expires_at: expires_at.unwrap_or(before.expires_at),
        allowed_cidrs: allowed_cidrs.as_ref().unwrap_or(&before.allowed_cidrs),
        rate_limit: rate_limit.unwrap_or(before.rate_limit),
    };
    // Whoever could not make the key does not let it do more, by whosever hand; nor says what the tenant's services decide by.
    let may_grant = || rbac::may_grant(&principal.permissions, before.scopes.iter().map(String::as_str));
    let says_else = metadata
        .as_ref()
        .is_some_and(|metadata| *metadata != before.metadata);
    if (asked.loosens(&before) || says_else) && !may_grant() {
        return Err(ApiKeyError::Escalation);
    }
    let mut row = row.into_active_model();
    if let Some(name) = name {
        row.name = Set(name);
    }
    if let Some(scopes) = scopes {
        row.scopes = Set(regranted(&change, principal, &before, scopes, &own).await?);
    }
    if let Some(expires_at) = expires_at {
        row.expires_at = Set(checked_expiry(expires_at, change.now)?);
        row.expiry_told_at = Set(None);
    }
    if let Some(cidrs) = allowed_cidrs {
        row.allowed_cidrs = Set(checked_cidrs(&cidrs)?);
    }
    if let Some(rate) = rate_limit {
        let (count, seconds) = rate_columns(rate);
        (row.rate_count, row.rate_seconds) = (Set(count), Set(seconds));
    }
    if let Some(metadata) = metadata {
        row.metadata = Set(checked_metadata(metadata)?);
    }
    row.updated_at = Set(change.now);
    let key = ApiKey::of(row.update(&change.tx).await?, change.now);
    let detail = json!({ "before": before.told(), "after": key.told() });
    audit::record(&change, record("api_key.update", id, detail)).await?;
    change.signal(SignalKind::ApiKeyChanged, id.0).await?;
    change.commit().await?;
    Ok(key)
}

/// What keeps a key from being used.
struct Bounds<'a> {
    expires_at: Option<DateTime<Utc>>,
    allowed_cidrs: &'a [String],
    rate_limit: Option<Rate>,
}

impl Bounds<'_> {
    /// Whether the key could be used longer, from elsewhere or more often than before.
    fn loosens(&self, before: &ApiKey) -> bool {
        let longer = match (before.expires_at, self.expires_at) {
            (Some(before), Some(asked)) => asked > before,
            (before, asked) => before.is_some() && asked.is_none(),
        };
        let known = |range: &String| before.allowed_cidrs.contains(range);
        let elsewhere = !before.allowed_cidrs.is_empty()
            && (self.allowed_cidrs.is_empty() || !self.allowed_cidrs.iter().all(known));
        let oftener = match (before.rate_limit, self.rate_limit) {
            (Some(before), Some(asked)) => asked.count > before.count || asked.window < before.window,
            (before, asked) => before.is_some() && asked.is_none(),
        };
        longer || elsewhere || oftener
    }
}

/// The scopes that the key is to have: those that it has stay, whoever changes it.
async fn regranted(
    change: &Change<'_>,
    caller: &Principal,
    before: &ApiKey,
    scopes: Vec<String>,
    own: &[String],
) -> Result<Vec<String>> {
    let held = caller.permissions.iter().map(str::to_owned);
    let grantable = held.chain(before.scopes.iter().cloned()).collect();
    let is_platform = is_platform(&change.tx, change.tenant).await?;
    checked_scopes(scopes, &grantable, is_platform, own)
}

/// Revokes a key. To revoke one that is revoked changes nothing.
///
/// # Errors
/// [`ApiKeyError::NotFound`].
pub async fn revoke(
    context: &Context,
    caller: &Authorized<ApiKeysWrite>,
    origin: &Origin,
    id: ApiKeyId,
) -> Result<()> {
    let tenant = caller.principal().tenant;
    let mut change = context.change(tenant, caller.actor(), origin).await?;
    let row = store::find(&change.tx, tenant, id).await?;
    let owner = owner_of(&row.ok_or(ApiKeyError::NotFound)?);
    // The owner before the key, as everybody who needs both.
    store::hold_owner(&change.tx, tenant, owner).await?;
    let choice = store::Choice {
        ids: Some(vec![id.0]),
        ..store::Choice::default()
    };
    batch::end(&mut change, choice, RevokeReason::Revoked).await?;
    change.commit().await?;
    Ok(())
}

pub(super) fn record(action: &'static str, id: ApiKeyId, detail: Value) -> Record {
    Record::success(action, "api_key", id.0, detail)
}

/// The user whose data an event of the key holds.
pub(super) fn about(owner: Subject) -> Option<UserId> {
    match owner {
        Subject::User(user) => Some(user),
        Subject::ServiceAccount(_) | Subject::Tenant => None,
    }
}

fn rate_columns(rate: Option<Rate>) -> (Option<i32>, Option<i32>) {
    let count = rate.and_then(|rate| i32::try_from(rate.count.get()).ok());
    let seconds = rate.and_then(|rate| i32::try_from(rate.window.as_secs()).ok());
    (count, seconds)
}

async fn is_platform(tx: &Tx, tenant: TenantId) -> std::result::Result<bool, DbErr> {
    let row = tenant::store::find(tx, tenant).await?;
    Ok(row.is_some_and(|row| row.slug == PLATFORM_SLUG))
}

pub(super) fn owner_of(row: &api_key::Model) -> Subject {
    model::owner(row)
}
