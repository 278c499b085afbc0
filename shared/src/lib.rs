//! The domain of Latchkey, without HTTP.
//!
//! # Layers
//! Each module imports only from layers above its own in this list; a test reads the `use` lines.
//!
//! | layer | modules | what they are |
//! |---|---|---|
//! | 0 | [`cidr`] [`id`] [`principal`] [`clock`] [`random`] [`secret`] [`page`] [`permission`] [`trace`] [`version`] | pure values and rules |
//! | 1 | [`batch`] [`config`] [`crypto`] [`entity`] [`error`] [`limit`] [`memory`] [`open_files`] [`postgres`] [`queue`] [`redis`] [`resolver`] [`signal`] [`telemetry`] [`usage`] | what the domain stands on |
//! | 2 | [`context`] | all of that in one hand, and the one way to change anything |
//! | 3 | [`audit`] [`idempotency`] [`mail`] [`outbox`] [`partition`] [`retention`] [`webhook`] | what follows from a change |
//! | 4 | [`lockout`] [`rbac`] [`service_account`] [`tenant`] [`user`] | who there is |
//! | 5 | [`api_key`] [`device`] [`mfa`] [`session`] [`switch_off`] | what they hold |
//! | 6 | [`auth`] [`seed`] | how they get in |
//! | 7 | [`privacy`] | what is known of them, and how it is forgotten |
//! | 8 | [`administration`] [`diagnosis`] [`health`] [`reseal`] | who decides about others; what an operator asks, and what probes do |
//!
//! A feature folder holds *pure* files named after their concept, a `service.rs` with the verbs (transaction
//! borders, audit, outbox) and a `store.rs` with all the SQL.

pub mod administration;
pub mod api_key;
pub mod audit;
pub mod auth;
pub mod batch;
pub mod cidr;
pub mod clock;
pub mod config;
pub mod context;
pub mod crypto;
pub mod device;
pub mod diagnosis;
pub mod entity;
pub mod error;
pub mod health;
pub mod id;
pub mod idempotency;
pub mod limit;
pub mod lockout;
pub mod mail;
pub mod memory;
pub mod mfa;
pub mod open_files;
pub mod outbox;
pub mod page;
pub mod partition;
pub mod permission;
pub mod postgres;
pub mod principal;
pub mod privacy;
pub mod queue;
pub mod random;
pub mod rbac;
pub mod redis;
pub mod reseal;
pub mod resolver;
pub mod retention;
pub mod secret;
pub mod seed;
pub mod service_account;
pub mod session;
pub mod signal;
pub mod switch_off;
pub mod telemetry;
pub mod tenant;
pub mod trace;
pub mod usage;
pub mod user;
pub mod version;
pub mod webhook;

/// Of all programs of the workspace. A request makes many small allocations, often freed by another thread than made
/// them, and this allocator costs it less than the C library's does (`cargo bench --bench key_verify` shows how much).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
