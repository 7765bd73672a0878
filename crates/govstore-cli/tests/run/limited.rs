//! Servers of which there may be so many.

use std::fs::File;

use serde_json::{Value, json};

use crate::TestResult;
use crate::client::{Client, answerer};
use crate::tree::Home;

#[test]
fn of_twenty_at_once_three_run_and_the_others_are_told_why() -> TestResult {
    let home = Home::new()?;
    home.govstore().args(["config", "list"]).output()?;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut command = home.run(&["--name", "files", "--limit", "3"], &[answerer()]);
        command.stderr(File::create(home.path().join(format!("errors-{number}")))?);
        clients.push(Client::spawn(command)?);
    }
    let (mut running, mut refused) = (Vec::new(), Vec::new());
    for mut client in clients {
        let answer = client.initialize()?;
        match answer["error"]["message"].as_str() {
            None => running.push(client),
            Some(reason) => refused.push((client, reason.to_owned())),
        }
    }
    assert_eq!((running.len(), refused.len()), (3, 17));
    for (mut client, reason) in refused {
        assert!(reason.contains("3 of 3 servers called files run already: PID "), "{reason}");
        assert_eq!(
            client.request("tools/list", &json!({}))?["error"]["code"],
            -32000,
            "and whatever else it asks"
        );
        assert_eq!(client.hang_up()?.code(), Some(1));
    }
    for client in &mut running {
        assert_eq!(client.call("echo", &json!({}))?["isError"], false, "nobody was ended");
    }
    let free = running.pop().ok_or("none runs")?;
    free.hang_up()?;
    let mut next = Client::spawn(home.run(&["--name", "files", "--limit", "3"], &[answerer()]))?;
    assert_eq!(next.initialize()?["error"], Value::Null, "there is room again");
    let mut other = Client::spawn(home.run(&["--name", "others", "--limit", "1"], &[answerer()]))?;
    assert_eq!(other.initialize()?["error"], Value::Null, "a limit is one of a name");
    Ok(())
}

#[test]
fn a_limit_that_can_not_be_asked_for_is_not_enforced_and_that_is_said() -> TestResult {
    let home = Home::new()?;
    let mut command = home.run(&["--limit", "1"], &[answerer()]);
    command
        .env("GOVSTORE_DB", "/no/such/folder/governance.db")
        .stderr(File::create(home.path().join("errors"))?);
    let mut client = Client::spawn(command)?;
    assert_eq!(client.initialize()?["error"], Value::Null);
    assert!(client.hang_up()?.success());
    let said = std::fs::read_to_string(home.path().join("errors"))?;
    assert!(said.contains("the limit of 1 is not enforced, since the database can't be asked"), "{said}");
    assert_eq!(said.matches("runs without a registration").count(), 1, "{said}");
    Ok(())
}
