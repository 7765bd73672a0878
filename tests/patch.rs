//! Changes to an agent as plain data.

use govstore::{AgentPatch, Error, Update};
use govstore_testkit::{Database, TestResult};
use serde_json::json;

#[test]
fn a_patch_changes_what_it_names_and_nothing_else() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.process_update("a", &Update::default())?;
    let first = AgentPatch::new().tags(["x", "y"]).notes("one").attribute("model", "large");
    store.patch_agent("a", &first)?;

    let patch =
        AgentPatch::new().remove_tag("x").add_tag("y").add_tag("z").append_note("two").append_note("");
    let agent = store.patch_agent("a", &patch)?;
    assert_eq!((agent.tags, agent.notes.as_str()), (vec!["y".to_owned(), "z".to_owned()], "one\ntwo"));
    assert_eq!(agent.attributes.get("model"), Some(&json!("large")));
    assert_eq!(store.agent("a")?.notes, "one\ntwo", "what was returned is what is there");

    let agent = store.patch_agent("a", &AgentPatch::new().attribute("model", json!(null)).notes(""))?;
    assert!(agent.attributes.is_empty() && agent.notes.is_empty());
    assert_eq!(agent.tags, ["y", "z"]);
    Ok(())
}

#[test]
fn a_patch_is_refused_as_an_edit_is() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    let patch = AgentPatch::new().add_tag("x");
    assert!(matches!(store.patch_agent("a", &patch), Err(Error::AgentNotFound { .. })));
    store.process_update("a", &Update::default())?;
    store.delete("a")?;
    assert!(matches!(store.patch_agent("a", &patch), Err(Error::WrongLifecycle { .. })));
    Ok(())
}

#[test]
fn patches_of_many_threads_are_all_kept() -> TestResult {
    let database = Database::new(&[])?;
    let store = database.store()?;
    store.process_update("a", &Update::default())?;
    std::thread::scope(|scope| {
        for n in 0..8 {
            let store = &store;
            scope.spawn(move || {
                store.patch_agent("a", &AgentPatch::new().add_tag(format!("tag-{n}"))).expect("a patch");
            });
        }
    });
    assert_eq!(store.agent("a")?.tags.len(), 8);
    Ok(())
}
