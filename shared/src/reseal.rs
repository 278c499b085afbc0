//! Sealing anew, under the ring's current data key, what another key of the ring has sealed: so that a key can go.
//!
//! Each table is walked along its key, a page to a transaction. What is still under another key is held, opened, and
//! written back sealed. Rows that somebody else holds are left to a later pass: nobody waits for this, and this waits for
//! nobody. Passes follow until one finds nothing, because a row may be written behind the place that a pass has reached.
//! So it runs beside everything else, may be stopped at any time, and begins anew as if it had not been.
//!
//! The ends of the audit trail's chains are signed anew as well: no worker goes on after an end whose key is gone. The
//! trail's rows and links are not; they stay as they were signed.
//!
//! What must never happen: that a value which was changed meanwhile is written over; that one which does not open is lost.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, Statement, Value};
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    audit::{self, Record},
    context::Context,
    crypto::seal::{self, open, seal},
    error::Internal,
    id::TenantId,
    postgres::CrossTenant,
    principal::{Actor, Origin},
    tenant::{PLATFORM_SLUG, store},
};

/// So many rows a transaction looks at.
const ROWS: u32 = 200;
/// So often all tables are walked at most.
const PASSES: u32 = 20;
/// Whoever holds a row lets it go soon.
const PAUSE: Duration = Duration::from_millis(500);

/// How a table's rows are walked and found again.
struct Key {
    columns: &'static str,
    /// Its value as text.
    text: &'static str,
    /// The value that a text, which stands at each `?`, is of.
    value: &'static str,
}

const ID: Key = Key {
    columns: "id",
    text: "id::text",
    value: "?::uuid",
};
const TENANT_AND_KEY: Key = Key {
    columns: "(tenant_id, key)",
    text: "tenant_id::text || ' ' || key::text",
    value: "(split_part(?, ' ', 1)::uuid, split_part(?, ' ', 2)::bytea)",
};

impl Key {
    fn order(&self) -> &'static str {
        self.columns.trim_matches(['(', ')'])
    }

    /// The key, compared with what the text says.
    fn compared(&self, by: &str, text: &str) -> String {
        format!("{} {by} {}", self.columns, self.value.replace('?', text))
    }
}

/// A column of sealed values. Nothing and the empty value are none.
pub(crate) struct Column {
    /// The table.
    pub(crate) table: &'static str,
    /// The column.
    pub(crate) name: &'static str,
    key: Key,
    /// The column of the id that a row is called by.
    called: &'static str,
    /// The column of the id that the value is sealed for.
    bound: &'static str,
}

/// All of them. A former secret is a copy of an endpoint's: those are walked first.
pub(crate) const COLUMNS: [Column; 6] = [
    column("webhook_endpoints", "sealed_secret"),
    column("webhook_endpoints", "sealed_headers"),
    Column {
        bound: "endpoint_id",
        ..column("webhook_former_secrets", "sealed_secret")
    },
    column("totp_factors", "sealed"),
    column("mails", "sealed"),
    Column {
        key: TENANT_AND_KEY,
        called: "claim",
        bound: "claim",
        ..column("idempotency_keys", "sealed")
    },
];

/// Of a table whose rows are named by their `id`.
const fn column(table: &'static str, name: &'static str) -> Column {
    Column {
        table,
        name,
        key: ID,
        called: "id",
        bound: "id",
    }
}

/// Whether the value in the column begins as those do that the current key has sealed.
fn is_current(column: &str, beginning: &str) -> String {
    format!("substring({column} FROM 1 FOR length({beginning})) = {beginning}")
}

impl Column {
    /// What a page after `$1` holds; `$2` is how a value under the current key begins.
    fn look(&self) -> String {
        let Self { table, name, key, .. } = self;
        let Key { columns, text, .. } = key;
        let (order, after, current) = (key.order(), key.compared(">", "$1"), is_current("sealed", "$2"));
        format!(
            "WITH page AS MATERIALIZED (
                 SELECT {order}, {name} AS sealed FROM {table} WHERE {after} ORDER BY {order} LIMIT {ROWS})
             SELECT count(*) FILTER (WHERE sealed <> '' AND {current}) AS already,
                    count(*) FILTER (WHERE sealed <> '' AND NOT {current}) AS others,
                    (SELECT {text} FROM page ORDER BY {columns} DESC LIMIT 1) AS last
             FROM page"
        )
    }

    /// Holds the page's rows, to `$2`, that are not under the current key, whose values begin with `$3`.
    fn hold(&self) -> String {
        let Self {
            table,
            name,
            key,
            called,
            bound,
        } = self;
        let (order, text, after, to, current) = (
            key.order(),
            key.text,
            key.compared(">", "$1"),
            key.compared("<=", "$2"),
            is_current(name, "$3"),
        );
        format!(
            "SELECT {text} AS place, {called} AS called, {bound} AS bound, {name} AS former FROM {table}
             WHERE {after} AND {to} AND {name} <> '' AND NOT {current}
             ORDER BY {order} FOR NO KEY UPDATE SKIP LOCKED"
        )
    }

    fn put(&self) -> String {
        let Self { table, name, key, .. } = self;
        let found = key.compared("=", "put.place");
        format!(
            "UPDATE {table} SET {name} = put.anew
             FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS put (place, former, anew)
             WHERE {found} AND {name} = put.former"
        )
    }
}

fn statement<const N: usize>(sql: String, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, sql, values)
}

#[derive(FromQueryResult)]
struct Page {
    already: i64,
    others: i64,
    last: Option<String>,
}

#[derive(FromQueryResult)]
struct Held {
    place: String,
    called: Uuid,
    bound: Uuid,
    former: Vec<u8>,
}

/// What became of one column.
#[derive(Clone, Debug)]
pub struct Resealed {
    /// `table.column`.
    pub of: String,
    /// So many values were sealed anew.
    pub anew: u64,
    /// So many were under the current key before.
    pub already: u64,
    /// So many are under another one, because somebody held their rows.
    pub held: u64,
    /// The rows whose values do not open, by their ids; they are as they were.
    pub broken: Vec<Uuid>,
}

impl Resealed {
    fn of(of: impl Into<String>) -> Self {
        Self {
            of: of.into(),
            anew: 0,
            already: 0,
            held: 0,
            broken: Vec::new(),
        }
    }

    fn is_done(&self) -> bool {
        self.anew == 0 && self.held == 0
    }

    /// Goes on with what a later pass has found.
    fn go_on(&mut self, later: Self) {
        self.anew += later.anew;
        self.held = later.held;
        self.broken = later.broken;
    }
}

impl Display for Resealed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            of,
            anew,
            already,
            held,
            broken,
        } = self;
        let count = broken.len();
        write!(
            f,
            "{of}: {anew} sealed anew, {already} were already, {count} do not open, {held} held by others"
        )?;
        broken
            .iter()
            .try_for_each(|id| write!(f, "\n{of}: does not open: {id}"))
    }
}

/// What became of everything.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Column by column.
    pub columns: Vec<Resealed>,
    /// Whether the last pass found nothing to do: what does not open aside, nothing was under another key then.
    pub is_complete: bool,
}

/// Seals anew, under the current data key, whatever another key of the ring has sealed, of all tenants.
///
/// # Errors
/// Only failures inside; what was done until then stays done.
pub async fn reseal(context: &Context) -> Result<Outcome, Internal> {
    let mut run = Run {
        context,
        beginning: seal::beginning(context.config.secrets.data_keys.current())?,
        is_recorded: false,
    };
    let mut columns = run.pass().await?;
    let (mut is_complete, mut is_held) = judged(&columns);
    for _ in 1..PASSES {
        if is_complete {
            break;
        }
        if is_held {
            sleep(PAUSE).await;
        }
        let later = run.pass().await?;
        (is_complete, is_held) = judged(&later);
        for (column, later) in columns.iter_mut().zip(later) {
            column.go_on(later);
        }
    }
    Ok(Outcome { columns, is_complete })
}

/// Whether the pass found nothing to do, and whether it left rows to others.
fn judged(pass: &[Resealed]) -> (bool, bool) {
    (
        pass.iter().all(Resealed::is_done),
        pass.iter().any(|column| column.held > 0),
    )
}

struct Run<'a> {
    context: &'a Context,
    /// Of what the current key has sealed.
    beginning: Vec<u8>,
    is_recorded: bool,
}

impl Run<'_> {
    async fn pass(&mut self) -> Result<Vec<Resealed>, Internal> {
        let mut columns = Vec::with_capacity(COLUMNS.len() + 1);
        for column in &COLUMNS {
            columns.push(self.column(column).await?);
        }
        columns.push(self.chains().await?);
        Ok(columns)
    }

    async fn column(&mut self, column: &Column) -> Result<Resealed, Internal> {
        let mut report = Resealed::of(format!("{}.{}", column.table, column.name));
        let mut after = Uuid::nil().to_string();
        while let Some((others, last)) = self.look(column, &after, &mut report).await? {
            if others > 0 {
                self.record().await?;
                self.exchange(column, [&after, &last], others, &mut report)
                    .await?;
            }
            after = last;
        }
        Ok(report)
    }

    /// How many values of the next page are under another key, and where it ends.
    async fn look(
        &self,
        column: &Column,
        after: &str,
        report: &mut Resealed,
    ) -> Result<Option<(u64, String)>, Internal> {
        let tx = self.context.postgres.cross_tenant(CrossTenant::Reseal).await?;
        let look = statement(column.look(), [after.into(), self.beginning.clone().into()]);
        let page = Page::find_by_statement(look).one(&tx).await?;
        let Some(Page {
            already,
            others,
            last: Some(last),
        }) = page
        else {
            return Ok(None);
        };
        report.already += already.unsigned_abs();
        Ok(Some((others.unsigned_abs(), last)))
    }

    async fn exchange(
        &self,
        column: &Column,
        [after, last]: [&str; 2],
        others: u64,
        report: &mut Resealed,
    ) -> Result<(), Internal> {
        let ring = &self.context.config.secrets.data_keys;
        let tx = self.context.postgres.cross_tenant(CrossTenant::Reseal).await?;
        let beginning = self.beginning.clone();
        let hold = statement(column.hold(), [after.into(), last.into(), beginning.into()]);
        let rows = Held::find_by_statement(hold).all(&tx).await?;
        report.held += others.saturating_sub(rows.len() as u64);
        let (mut places, mut formers, mut anew) =
            (Vec::<String>::new(), Vec::<Vec<u8>>::new(), Vec::<Vec<u8>>::new());
        for row in rows {
            let Held {
                place,
                called,
                bound,
                former,
            } = row;
            let Ok(plain) = open(ring, bound, &former) else {
                report.broken.push(called);
                continue;
            };
            anew.push(seal(ring, bound, plain.expose(), &*self.context.random)?);
            places.push(place);
            formers.push(former);
        }
        if !places.is_empty() {
            let put = statement(column.put(), [places.into(), formers.into(), anew.into()]);
            report.anew += tx.execute_raw(put).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(())
    }

    async fn chains(&mut self) -> Result<Resealed, Internal> {
        let mut report = Resealed::of("audit_chains.mac");
        let mut after = TenantId(Uuid::nil());
        loop {
            let page = audit::ends(self.context, after, ROWS).await?;
            report.already += page.already;
            if !page.others.is_empty() {
                self.record().await?;
                let signed = audit::sign_ends_anew(self.context, &page.others).await?;
                let taken = signed.ends + signed.broken.len() as u64;
                report.held += (page.others.len() as u64).saturating_sub(taken);
                report.anew += signed.ends;
                report.broken.extend(signed.broken.iter().map(|tenant| tenant.0));
            }
            match page.last {
                Some(last) => after = last,
                None => return Ok(report),
            }
        }
    }

    /// Tells the platform's trail, before anything is written: whoever is cut off has told.
    async fn record(&mut self) -> Result<(), Internal> {
        if self.is_recorded {
            return Ok(());
        }
        self.is_recorded = true;
        let (nobody, origin) = (TenantId(Uuid::nil()), Origin::default());
        let mut change = self
            .context
            .cross_tenant_change(CrossTenant::Reseal, nobody, Actor::System, &origin)
            .await?;
        let Some(platform) = store::find_by_slug(&change.tx, PLATFORM_SLUG).await? else {
            return Ok(());
        };
        change.tenant = platform.id;
        let detail = json!({ "data_key": self.context.config.secrets.data_keys.current().id });
        let record = Record::success("platform.reseal", "tenant", platform.id.0, detail);
        audit::record(&change, record).await?;
        change.commit().await?;
        Ok(())
    }
}
