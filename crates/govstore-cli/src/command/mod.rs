//! The commands, one file each: `Args` is what the command line says, `run` does it.

mod agent;
pub mod agents;
mod apply;
mod backup;
mod check;
mod completions;
mod config;
#[cfg(feature = "postgres")]
mod copy;
mod doctor;
mod events;
mod health;
mod history;
mod import;
mod lifecycle;
mod locks;
mod man;
mod note;
mod prune;
mod ps;
mod reap;
mod report;
mod restore;
mod run;
mod selftest;
mod serve;
mod tag;
mod update;
mod watch;

use clap::Subcommand;

use super::{
    Arguments, Exit, Failure, Outcome, Session, actors, csv, facts, figures, occupancy, output, paint,
    progress, risk, sparkline, table, text_argument, timeline, visible, zone,
};

/// What to do. The order is that of `--help`.
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(serve::Args),
    Run(run::Args),
    Update(update::Args),
    Apply(apply::Args),
    Agents(agents::Args),
    Agent(agent::Args),
    History(history::Args),
    Health(health::Args),
    Events(events::Args),
    Watch(watch::Args),
    Pause(lifecycle::PauseArgs),
    Resume(lifecycle::ResumeArgs),
    Archive(lifecycle::ArchiveArgs),
    Delete(lifecycle::DeleteArgs),
    Reset(lifecycle::ResetArgs),
    Tag(tag::Args),
    Note(note::Args),
    Locks(locks::Args),
    Unlock(locks::UnlockArgs),
    Ps(ps::Args),
    Reap(reap::Args),
    Doctor(doctor::Args),
    Report(report::Args),
    Config(config::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    #[cfg(feature = "postgres")]
    Copy(copy::Args),
    Check(check::Args),
    Prune(prune::Args),
    Import(import::Args),
    Selftest(selftest::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    pub fn run(self, session: &mut Session) -> Outcome {
        match self {
            Self::Serve(args) => serve::run(args, session),
            Self::Run(args) => run::run(args, session),
            Self::Update(args) => update::run(args, session),
            Self::Apply(args) => apply::run(&args, session),
            Self::Agents(args) => agents::run(args, session),
            Self::Agent(args) => agent::run(&args, session),
            Self::History(args) => history::run(&args, session),
            Self::Health(args) => health::run(&args, session),
            Self::Events(args) => events::run(&args, session),
            Self::Watch(args) => watch::run(&args, session),
            Self::Pause(args) => lifecycle::pause(&args, session),
            Self::Resume(args) => lifecycle::resume(&args, session),
            Self::Archive(args) => lifecycle::archive(&args, session),
            Self::Delete(args) => lifecycle::delete(&args, session),
            Self::Reset(args) => lifecycle::reset(&args, session),
            Self::Tag(args) => tag::run(&args, session),
            Self::Note(args) => note::run(args, session),
            Self::Locks(_) => locks::run(session),
            Self::Unlock(args) => locks::unlock(&args, session),
            Self::Ps(args) => ps::run(&args, session),
            Self::Reap(args) => reap::run(&args, session),
            Self::Doctor(args) => doctor::run(&args, session),
            Self::Report(args) => report::run(&args, session),
            Self::Config(args) => config::run(&args, session),
            Self::Backup(args) => backup::run(&args, session),
            Self::Restore(args) => restore::run(&args, session),
            #[cfg(feature = "postgres")]
            Self::Copy(args) => copy::run(&args, session),
            Self::Check(args) => check::run(&args, session),
            Self::Prune(args) => prune::run(&args, session),
            Self::Import(args) => import::run(&args, session),
            Self::Selftest(args) => selftest::run(&args, session),
            Self::Completions(args) => completions::run(&args, session),
            Self::Man(args) => man::run(&args, session),
        }
    }
}
