//! The life of an agent through the commands, as somebody would lead it.

use super::bench::{Bench, Finding};

const FAILED: i32 = 1;

/// Commands in order, and how each must end.
const LIFE: [(&[&str], i32); 15] = [
    (&["update", "writer", "--text", "All tests pass.", "--complexity", "0.2"], 0),
    (&["tag", "writer", "--add", "production"], 0),
    (&["note", "writer", "made by the self-test"], 0),
    (&["pause", "writer", "--reason", "to see"], 0),
    (&["update", "writer"], FAILED),
    (&["resume", "writer"], 0),
    (&["update", "writer", "--complexity", "nan", "--parameters", "nan,inf,-inf"], 0),
    (&["reset", "writer"], 0),
    (&["archive", "writer"], 0),
    (&["update", "writer"], FAILED),
    (&["resume", "writer"], 0),
    (&["update", "writer"], 0),
    (&["delete", "writer", "--yes"], 0),
    (&["update", "writer"], FAILED),
    (&["agent", "nobody"], FAILED),
];

pub fn check(bench: &Bench) -> Finding {
    for (arguments, code) in LIFE {
        bench.run(arguments)?.exited(code)?;
    }
    let agent = bench.run(&["agent", "writer"])?.done()?;
    agent.says("/agent/lifecycle_status", "deleted")?;
    agent.says("/agent/total_updates", 3)?;
    agent.says("/agent/update_count", 1)?;
    agent.says("/agent/tags", vec!["production"])?;
    let happened: Vec<&str> = agent
        .list("events")
        .iter()
        .filter_map(|event| event["event"].as_str())
        .filter(|event| *event != "health_changed")
        .collect();
    let expected = ["created", "paused", "resumed", "reset", "archived", "resumed", "deleted"];
    if happened != expected {
        return Err(format!("the agent's events are {}", happened.join(", ")));
    }
    let page = bench.file("fleet.html");
    bench.run(&["report", "--out", &page.to_string_lossy()])?.done()?;
    if !page.exists() {
        return Err("`report` wrote no page".to_owned());
    }
    Ok(format!("{} commands ended as they should, {} events kept", LIFE.len() + 2, happened.len()))
}
