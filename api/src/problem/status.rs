//! Which statuses an operation can answer with, as types.

/// A list of statuses; tuples are lists of lists.
pub trait Statuses {
    /// The statuses.
    fn list() -> Vec<u16>;
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident $statuses:expr;)*) => {$(
        $(#[$doc])*
        pub struct $name;

        impl Statuses for $name {
            fn list() -> Vec<u16> {
                $statuses.to_vec()
            }
        }
    )*};
}

lists! {
    /// Takes a JSON body.
    Input [400, 413, 415, 422];
    /// Takes parameters.
    Parameters [400];
    /// Finds the tenant in header or host.
    Tenancy [400, 403, 404];
    /// Wants a credential of a signed-in user. A key, which may have a limit of its own, is none.
    SignedIn [400, 401, 403, 404, 429];
    /// Wants a permission, of a signed-in user or of a key, which may have a limit of its own.
    Permitted [400, 401, 403, 404, 429];
    /// Names something that may not be there.
    NotFound [404];
    /// May meet what is there already.
    Conflict [409];
    /// Takes `If-Match`.
    Matched [412, 428];
    /// Is refused to who asks too often.
    Limited [429];
    /// Hashes a password.
    Busy [503];
}

impl Statuses for () {
    fn list() -> Vec<u16> {
        Vec::new()
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        impl<$($name: Statuses),+> Statuses for ($($name,)+) {
            fn list() -> Vec<u16> {
                [$($name::list()),+].concat()
            }
        }
    )*};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) }
