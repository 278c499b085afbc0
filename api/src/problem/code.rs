//! Every problem there is: a stable word, its status and its title.

use poem::http::StatusCode;
use poem_openapi::Enum;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident $status:ident $title:literal)*) => {
        /// A stable word for what went wrong; clients may branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
        #[oai(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[doc = $doc])* $variant,)*
        }

        impl ProblemCode {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The HTTP status it goes with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                }
            }

            /// The same words in each response.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    MalformedJson BAD_REQUEST "The body is not JSON"
    /// A path, query or header parameter cannot be read.
    InvalidParameter BAD_REQUEST "A parameter cannot be read"
    /// The cursor is not one that a list returned.
    InvalidCursor BAD_REQUEST "The cursor cannot be read"
    /// Neither header nor host names a tenant, and there is no default.
    TenantRequired BAD_REQUEST "The request names no tenant"
    /// Header and host name two tenants.
    TenantConflict BAD_REQUEST "The request names two tenants"
    /// The request cannot be understood as HTTP asks for it.
    BadRequest BAD_REQUEST "The request cannot be read"
    /// A one-time token is unknown, used, expired or superseded.
    InvalidToken BAD_REQUEST "The token is not valid"
    /// There is no credential, or it is forged, expired or revoked.
    Unauthenticated UNAUTHORIZED "A valid credential is required"
    /// Address and password do not belong together.
    InvalidCredentials UNAUTHORIZED "The e-mail address or the password is wrong"
    /// The code of the second factor is wrong, used or out of its time.
    InvalidCode UNAUTHORIZED "The code is not valid"
    /// The token of the sign-in's first step is unknown, used or expired.
    InvalidMfaToken UNAUTHORIZED "The sign-in has to begin again"
    /// The operation wants a credential to be proven again (RFC 9470).
    ReauthenticationRequired UNAUTHORIZED "Prove your identity again"
    /// The refresh token is unknown, used, expired or revoked.
    InvalidRefreshToken UNAUTHORIZED "The refresh token is not valid"
    /// The caller lacks a permission.
    Forbidden FORBIDDEN "A permission is missing"
    /// Who grants something must hold it.
    Escalation FORBIDDEN "Nobody grants what they do not hold"
    /// The operation is for a signed-in user: an API key does not do.
    SessionRequired FORBIDDEN "A signed-in user is required"
    /// The password is right; the address is yet to be proven.
    EmailNotVerified FORBIDDEN "The e-mail address is not verified"
    /// The tenant wants a second factor, and the account has none yet.
    MfaEnrollmentRequired FORBIDDEN "A second factor must be set up"
    /// The tenant wants a second factor of the account, which keeps the one it has.
    MfaRequired FORBIDDEN "A second factor is required"
    /// The tenant has switched second factors off.
    MfaOff FORBIDDEN "Second factors are switched off"
    /// The tenant takes only those it invites.
    RegistrationClosed FORBIDDEN "Registration is closed"
    /// The tenant is suspended, or to be deleted.
    TenantSuspended FORBIDDEN "The tenant is suspended"
    /// The credential belongs to another tenant than the request names.
    TenantMismatch FORBIDDEN "The credential belongs to another tenant"
    /// There is no such thing in the caller's tenant.
    NotFound NOT_FOUND "Not found"
    /// There is no such route.
    RouteNotFound NOT_FOUND "There is no such route"
    /// The request names a tenant that does not exist.
    TenantNotFound NOT_FOUND "There is no such tenant"
    /// The route takes other methods.
    MethodNotAllowed METHOD_NOT_ALLOWED "The route does not take this method"
    /// The address has an account.
    EmailTaken CONFLICT "The e-mail address has an account"
    /// No second factor waits to be confirmed.
    MfaNotPending CONFLICT "No second factor is being set up"
    /// The account has no second factor.
    MfaNotEnabled CONFLICT "There is no second factor"
    /// The account is the tenant's last owner.
    LastOwner CONFLICT "The last owner stays"
    /// An earlier request with the same `Idempotency-Key` is under way.
    IdempotencyInProgress CONFLICT "The first request is under way"
    /// An earlier request with the same `Idempotency-Key` was carried out, and its answer is not known.
    IdempotencyLost CONFLICT "The answer was lost"
    /// What is built in can be neither changed nor deleted.
    BuiltIn CONFLICT "It is built in"
    /// The tenant's settings name the role among those that need a second factor.
    RoleInPolicy CONFLICT "The settings name the role"
    /// Another one of the tenant has the name.
    NameTaken CONFLICT "The name is taken"
    /// The invitation was accepted, and cannot be taken back.
    InvitationAccepted CONFLICT "The invitation was accepted"
    /// What administrators do to others: the account is the caller's own.
    OwnAccount CONFLICT "The account is your own"
    /// The account is disabled, and takes no part in this.
    AccountDisabled CONFLICT "The account is disabled"
    /// Another user has the external id.
    ExternalIdTaken CONFLICT "The external id is taken"
    /// Another tenant has the slug.
    SlugTaken CONFLICT "The slug is taken"
    /// The platform's own tenant can be neither suspended nor deleted.
    PlatformTenant CONFLICT "The platform's own tenant stays"
    /// The tenant is to be deleted, or being removed.
    TenantDeleted CONFLICT "The tenant is deleted"
    /// The tenant has the domain already.
    DomainExists CONFLICT "The tenant has the domain"
    /// Another tenant has proven the domain.
    DomainTaken CONFLICT "The domain is another tenant's"
    /// DNS does not show the record that proves a domain.
    DnsRecordMissing CONFLICT "The DNS record is not there"
    /// The tenant holds as many of these as it may.
    LimitReached CONFLICT "The limit is reached"
    /// Nothing is sent to the endpoint: it is turned off, or deleted.
    EndpointDisabled CONFLICT "The endpoint is off"
    /// What the event held is gone, and cannot be sent again.
    PayloadErased CONFLICT "The event's payload has been erased"
    /// The API key has ended, or was replaced already.
    ApiKeyNotActive CONFLICT "The API key is not active"
    /// The body is larger than the server takes.
    BodyTooLarge PAYLOAD_TOO_LARGE "The body is too large"
    /// The body is not declared as JSON.
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "The body must be application/json"
    /// What `If-Match` names is not how things stand now (RFC 9110 section 13.1.1).
    PreconditionFailed PRECONDITION_FAILED "It has changed meanwhile"
    /// The operation takes `If-Match` (RFC 6585 section 3).
    PreconditionRequired PRECONDITION_REQUIRED "If-Match is missing"
    /// An earlier request with the same `Idempotency-Key` was another one.
    IdempotencyMismatch UNPROCESSABLE_ENTITY "The key is another request's"
    /// Fields of the body break rules; `errors` names each.
    ValidationFailed UNPROCESSABLE_ENTITY "Fields are not valid"
    /// Too many requests; `Retry-After` says when to come back.
    RateLimited TOO_MANY_REQUESTS "Too many requests"
    /// A fault of the server's own; the request id finds it in the log.
    InternalError INTERNAL_SERVER_ERROR "Something went wrong here"
    /// The server cannot answer now; `Retry-After` says when to come back.
    Unavailable SERVICE_UNAVAILABLE "Try again in a moment"
}
