//! Opening: several at once, and what is no database of ours.

use std::process::Command;
use std::sync::Barrier;
use std::thread;

use govstore::{Error, Store};
use govstore_testkit::{Cluster, TestResult, govstore};

use crate::{database, update};

#[test]
fn eight_that_set_a_database_up_at_once_make_one_schema() -> TestResult {
    const OPENERS: usize = 8;
    for _ in 0..5 {
        let Some(database) = database()? else { return Ok(()) };
        let (together, address) = (Barrier::new(OPENERS), database.address());
        thread::scope(|scope| {
            let openers: Vec<_> = (0..OPENERS)
                .map(|n| {
                    let (together, address) = (&together, &address);
                    scope.spawn(move || {
                        together.wait();
                        Store::open(address).and_then(|store| update(&store, &format!("agent-{n}")))
                    })
                })
                .collect();
            for opener in openers {
                assert_eq!(opener.join().expect("no panic").expect("opened"), 1);
            }
        });
        assert_eq!(database.count("SELECT count(*) FROM govstore_schema")?, 1);
        assert_eq!(database.count("SELECT count(*) FROM agents")?, 8);
    }
    Ok(())
}

#[test]
fn a_newer_schema_is_refused_in_a_sentence() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    drop(database.store()?);
    database.execute("INSERT INTO govstore_schema VALUES (99, now())")?;
    let refused = database.store().expect_err("it is newer");
    assert!(matches!(refused, Error::SchemaTooNew { found: 99, .. }), "{refused}");
    assert!(refused.to_string().contains("upgrade govstore"), "{refused}");
    Ok(())
}

#[test]
fn a_database_of_another_application_is_left_alone() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    database.execute("CREATE TABLE invoices (n bigint)")?;
    let refused = database.store().expect_err("it is somebody else's");
    assert!(matches!(refused, Error::OtherDatabase { .. }), "{refused}");
    assert!(refused.to_string().contains("invoices"), "{refused}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(database.count(tables)?, 1, "nothing was made");
    Ok(())
}

#[test]
fn one_that_is_not_set_up_is_not_made_by_mistake() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let refused = Store::options().create(false).open(database.address()).expect_err("there is none");
    assert!(matches!(refused, Error::NoDatabase { .. }), "{refused}");
    Ok(())
}

/// The roles of the script in `migrations/postgres/roles.sql`.
#[test]
fn each_role_may_do_what_it_is_for() -> TestResult {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let name = cluster.make_database()?;
    let roles = include_str!("../../migrations/postgres/roles.sql").replace("govstore_", &format!("{name}_"));
    let as_role = |role: &str| cluster.address(&name).replace("postgres@", &format!("{name}_{role}@"));
    cluster.with(&name, |connected| connected.execute(&roles))?;
    cluster.with(&name, |connected| {
        connected.execute(&format!(
            "ALTER ROLE {name}_owner LOGIN; ALTER ROLE {name}_app LOGIN; ALTER ROLE {name}_reader LOGIN;
             GRANT CREATE ON SCHEMA public TO {name}_owner"
        ))
    })?;
    let early = Store::open(as_role("app")).expect_err("there is no schema, and it may make none");
    assert!(matches!(early, Error::MayNotMigrate { .. }), "{early}");

    let owner = Store::open(as_role("owner"))?;
    update(&owner, "writer")?;
    cluster.with(&name, |connected| connected.execute(&roles))?; // again, now that there are tables
    let app = Store::open(as_role("app"))?;
    assert_eq!(update(&app, "writer")?, 2);
    let _registration = app.register(govstore::ProcessInfo::new("test", "1"))?;
    app.pause("writer", None)?;
    let ddl = cluster.with(&name, |connected| {
        connected.execute(&format!("SET ROLE {name}_app; CREATE TABLE mine (n bigint)"))
    });
    assert!(ddl.is_err(), "the app makes no tables");
    let reader = Store::open(as_role("reader"))?;
    assert_eq!(reader.health()?.paused, 1);
    let refused = update(&reader, "tester").expect_err("it only reads");
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    Ok(())
}

#[test]
fn a_password_is_in_no_message_and_a_wrong_address_has_its_sentence() {
    for (address, said) in [
        ("postgres://u:geheim@127.0.0.1:1/g", "cannot reach postgres://u@127.0.0.1:1/g"),
        ("postgres://u:geheim@127.0.0.1/g?sslmode=maybe", "sslmode is"),
        ("postgres://u:geheim@127.0.0.1/g?sslrootcert=/no/such&sslmode=verify-full", "/no/such"),
        ("mysql://u:geheim@h/g", "mysql://…"),
    ] {
        let limit = std::time::Duration::from_millis(300);
        let refused = Store::options().lock_timeout(limit).open(address).expect_err(address);
        for text in [refused.to_string(), format!("{refused:?}")] {
            assert!(!text.contains("geheim"), "{text}");
        }
        assert!(refused.to_string().contains(said), "{refused}");
    }
}

#[test]
fn a_self_test_works_beside_what_is_there_and_leaves_nothing() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    update(&database.store()?, "writer")?;
    let output = Command::new(govstore()).args(["--db", &database.address(), "selftest"]).output()?;
    let said = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && said.matches("PASS").count() == 4, "{said}");
    assert_eq!(database.count("SELECT count(*) FROM agents")?, 1);
    assert_eq!(database.count("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'govstore%'")?, 0);
    Ok(())
}

#[test]
fn every_column_says_what_it_holds() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    drop(database.store()?);
    let silent = database.rows(
        "SELECT c.relname::text, a.attname::text FROM pg_class AS c
         LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v')
           AND (obj_description(c.oid) IS NULL OR col_description(c.oid, a.attnum) IS NULL)",
    )?;
    assert!(silent.is_empty(), "{silent:?}");
    Ok(())
}
