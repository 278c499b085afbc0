//! How and when the user of a session proved to be that user.
//!
//! Access tokens tell it, and a refresh changes nothing of it: only a credential that is proven again does.

use chrono::{DateTime, Utc};
use sea_orm::DbErr;

use super::{Method, lifetime::Lifetime, store};
use crate::{context::Change, id::SessionId, tenant::SessionPolicy};

/// The claim `acr` of who has proven both factors: a level of NIST SP 800-63B section 4.
pub(crate) const BOTH_FACTORS: &str = "aal2";
const ONE_FACTOR: &str = "aal1";

/// How and when the user of a session proved to be that user.
#[derive(Clone, Debug)]
pub struct Proof {
    /// When, for the last time.
    pub at: DateTime<Utc>,
    /// How.
    pub methods: Vec<Method>,
}

impl Proof {
    /// From the session's row.
    pub(super) fn read(at: DateTime<Utc>, methods: &[String]) -> Self {
        Self {
            at,
            methods: methods.iter().filter_map(|word| Method::parse(word)).collect(),
        }
    }

    /// The claim `amr` (RFC 8176 section 2): `mfa` says that more than one factor was proven.
    pub(crate) fn amr(&self) -> Vec<String> {
        let mfa = self.is_of_two_factors().then_some("mfa");
        let words = self.methods.iter().map(|method| method.as_str());
        words.chain(mfa).map(str::to_owned).collect()
    }

    /// The claim `acr`: the level of NIST SP 800-63B section 4.
    pub(crate) fn acr(&self) -> &'static str {
        if self.is_of_two_factors() {
            BOTH_FACTORS
        } else {
            ONE_FACTOR
        }
    }

    fn is_of_two_factors(&self) -> bool {
        let second = |method: &Method| matches!(method, Method::Totp | Method::RecoveryCode);
        self.methods.contains(&Method::Password) && self.methods.iter().any(second)
    }
}

/// Notes that the session's user has just proven all that is asked of the account; when the session ends unless it is
/// refreshed before, or nothing if it has ended.
pub(crate) async fn prove_again(
    change: &Change<'_>,
    policy: &SessionPolicy,
    id: SessionId,
    proof: &Proof,
) -> Result<Option<DateTime<Utc>>, DbErr> {
    let words = words(&proof.methods);
    let lifetime = Lifetime::of(&change.context.config.tokens, policy);
    let span = store::set_proof(&change.tx, change.tenant, id, words, Some(proof.at), change.now).await?;
    let ends_at = span.map(|span| span.usable_until(&lifetime));
    Ok(ends_at.filter(|ends_at| *ends_at > change.now))
}

/// Notes that the session's user, who had proven the password, has set up a second factor by one of its codes; nothing
/// if the session has ended.
pub(crate) async fn second_factor_added(change: &Change<'_>, id: SessionId) -> Result<Option<()>, DbErr> {
    let words = words(&[Method::Password, Method::Totp]);
    let live = store::set_proof(&change.tx, change.tenant, id, words, None, change.now).await?;
    Ok(live.map(drop))
}

fn words(methods: &[Method]) -> Vec<String> {
    methods.iter().map(|method| method.as_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(words: &[&str]) -> (Vec<String>, &'static str) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let proof = Proof::read(DateTime::UNIX_EPOCH, &words);
        (proof.amr(), proof.acr())
    }

    #[test]
    fn two_factors_are_told_from_one() {
        assert_eq!(claims(&["pwd"]), (vec!["pwd".to_owned()], "aal1"));
        assert_eq!(claims(&["pwd", "otp"]).0, ["pwd", "otp", "mfa"]);
        assert_eq!(claims(&["pwd", "recovery"]).1, "aal2");
        assert_eq!(claims(&["otp"]).1, "aal1");
        assert_eq!(claims(&["pwd", "from a newer version"]).1, "aal1");
    }
}
