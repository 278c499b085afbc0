//! Rate limits: a handler that takes a [`Limit`] before anything else is called no more often than its class allows.

use std::{
    marker::PhantomData,
    sync::{Arc, OnceLock},
};

use latchkey_shared::limit::{API_KEY, Class, Closed, Scope, Subject, Verdict};
use poem::{FromRequest, Request, RequestBody, Result};

use super::{ClientOrigin, bearer, tenant};
use crate::problem::{Failure, ProblemCode};

/// The request keeps within the limits of its class. To stand before all other parameters: what comes after it costs
/// look-ups and hashes.
pub struct Limit<C>(PhantomData<fn() -> C>);

/// A class of requests as a type.
pub trait LimitClass {
    /// The class.
    const CLASS: Class;
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl LimitClass for $name {
            const CLASS: Class = Class::$name;
        }
    )*};
}

classes! {
    /// Checks a password or a second factor.
    SignIn
    /// Sends mail.
    Mail
    /// Brings a token that nobody can guess.
    Token
}

/// What the limits have said to this request, kept for the headers of its response.
#[derive(Clone, Default)]
pub(crate) struct LimitNote(Arc<OnceLock<Note>>);

/// The limits' name, what they say, and whose standing the client is told.
pub(crate) struct Note {
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) scope: Scope,
}

impl LimitNote {
    pub(crate) fn get(&self) -> Option<&Note> {
        self.0.get()
    }
}

/// What a key's own limit says.
pub(super) fn note_key(request: &Request, verdict: Verdict) {
    let (name, scope) = (API_KEY, Scope::Key);
    if let Some(note) = request.data::<LimitNote>() {
        note.0.get_or_init(|| Note { name, verdict, scope });
    }
}

impl<'a, C: LimitClass> FromRequest<'a> for Limit<C> {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let auth = bearer::auth(request)?;
        let address = request.data::<ClientOrigin>().and_then(|origin| origin.address);
        let subjects: Vec<Subject<'_>> = [
            address.map(Subject::Address),
            tenant::remembered(request, auth)
                .map(|tenant| Subject::Tenant(tenant.id, tenant.rate_limits.of(C::CLASS))),
        ]
        .into_iter()
        .flatten()
        .collect();
        let judged = auth.context.limits.judge(C::CLASS, &subjects).await;
        let verdict = judged
            .map_err(|Closed| Failure::new(ProblemCode::Unavailable, "The service cannot answer now."))?;
        let refused = verdict.refused_for();
        if let Some(note) = request.data::<LimitNote>() {
            let (name, scope) = (C::CLASS.as_str(), Scope::Address);
            note.0.get_or_init(|| Note { name, verdict, scope });
        }
        if let Some(wait) = refused {
            return Err(Failure::too_often(wait).into());
        }
        Ok(Self(PhantomData))
    }
}
