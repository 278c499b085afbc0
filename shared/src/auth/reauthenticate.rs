//! Step-up: someone who is signed in proves every credential of the account again (RFC 9470).

use serde_json::json;

use super::{
    Access, Auth, Caller,
    factor::{FactorError, with_password},
    prove_code::prove_code,
};
use crate::{
    audit::{self, Record},
    mail::{self, Letter, To},
    mfa::{self, Code},
    principal::Origin,
    secret::Secret,
    session::{self, Method, Proof},
};

/// An access token that tells of a proof of just now; the session goes on, and so do its later tokens.
///
/// # Errors
/// [`FactorError::InvalidCode`] also where the account has a second factor and no code was sent.
pub async fn reauthenticate(
    auth: &Auth,
    caller: &Caller,
    origin: &Origin,
    password: Secret<String>,
    code: Option<Code>,
) -> Result<Access, FactorError> {
    let (tenant, session) = (&caller.account.tenant, &caller.session);
    let (mut change, user) = with_password(auth, caller, origin, password).await?;
    let mut methods = vec![Method::Password];
    if let Some(factor) = mfa::hold(&change, user.id).await?.active {
        let code = code.ok_or(FactorError::InvalidCode)?;
        let proven = prove_code(change, tenant, &user, &factor, &code).await?;
        let method;
        (change, method) = proven.ok_or(FactorError::InvalidCode)?;
        if method == Method::RecoveryCode {
            let letter = Letter::RecoveryCodeUsed;
            mail::queue(&mut change, tenant.brand(), To::user(&user), letter).await?;
        }
        methods.push(method);
    }
    let proof = Proof {
        at: change.now,
        methods,
    };
    let ends_at = session::prove_again(&change, &tenant.settings.sessions, session.session, &proof)
        .await?
        .ok_or(FactorError::SessionEnded)?;
    let record = Record::success(
        "session.reauthenticate",
        "session",
        session.session.0,
        json!({ "methods": proof.amr() }),
    );
    audit::record(&change, record).await?;
    let access = auth.access(tenant.id, user.id, session.session, ends_at, &proof, change.now)?;
    change.commit().await?;
    Ok(access)
}
