//! What somebody can do who may write every table, and has no key.

use chrono::TimeDelta;
use latchkey_api::verify::{Known, Outcome};
use latchkey_testing::TestBed;

use super::{seal_all, tamper, tenant, verified, write};
use crate::support::{Api, code_and_text, command};

fn verify(bed: &TestBed, arguments: &[&str]) -> (Option<i32>, String) {
    code_and_text(command(bed, &["audit", "verify"]).args(arguments))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s34_the_command_says_what_there_is_and_exits_accordingly() {
    let bed = TestBed::new().await;
    let api = Api::start(&bed).await;
    let admin = api.admin().await;
    let (acme, _) = api.tenant(&admin, "acme").await;
    // Unsealed rows are no fault while they are young.
    let (code, text) = verify(&bed, &[]);
    assert_eq!(code, Some(0), "{text}");
    seal_all(&api.context).await;
    let rows = api
        .scalar(&format!(
            "SELECT count(*) FROM audit_events WHERE tenant_id = '{acme}'"
        ))
        .await;
    let (code, text) = verify(&bed, &["--tenant", "acme"]);
    let line = format!("{acme} intact length={rows} head=");
    assert!(code == Some(0) && text.contains(&line), "{text}");
    assert!(!text.contains("unsigned"), "{text}");
    let head = format!("SELECT encode(hash, 'hex') FROM audit_chains WHERE tenant_id = '{acme}'");
    assert!(text.contains(&api.scalar_text(&head).await), "{text}");

    let (code, text) = verify(&bed, &["--tenant", "nobody"]);
    assert_eq!(code, Some(2), "{text}");
    let mut without_key = command(&bed, &["audit", "verify"]);
    without_key.env(
        "LATCHKEY__SECRETS__DATA_KEYS",
        "2:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=",
    );
    let (code, text) = code_and_text(&mut without_key);
    assert!(code == Some(2) && text.contains("UNCHECKED"), "{text}");

    // Nobody sealed for longer than the grace: that cannot be told from tampering with the workers.
    write(&api.context, tenant(1), 1).await;
    let (code, text) = verify(&bed, &["--grace", "0"]);
    assert!(code == Some(2) && text.contains("waited for its seal"), "{text}");

    tamper(
        &bed,
        &format!("UPDATE audit_events SET outcome = 'failure' WHERE tenant_id = '{acme}'"),
    )
    .await;
    let (code, text) = verify(&bed, &[]);
    assert!(
        code == Some(1) && text.contains(&format!("{acme} TAMPERED: row ")),
        "{text}"
    );
    let (code, _) = verify(&bed, &["--tenant", "platform"]);
    assert_eq!(code, Some(0));
}

/// What is done to the rows of tenant `{t}`, which has ten sealed ones and two that wait; `{o}` is another one. `@n`
/// stands for the row that was sealed as the nth. With what is found.
const TAMPERINGS: &[(&str, &str)] = &[
    ("UPDATE audit_events SET action = 'test.undone' WHERE id = @4", "was altered"),
    ("UPDATE audit_events SET detail = '{}' WHERE id = @4", "was altered"),
    ("UPDATE audit_events SET detail = jsonb_set(detail, '{words,of}', '\"b\"') WHERE id = @10", "was altered"),
    ("UPDATE audit_events SET detail = '1e400' WHERE id = @10", "was altered"),
    ("UPDATE audit_events SET actor_kind = 'user', actor_id = target_id WHERE id = @1", "was altered"),
    ("UPDATE audit_events SET created_at = created_at - interval '1 microsecond' WHERE id = @4", "was altered"),
    ("UPDATE audit_events SET target_id = NULL, target_kind = NULL WHERE id = @4", "was altered"),
    ("UPDATE audit_events SET address = '192.0.2.1' WHERE id = @4", "was altered"),
    ("UPDATE audit_events SET mac = (SELECT mac FROM audit_events WHERE id = @5) WHERE id = @4", "was altered"),
    ("UPDATE audit_events SET mac = NULL, mac_key = NULL, outcome = 'failure' WHERE id = @4", "was inserted"),
    ("UPDATE audit_events SET mac_key = '7' WHERE id = @4", "was inserted"),
    ("UPDATE audit_events SET id = gen_random_uuid() WHERE id = @4", "sealed at 4, was removed"),
    ("UPDATE audit_events SET tenant_id = '{o}' WHERE id = @4", "sealed at 4, was removed"),
    ("DELETE FROM audit_events WHERE id = @4", "sealed at 4, was removed"),
    ("DELETE FROM audit_events WHERE tenant_id = '{t}'", "sealed at 1, was removed"),
    ("DELETE FROM audit_events WHERE id = @4; DELETE FROM audit_seals WHERE tenant_id = '{t}' AND seq = 4",
     "the seal at 4 was removed"),
    ("DELETE FROM audit_events WHERE id = @4; DELETE FROM audit_seals WHERE tenant_id = '{t}' AND seq = 4;
      UPDATE audit_seals SET seq = 4 WHERE tenant_id = '{t}' AND seq = 5;
      UPDATE audit_seals SET seq = 5 WHERE tenant_id = '{t}' AND seq = 6", "the seal at 4, of row"),
    ("DELETE FROM audit_events WHERE id IN (@9, @10); DELETE FROM audit_seals WHERE tenant_id = '{t}' AND seq > 8",
     "the seals after 8 were removed; there were 10"),
    ("DELETE FROM audit_events WHERE id IN (@9, @10); DELETE FROM audit_seals WHERE tenant_id = '{t}' AND seq > 8;
      UPDATE audit_chains c SET length = 8, hash = s.hash FROM audit_seals s
      WHERE c.tenant_id = '{t}' AND s.tenant_id = '{t}' AND s.seq = 8", "the end of the chain"),
    ("DELETE FROM audit_chains WHERE tenant_id = '{t}'", "the end of the chain"),
    ("UPDATE audit_chains SET length = 9 WHERE tenant_id = '{t}'", "the end of the chain"),
    ("UPDATE audit_chains SET mac = (SELECT mac FROM audit_chains WHERE tenant_id = '{o}') WHERE tenant_id = '{t}'",
     "the end of the chain"),
    ("UPDATE audit_seals SET seq = 1000 WHERE tenant_id = '{t}' AND seq = 4;
          UPDATE audit_seals SET seq = 4 WHERE tenant_id = '{t}' AND seq = 5;
          UPDATE audit_seals SET seq = 5 WHERE tenant_id = '{t}' AND seq = 1000",
     "the seal at 4, of row"),
    ("UPDATE audit_seals SET hash = sha256(hash) WHERE tenant_id = '{t}' AND seq = 10", "the seal at 10, of row"),
    ("UPDATE audit_seals SET sealed_at = sealed_at - interval '1 day' WHERE tenant_id = '{t}' AND seq = 4",
     "the seal at 4, of row"),
    ("INSERT INTO audit_seals SELECT tenant_id, 11, gen_random_uuid(), key_id, hash, sealed_at FROM audit_seals
      WHERE tenant_id = '{t}' AND seq = 10", "the end of the chain"),
    // Behind the name of a key that nobody has, for which the chain's end or a link cannot be told.
    ("UPDATE audit_chains SET key_id = 'x' WHERE tenant_id = '{t}';
      UPDATE audit_events SET outcome = 'failure' WHERE id = @4", "was altered"),
    ("UPDATE audit_seals SET key_id = 'x' WHERE tenant_id = '{t}' AND seq = 2;
      UPDATE audit_events SET outcome = 'failure' WHERE id = @4", "was altered"),
    ("UPDATE audit_seals SET key_id = 'x' WHERE tenant_id = '{t}' AND seq = 4; DELETE FROM audit_events WHERE id = @4",
     "sealed at 4, was removed"),
    ("UPDATE audit_chains SET key_id = 'x' WHERE tenant_id = '{t}';
      UPDATE audit_events SET outcome = 'failure' WHERE id = (SELECT audit_id FROM audit_unsealed WHERE tenant_id = '{t}'
      LIMIT 1)", "was altered"),
    // Rows that were never ours, queued as any.
    ("INSERT INTO audit_events (id, tenant_id, created_at, actor_kind, action, outcome, detail)
      SELECT gen_random_uuid(), tenant_id, created_at, actor_kind, action, outcome, detail FROM audit_events WHERE id = @4",
     "was inserted"),
    ("INSERT INTO audit_events SELECT r.* FROM audit_events e, jsonb_populate_record(NULL::audit_events,
          to_jsonb(e) || jsonb_build_object('id', gen_random_uuid())) r WHERE e.id = @4", "was altered, or made"),
    ("INSERT INTO audit_events SELECT r.* FROM audit_events e, jsonb_populate_record(NULL::audit_events,
          to_jsonb(e) || jsonb_build_object('id', gen_random_uuid(), 'mac_key', 'x')) r WHERE e.id = @4", "was inserted"),
    // Around the queue, into the future.
    ("ALTER TABLE audit_events DISABLE TRIGGER USER;
      INSERT INTO audit_events (id, tenant_id, created_at, actor_kind, action, outcome, detail)
      VALUES (gen_random_uuid(), '{t}', '2099-01-01', 'system', 'test.done', 'success', '{}');
      ALTER TABLE audit_events ENABLE TRIGGER USER", "was inserted"),
    // What waits.
    ("UPDATE audit_events SET outcome = 'failure' WHERE id = (SELECT audit_id FROM audit_unsealed WHERE tenant_id = '{t}'
      LIMIT 1)", "was altered"),
    ("DELETE FROM audit_events WHERE id = (SELECT audit_id FROM audit_unsealed WHERE tenant_id = '{t}' LIMIT 1)",
     "was removed before it was sealed"),
    ("DELETE FROM audit_unsealed WHERE tenant_id = '{t}'", "was kept from being sealed"),
];

fn statements(sql: &str, number: usize) -> String {
    let of = tenant(number as u128 + 1);
    let mut sql = sql
        .replace("{t}", &of.to_string())
        .replace("{o}", &tenant(999).to_string());
    for seq in (1..=10).rev() {
        let row = format!("(SELECT audit_id FROM audit_seals WHERE tenant_id = '{of}' AND seq = {seq})");
        sql = sql.replace(&format!("@{seq}"), &row);
    }
    sql
}

/// A tenant for each of the tamperings, and one that is left alone.
async fn furnish(bed: &TestBed) {
    let tenants = (1..=TAMPERINGS.len() as u128).chain([999]);
    for number in tenants.clone() {
        write(&bed.context, tenant(number), 10).await;
    }
    seal_all(&bed.context).await;
    for number in tenants {
        write(&bed.context, tenant(number), 2).await;
    }
}

fn line_of(printed: &str, number: u128) -> &str {
    let of = tenant(number).to_string();
    printed
        .lines()
        .find(|line| line.starts_with(&of))
        .unwrap_or_default()
}

#[tokio::test]
async fn s34_whatever_is_done_to_the_trail_shows() {
    let bed = TestBed::new().await;
    furnish(&bed).await;
    let (outcome, printed) = verified(&bed.context, Known::default()).await;
    assert_eq!(outcome, Outcome::Intact, "{printed}");
    for (number, (sql, _)) in TAMPERINGS.iter().enumerate() {
        // Rows are named by what the tables held before.
        tamper(&bed, &statements(sql, number)).await;
    }
    bed.clock.advance(TimeDelta::seconds(90));
    write(&bed.context, tenant(999), 1).await;
    let (outcome, printed) = verified(&bed.context, Known::default()).await;
    assert_eq!(outcome, Outcome::Tampered);
    let mut faults = Vec::new();
    for (number, (sql, expected)) in TAMPERINGS.iter().enumerate() {
        let line = line_of(&printed, number as u128 + 1);
        if !line.contains("TAMPERED") || !line.contains(expected) {
            faults.push(format!("{sql}: {line:?}, not {expected}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    println!("{} ways of tampering were found", TAMPERINGS.len());
}

#[tokio::test]
async fn s34_it_still_shows_after_the_workers_have_gone_on() {
    let bed = TestBed::new().await;
    furnish(&bed).await;
    for (number, (sql, _)) in TAMPERINGS.iter().enumerate() {
        tamper(&bed, &statements(sql, number)).await;
        // One by one: some chains cannot be continued.
        for _ in 0..2 {
            let _ = latchkey_shared::audit::seal(&bed.context, &[tenant(number as u128 + 1)], 100).await;
        }
    }
    latchkey_shared::audit::seal(&bed.context, &[tenant(999)], 100)
        .await
        .unwrap();
    bed.clock.advance(TimeDelta::seconds(90));
    let (outcome, printed) = verified(&bed.context, Known::default()).await;
    assert_eq!(outcome, Outcome::Tampered);
    for (number, (sql, _)) in TAMPERINGS.iter().enumerate() {
        let line = line_of(&printed, number as u128 + 1);
        assert!(line.contains("TAMPERED"), "{sql}: {line:?}");
    }
}

#[tokio::test]
async fn s34_an_untouched_trail_beside_tampered_ones_is_intact() {
    let bed = TestBed::new().await;
    for number in [1, 2] {
        write(&bed.context, tenant(number), 3).await;
    }
    seal_all(&bed.context).await;
    tamper(
        &bed,
        &format!("DELETE FROM audit_events WHERE tenant_id = '{}'", tenant(1)),
    )
    .await;
    let (_, printed) = verified(&bed.context, Known::default()).await;
    assert!(line_of(&printed, 1).contains("TAMPERED"), "{printed}");
    assert!(line_of(&printed, 2).contains("intact length=3"), "{printed}");
}

/// Has the chain end where it did when the table `old_head` was made, after five rows.
async fn set_back(bed: &TestBed, number: u128) {
    let t = tenant(number);
    let sql = format!(
        "DELETE FROM audit_events WHERE id IN (SELECT audit_id FROM audit_seals WHERE tenant_id = '{t}' AND seq > 5);
         DELETE FROM audit_seals WHERE tenant_id = '{t}' AND seq > 5;
         DELETE FROM audit_chains WHERE tenant_id = '{t}';
         INSERT INTO audit_chains SELECT * FROM old_head WHERE tenant_id = '{t}'"
    );
    tamper(bed, &sql).await;
}

#[tokio::test]
async fn s34_a_database_that_was_set_back_shows_against_an_earlier_run() {
    let bed = TestBed::new().await;
    for number in [1, 2, 3] {
        write(&bed.context, tenant(number), 5).await;
    }
    seal_all(&bed.context).await;
    tamper(&bed, "CREATE TABLE old_head AS SELECT * FROM audit_chains").await;
    write(&bed.context, tenant(1), 5).await;
    seal_all(&bed.context).await;
    let (_, noted) = verified(&bed.context, Known::default()).await;
    let against = || Known::read(&noted).unwrap();
    assert_eq!(verified(&bed.context, against()).await.0, Outcome::Intact);
    write(&bed.context, tenant(2), 5).await;
    seal_all(&bed.context).await;
    assert_eq!(verified(&bed.context, against()).await.0, Outcome::Intact);

    // One chain ends where it once ended, and of one nothing is left at all.
    set_back(&bed, 1).await;
    tamper(
        &bed,
        &format!(
            "DELETE FROM audit_events WHERE tenant_id = '{u}'; DELETE FROM audit_seals WHERE tenant_id = '{u}';
             DELETE FROM audit_chains WHERE tenant_id = '{u}'",
            u = tenant(3)
        ),
    )
    .await;
    assert_eq!(verified(&bed.context, Known::default()).await.0, Outcome::Intact);
    let (outcome, printed) = verified(&bed.context, against()).await;
    assert_eq!(outcome, Outcome::Tampered);
    for number in [1, 3] {
        assert!(line_of(&printed, number).contains("it was set back"), "{printed}");
    }
    // What is said of them holds against a later run as well, and one after that.
    let (_, again) = verified(&bed.context, Known::read(&printed).unwrap()).await;
    let (_, later) = verified(&bed.context, Known::read(&again).unwrap()).await;
    for number in [1, 3] {
        assert!(line_of(&again, number).contains("it was set back"), "{again}");
        assert_eq!(line_of(&later, number), line_of(&again, number));
    }
    // Nor does it help to name a key that nobody has, for which the end cannot be told.
    let unknown = format!(
        "UPDATE audit_chains SET key_id = 'x' WHERE tenant_id = '{}'",
        tenant(1)
    );
    tamper(&bed, &unknown).await;
    let (_, printed) = verified(&bed.context, Known::default()).await;
    assert!(line_of(&printed, 1).contains("UNCHECKED"), "{printed}");
    let (_, printed) = verified(&bed.context, against()).await;
    assert!(line_of(&printed, 1).contains("it was set back"), "{printed}");
    let known = unknown.replace("'x'", "(SELECT key_id FROM old_head LIMIT 1)");
    tamper(&bed, &known).await;
    // Grown again to its old length, it is another one.
    write(&bed.context, tenant(1), 5).await;
    seal_all(&bed.context).await;
    let (_, printed) = verified(&bed.context, against()).await;
    assert!(line_of(&printed, 1).contains("it was set back"), "{printed}");
}

#[tokio::test]
async fn s34_what_is_compared_with_is_the_whole_of_what_was_printed() {
    let bed = TestBed::new().await;
    let (outcome, nothing) = verified(&bed.context, Known::default()).await;
    assert_eq!(outcome, Outcome::Intact);
    Known::read(&nothing).expect("a platform without a trail has been verified");
    write(&bed.context, tenant(1), 5).await;
    seal_all(&bed.context).await;
    let (_, printed) = verified(&bed.context, Known::default()).await;
    Known::read(&printed).unwrap();
    let cut_off = printed.lines().next().unwrap();
    for text in [
        "",
        "\n",
        cut_off,
        &format!("{printed}\nIt is well."),
        &format!("It is well.\n{printed}"),
    ] {
        let error = Known::read(text).expect_err(text).to_string();
        assert!(error.starts_with("--against: "), "{error}");
    }
}

#[tokio::test]
async fn s34_the_name_of_a_key_is_not_taken_for_what_an_earlier_run_has_seen() {
    let bed = TestBed::new().await;
    let names = [(1, "a length=0 head=0 waiting=0 b"), (2, "a sealed rows: b")];
    for (number, _) in names {
        write(&bed.context, tenant(number), 5).await;
    }
    seal_all(&bed.context).await;
    tamper(&bed, "CREATE TABLE old_head AS SELECT * FROM audit_chains").await;
    for (number, _) in names {
        write(&bed.context, tenant(number), 5).await;
    }
    seal_all(&bed.context).await;
    for (number, name) in names {
        let of = tenant(number);
        tamper(
            &bed,
            &format!("UPDATE audit_chains SET key_id = '{name}' WHERE tenant_id = '{of}'"),
        )
        .await;
    }
    let (outcome, noted) = verified(&bed.context, Known::default()).await;
    assert_eq!(outcome, Outcome::Unchecked, "{noted}");
    let cut_off = noted.trim_end().rsplit_once('\n').unwrap().0;
    assert!(line_of(cut_off, 2).contains("sealed rows:"), "{noted}");
    assert!(Known::read(cut_off).is_err(), "it is not the whole");
    for (number, _) in names {
        set_back(&bed, number).await;
    }
    let (_, printed) = verified(&bed.context, Known::read(&noted).unwrap()).await;
    for (number, _) in names {
        assert!(line_of(&printed, number).contains("it was set back"), "{printed}");
    }
}
