//! Waiting for a row that somebody else has locked, and for a server that doesn't answer.

use std::thread;
use std::time::Duration;

use govstore::{Cancellation, Error, HolderState, ProcessInfo, Store, Update};
use govstore_testkit::{Cluster, Network, Proxy, Server, TestResult, wait_until};
use rustix::process::Signal;

use crate::{database, timed, update};

const SHORT: Duration = Duration::from_millis(300);

/// A worker inside a transaction that has the agent's row.
fn writer(database: &govstore_testkit::Database) -> Server {
    let mut writer = Server::worker(database, &["the editor"]);
    writer.tell("update tester");
    writer.expect_line("updated");
    writer.tell("write-slowly tester");
    writer.expect_line("inside");
    writer
}

#[test]
fn who_holds_an_agents_row_is_named_and_others_are_in_nobodys_way() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    let mut writer = writer(&database);
    let outcome = timed(SHORT, || update(&store.with_lock_timeout(SHORT), "tester"));
    let Err(error @ Error::LockTimeout { .. }) = &outcome else { panic!("{outcome:?}") };
    let holder = error.holder().ok_or("nobody is named")?;
    assert_eq!((holder.pid, holder.process_id), (writer.pid(), Some(writer.process_id)));
    assert_eq!((holder.name.as_str(), holder.state), ("the editor", HolderState::Running));
    assert_eq!(update(&store, "somebody else")?, 1, "at once");
    writer.tell("");
    writer.expect_line("written");
    assert_eq!(update(&store, "tester")?, 2);
    writer.end();
    Ok(())
}

#[test]
fn a_client_that_is_stopped_inside_its_transaction_holds_nobody_up_for_long() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    let mut writer = writer(&database);
    writer.stop();
    let outcome = timed(SHORT, || update(&store.with_lock_timeout(SHORT), "tester"));
    let Err(error) = outcome else { panic!("{outcome:?}") };
    let said = error.to_string();
    assert!(
        said.contains(&format!("PID {} (the editor", writer.pid())) && said.contains("is stopped"),
        "{said}"
    );
    // The server ends its session after five seconds between two statements.
    let limit = Duration::from_secs(8);
    assert_eq!(timed(limit, || update(&store.with_lock_timeout(limit), "tester"))?, 2);
    writer.signal(Signal::CONT);
    writer.tell("");
    let said = writer.expect_line("failed");
    assert!(said.contains("nothing was changed"), "its own time is over as well: {said}");
    assert_eq!(store.agent("tester")?.notes, "");
    writer.end();
    Ok(())
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_gives_up_at_once() -> TestResult {
    let Some(database) = database()? else { return Ok(()) };
    let store = database.store()?;
    let mut writer = writer(&database);
    let cancellation = Cancellation::new();
    let waiting = store.with_lock_timeout(Duration::from_secs(20)).cancelled_by(&cancellation);
    let outcome = thread::scope(|scope| {
        let call = scope.spawn(|| timed(Duration::from_secs(2), || update(&waiting, "tester")));
        thread::sleep(SHORT);
        cancellation.cancel();
        call.join().expect("no panic")
    });
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    writer.tell("");
    writer.expect_line("written");
    assert_eq!(update(&store, "tester")?, 2);
    writer.end();
    Ok(())
}

/// Through a proxy that swallows everything, and through none at all, each call ends at its deadline; afterwards all is as
/// before.
#[test]
fn a_black_hole_keeps_no_call_longer_than_its_deadline() -> TestResult {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let name = cluster.make_database()?;
    let proxy = Proxy::to(cluster.port())?;
    let address = proxy.address(&name);
    let limit = Duration::from_millis(700);
    let store = Store::options().lock_timeout(limit).open(&address)?;
    let registration = store.register(ProcessInfo::new("test", "1"))?;
    update(&store, "writer")?;
    for network in [Network::BlackHole, Network::Down] {
        proxy.set(network);
        let outcome = timed(limit, || update(&store, "writer"));
        assert!(matches!(outcome, Err(Error::Unreachable { .. } | Error::Unsettled { .. })), "{outcome:?}");
        for outcome in [
            timed(limit, || store.agents(&govstore::AgentFilter::new()).map(drop)),
            timed(limit, || store.pause("writer", None).map(drop)),
            timed(limit, || store.reap().map(drop)),
            timed(limit, || store.lock_agent("writer", None).map(drop)),
            timed(limit, || registration.beat().map(drop)),
            timed(limit, || store.watch_changes().map(drop)),
            timed(limit, || Store::options().lock_timeout(limit).open(&address).map(drop)),
        ] {
            assert!(matches!(outcome, Err(Error::Unreachable { .. })), "{outcome:?}");
        }
        proxy.set(Network::Up);
        proxy.cut(); // what went into the hole is gone
        wait_until("the server to answer again", || store.health().is_ok());
        store.process_update("writer", &Update::new())?;
    }
    Ok(())
}

/// The hole opens while the answer to COMMIT is on its way: it may have been made or not, and the next call finds out.
#[test]
fn a_black_hole_inside_a_commit_leaves_one_update_or_none() -> TestResult {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let name = cluster.make_database()?;
    let proxy = Proxy::to(cluster.port())?;
    let address = proxy.address(&name);
    let limit = Duration::from_millis(400);
    let store = Store::options().lock_timeout(limit).open(&address)?;
    let sure = Store::open(cluster.address(&name))?;
    update(&store, "writer")?;
    proxy.set_delay(Duration::from_millis(20)); // an update takes 80 ms, of which half is the commit
    for round in 0..20_u64 {
        let before = sure.agent("writer")?.total_updates;
        let outcome = thread::scope(|scope| {
            let call = scope.spawn(|| timed(limit, || update(&store, "writer")));
            thread::sleep(Duration::from_millis(4 * round));
            proxy.set(Network::BlackHole);
            call.join().expect("no panic")
        });
        proxy.set(Network::Up);
        proxy.cut();
        let after = sure.agent("writer")?.total_updates;
        match outcome {
            Ok(number) => assert_eq!((number, after), (before + 1, before + 1)),
            Err(Error::Unreachable { .. }) => assert_eq!(after, before, "round {round}: said not to be made"),
            Err(error) if error.is_in_doubt() => assert!(after == before || after == before + 1, "{after}"),
            Err(error) => panic!("{error}"),
        }
    }
    Ok(())
}

/// A router between has forgotten the connections, or the machine has slept: nobody says so, and new ones work.
#[test]
fn connections_that_were_forgotten_on_the_way_are_replaced() -> TestResult {
    let Some(cluster) = Cluster::shared() else { return Ok(()) };
    let name = cluster.make_database()?;
    let proxy = Proxy::to(cluster.port())?;
    let limit = Duration::from_secs(4);
    let store = Store::options().lock_timeout(limit).open(proxy.address(&name))?;
    assert_eq!(update(&store, "writer")?, 1);
    for number in 2..4 {
        proxy.forget();
        thread::sleep(Duration::from_millis(2_100)); // idle for long enough to be doubted
        assert_eq!(timed(limit, || update(&store, "writer"))?, number);
        proxy.forget();
        thread::sleep(Duration::from_millis(600));
        assert_eq!(timed(limit, || store.agent("writer"))?.total_updates, number);
    }
    Ok(())
}
