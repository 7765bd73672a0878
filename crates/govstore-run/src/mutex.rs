//! Mutexes of threads of which one may have panicked.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a thread that panicked has left behind is as good as any other.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
