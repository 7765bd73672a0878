//! The life of a server process that uses govstore, whatever it speaks: [`Membership`] beats on its behalf and leaves the
//! registry at the end, [`Parent`] watches the process that started it, and [`shutdown`] says when to end, and why.
//!
//! ```no_run
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use govstore::{ProcessInfo, Store};
//! use govstore_host::{Membership, Parent, shutdown};
//!
//! let parent = Parent::find(); // early: a parent that is gone already is not missed
//! let store = Store::open("governance.db")?;
//! let registration = store.register(ProcessInfo::new("my-server", "1.0.0"))?;
//! let (membership, must_end) = Membership::begin(registration, Arc::default())?;
//! let client_gone = std::future::pending(); // your transport's end
//! let reason = shutdown(client_gone, parent, must_end)?.await;
//! println!("ending: {reason}");
//! membership.leave().await?;
//! # Ok(())
//! # }
//! ```

mod membership;
mod parent;
mod reason;
mod shutdown;

pub use membership::{Membership, MustEnd};
pub use parent::Parent;
pub use reason::Reason;
pub use shutdown::shutdown;
