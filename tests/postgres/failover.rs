//! A primary that is replaced by its standby.

use std::thread;
use std::time::{Duration, Instant};

use govstore::{Error, ProcessInfo, Store};
use govstore_testkit::{Cluster, Network, Proxy, TestResult, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::broken::{assert_nothing_lost, storm};
use crate::{durable_cluster, timed, update};

/// A primary with a standby that has caught up.
fn pair(is_synchronous: bool) -> TestResult<Option<(Cluster, Cluster)>> {
    let Some(primary) = durable_cluster(&["synchronous_commit=on"])? else { return Ok(None) };
    let standby = primary.standby()?;
    if is_synchronous {
        primary.with("postgres", |connected| {
            connected.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")?;
            connected.execute("SELECT pg_reload_conf()")
        })?;
        let is_synchronous = || {
            let state = "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
            primary
                .with("postgres", |connected| Ok(!connected.query(state, &[])?.is_empty()))
                .unwrap_or(false)
        };
        wait_until("the standby to be synchronous", is_synchronous);
    }
    Ok(Some((primary, standby)))
}

/// The address of a database on either.
fn either(primary: &Cluster, standby: &Cluster, name: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{name}", primary.port(), standby.port())
}

#[test]
fn clients_follow_a_promoted_standby_and_nothing_acknowledged_is_lost() -> TestResult {
    let rounds: usize = std::env::var("GOVSTORE_FAILOVERS").map_or(Ok(2), |rounds| rounds.parse())?;
    for round in 0..rounds {
        let Some((mut primary, standby)) = pair(true)? else { return Ok(()) };
        let name = primary.make_database()?;
        let address = either(&primary, &standby, &name);
        assert_eq!(Store::open(&address)?.warning(), None, "nothing is lost");
        let (mut promotion, mut gap) = (Duration::ZERO, Duration::ZERO);
        let told = storm(&address, Duration::from_secs(30), || {
            thread::sleep(Duration::from_millis(700));
            if round % 2 == 0 {
                let postmaster = Pid::from_raw(primary.pid()?).ok_or("a PID")?;
                kill_process(postmaster, Signal::KILL)?;
            } else {
                primary.down("immediate")?;
            }
            let began = Instant::now();
            standby.promote()?;
            promotion = began.elapsed();
            let follower = Store::options().lock_timeout(Duration::from_secs(20)).open(&address)?;
            update(&follower, "after")?;
            gap = began.elapsed();
            thread::sleep(Duration::from_millis(700));
            Ok(())
        })?;
        assert!(told.iter().all(|told| told.in_doubt + told.refused == 0), "every doubt was settled");
        let there = assert_nothing_lost(&Store::open(&address)?, &told)?;
        println!(
            "round {round}: {there} updates, promoted in {promotion:?}, the first one there after {gap:?}"
        );
    }
    Ok(())
}

/// What a standby has not received when its primary is lost, is lost, and opening has said that it may be. The numbers of
/// updates go on from what there is.
#[test]
fn without_a_synchronous_standby_what_is_lost_was_warned_of() -> TestResult {
    let Some((primary, standby)) = pair(false)? else { return Ok(()) };
    let name = primary.make_database()?;
    let address = either(&primary, &standby, &name);
    let store = Store::options().lock_timeout(Duration::from_secs(20)).open(&address)?;
    let warning = store.warning().ok_or("nothing was said")?;
    assert!(warning.contains("may be lost"), "{warning}");
    let received = |number: i64| {
        let sql = format!("SELECT 1 FROM agents WHERE total_updates >= {number}");
        standby.with(&name, |connected| Ok(!connected.query(&sql, &[])?.is_empty())).unwrap_or(false)
    };
    // The network between the two is one that can be cut.
    let between = Proxy::to(primary.port())?;
    standby.with("postgres", |connected| {
        let through = format!("host=127.0.0.1 port={} user=postgres", between.port());
        connected.execute(&format!("ALTER SYSTEM SET primary_conninfo = '{through}'"))?;
        connected.execute("SELECT pg_reload_conf()")
    })?;
    wait_until("the standby to follow through it", || {
        let sql =
            format!("SELECT 1 FROM pg_stat_wal_receiver WHERE conninfo LIKE '%port={}%'", between.port());
        standby.with("postgres", |connected| Ok(!connected.query(&sql, &[])?.is_empty())).unwrap_or(false)
    });
    let before = update(&store, "writer")?;
    wait_until("the standby to have that", || received(before));
    between.set(Network::BlackHole);
    let began = Instant::now();
    let mut acknowledged = before;
    while began.elapsed() < Duration::from_secs(1) {
        acknowledged = update(&store, "writer")?;
    }
    kill_process(Pid::from_raw(primary.pid()?).ok_or("a PID")?, Signal::KILL)?;
    standby.promote()?;
    let next = update(&store, "writer")?;
    println!("{acknowledged} were acknowledged, and {} of them are lost", acknowledged - (next - 1));
    assert!(next > before && next <= acknowledged, "{before} {next} {acknowledged}");
    let history = store.history("writer", None)?;
    assert!(history.iter().map(|row| row.update_no).eq(1..=next), "no gap");
    Ok(())
}

/// The old primary lives on beside the new one: to a store that has seen the new one it acknowledges nothing more.
#[test]
fn a_replaced_primary_acknowledges_nothing_to_who_has_seen_its_successor() -> TestResult {
    let Some((primary, standby)) = pair(false)? else { return Ok(()) };
    let name = primary.make_database()?;
    let proxy = Proxy::to(primary.port())?;
    let address = proxy.address(&name);
    let limit = Duration::from_secs(2);
    let store = Store::options().lock_timeout(limit).open(&address)?;
    update(&store, "writer")?;
    let registration = store.register(ProcessInfo::new("test", "1"))?;
    let old_tokens: Vec<i64> = (0..5)
        .map(|_| store.lock_agent("writer", None).map(|lock| lock.token()))
        .collect::<Result<_, _>>()?;
    wait_until("the standby to catch up", || {
        standby
            .with(&name, |connected| {
                Ok(!connected.query("SELECT 1 FROM agent_locks WHERE token >= 1", &[])?.is_empty())
            })
            .unwrap_or(false)
    });
    standby.promote()?;
    proxy.lead_to(standby.port());
    proxy.cut();
    wait_until("the store to have followed", || update(&store, "writer").is_ok());

    // Back to the old one, which knows nothing of it.
    proxy.lead_to(primary.port());
    proxy.cut();
    let outcome = timed(limit, || update(&store, "writer"));
    let Err(error @ Error::Unreachable { .. }) = &outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().contains("it was replaced"), "{error}");
    update(&Store::open(primary.address(&name))?, "writer")?; // which has seen nothing else

    proxy.lead_to(standby.port());
    proxy.cut();
    wait_until("the store to be back", || update(&store, "writer").is_ok());
    let token = store.lock_agent("writer", None)?.token();
    assert!(old_tokens.iter().all(|old| *old < token) && token > 1 << 32, "{token} after {old_tokens:?}");
    drop(registration);
    Ok(())
}
