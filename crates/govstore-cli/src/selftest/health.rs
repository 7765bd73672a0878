//! Health has one meaning: an update, the database's view and the settings agree.

use super::bench::{Bench, Finding};

/// Complexity of an update, and the health that it leads to: risks of 3, 18 and 30 %.
const AGENTS: [(&str, &str, &str); 3] =
    [("calm", "0.1", "healthy"), ("busy", "0.6", "degraded"), ("wild", "1", "critical")];

pub fn check(bench: &Bench) -> Finding {
    for (agent, complexity, health) in AGENTS {
        let update = bench.run(&["update", agent, "--complexity", complexity])?.done()?;
        update.says("/metrics/health_status", health)?;
        bench.run(&["agent", agent])?.done()?.says("/agent/health_status", health)?;
    }
    let fleet = bench.run(&["health"])?.done()?;
    fleet.says("/fleet_status", "critical")?;
    for (_, _, health) in AGENTS {
        fleet.says(&format!("/{health}"), 1)?;
    }
    bench.run(&["config", "set", "risk_healthy_max", "0.2"])?.done()?;
    bench.run(&["agent", "busy"])?.done()?.says("/agent/health_status", "healthy")?;
    Ok(format!("{} risks judged alike by update and view, and a changed boundary followed", AGENTS.len()))
}
