//! Domains of the tenant's own.

use latchkey_shared::{
    auth::Auth,
    id::DomainId,
    permission::{SettingsRead, SettingsWrite},
    tenant::domain::{self, Domain, DomainError, NotClaimable},
};
use poem::web::Data;
use poem_openapi::{
    Enum, Object, OpenApi,
    param::{Path, Query},
    types::Example,
};
use uuid::Uuid;

use crate::{
    dns::Dns,
    extract::{ClientOrigin, Json, Permit},
    problem::{
        ApiResult, Conflict, Failure, FieldError, Input, NotFound, Parameters, Permitted, ProblemCode,
    },
    reply::{Created, List, NoContent, Ok as Reply},
    routes::{Tag, page},
    time::Timestamp,
};

/// The operations.
pub struct TenantDomainsApi;

#[OpenApi(prefix_path = "/v1/tenant/domains", tag = "Tag::Settings")]
impl TenantDomainsApi {
    /// Claim a domain
    ///
    /// It names the tenant once it is proven: publish `dns_record`, then have it verified. Takes `settings:write`.
    #[oai(path = "/", method = "post", operation_id = "createDomain")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsWrite>,
        origin: ClientOrigin,
        body: Json<CreateDomainRequest>,
    ) -> ApiResult<Created<DomainView>, (Permitted, Input, Conflict)> {
        let created = domain::create(&auth.context, &caller, &origin, &body.0.domain).await?;
        let location = format!("/v1/tenant/domains/{}", created.id);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// List domains
    ///
    /// Newest first. Takes `settings:read`.
    #[oai(path = "/", method = "get", operation_id = "listDomains")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
        /// Rows of a page
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<DomainView>>, (Permitted, Parameters)> {
        let page = page(limit.0, cursor.0.as_deref())?;
        Ok(Reply(List::of(domain::list(&auth.context, &caller, page).await?)))
    }

    /// Get a domain
    ///
    /// Takes `settings:read`.
    #[oai(path = "/:id", method = "get", operation_id = "getDomain")]
    async fn get(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsRead>,
        /// The domain
        id: Path<Uuid>,
    ) -> ApiResult<Reply<DomainView>, (Permitted, NotFound)> {
        let found = domain::get(&auth.context, &caller, DomainId(id.0)).await?;
        Ok(Reply(found.into()))
    }

    /// Verify a domain
    ///
    /// Looks for the record in DNS, without a cache of its own. From then on whoever asks by the domain is in the tenant,
    /// on every process. 409 where the record is not there, or another tenant has proven the domain; 503 where DNS does
    /// not answer. Takes `settings:write`.
    #[oai(path = "/:id/verify", method = "post", operation_id = "verifyDomain")]
    async fn verify(
        &self,
        Data(auth): Data<&Auth>,
        Data(dns): Data<&Dns>,
        Permit(caller): Permit<SettingsWrite>,
        origin: ClientOrigin,
        /// The domain
        id: Path<Uuid>,
    ) -> ApiResult<Reply<DomainView>, (Permitted, NotFound, Conflict)> {
        let proven = domain::verify(&auth.context, dns, &caller, &origin, DomainId(id.0)).await?;
        Ok(Reply(proven.into()))
    }

    /// Give a domain up
    ///
    /// It names the tenant no longer. Takes `settings:write`.
    #[oai(path = "/:id", method = "delete", operation_id = "deleteDomain")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<SettingsWrite>,
        origin: ClientOrigin,
        /// The domain
        id: Path<Uuid>,
    ) -> ApiResult<NoContent, (Permitted, NotFound)> {
        domain::delete(&auth.context, &caller, &origin, DomainId(id.0)).await?;
        Ok(NoContent)
    }
}

/// A domain to be claimed.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateDomainRequest {
    /// Two labels or more, without scheme, port and path. International names are taken in either form.
    #[oai(validator(min_length = 3, max_length = 253))]
    domain: String,
}

impl Example for CreateDomainRequest {
    fn example() -> Self {
        Self {
            domain: "login.acme.com".to_owned(),
        }
    }
}

#[derive(Enum)]
#[oai(rename = "DnsRecordType")]
enum RecordTypeView {
    #[oai(rename = "TXT")]
    Txt,
}

/// What DNS must show.
#[derive(Object)]
#[oai(rename = "DnsRecord")]
struct RecordView {
    #[oai(rename = "type")]
    record_type: RecordTypeView,
    name: String,
    value: String,
}

/// A domain of a tenant's own.
#[derive(Object)]
#[oai(rename = "Domain")]
struct DomainView {
    id: Uuid,
    /// As DNS spells it.
    domain: String,
    dns_record: RecordView,
    /// When it was proven; null while it names nobody.
    verified_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<Domain> for DomainView {
    fn from(domain: Domain) -> Self {
        Self {
            id: domain.id.0,
            dns_record: RecordView {
                record_type: RecordTypeView::Txt,
                name: domain.record_name(),
                value: domain.record_value(),
            },
            domain: domain.domain,
            verified_at: domain.verified_at.map(Into::into),
            created_at: domain.created_at.into(),
        }
    }
}

impl From<DomainError> for Failure {
    fn from(error: DomainError) -> Self {
        let field = |code: ProblemCode, word: &str, detail: String| {
            Self::fields(code, vec![FieldError::new("/domain", word, detail)])
        };
        match error {
            DomainError::NotClaimable(why) => {
                let word = match why {
                    NotClaimable::Malformed => "invalid_format",
                    NotClaimable::Reserved => "reserved",
                };
                field(ProblemCode::ValidationFailed, word, why.to_string())
            }
            DomainError::Exists => {
                let detail = "The tenant has this domain already.";
                field(ProblemCode::DomainExists, "taken", detail.to_owned())
            }
            DomainError::LimitReached(limit) => {
                let detail = format!("A tenant has at most {limit} domains.");
                Self::new(ProblemCode::LimitReached, detail)
            }
            DomainError::NotFound => Self::new(ProblemCode::NotFound, "There is no such domain."),
            DomainError::RecordMissing => Self::new(
                ProblemCode::DnsRecordMissing,
                "DNS does not show dns_record; it may take a while until a change is seen everywhere.",
            ),
            DomainError::Taken => Self::new(
                ProblemCode::DomainTaken,
                "Another tenant has proven the domain, and keeps it until it gives it up.",
            ),
            DomainError::Internal(error) => error.into(),
        }
    }
}
