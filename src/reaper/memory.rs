//! What a reaper remembers between two looks, so that nobody is ended at first sight.
//!
//! A heartbeat that is too old says that its process could not write, and the reason may lie with the database: locked
//! by a shell, or on a full disk. So a reaper notes what it saw in a write of its own, and believes it after another
//! one an interval later, if that mark has not moved and its own writes went through all the time: then the others
//! could have written as well. It counts in its own memory; what others have noted proves nothing about that.

use std::collections::HashMap;

use crate::model::Mark;

/// The processes that this one has looked at and not made up its mind about, by `process_id`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    looks: HashMap<i64, Look>,
    /// How many writes of this store were held up or failed so far.
    disturbances: u64,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    mark: Mark,
    disturbances: u64,
    /// When the write was committed that noted it first.
    first_ms: i64,
    /// When one was committed that noted it last.
    last_ms: i64,
}

impl Memory {
    /// How many writes of the store were held up or failed by now: looks from before that prove nothing.
    pub fn expire(&mut self, disturbances: u64) {
        self.disturbances = disturbances;
        self.looks.retain(|_, look| look.disturbances == disturbances);
    }

    /// A write was committed at `now_ms` that noted this mark. Notes that lie further apart than `longest_gap_ms` don't
    /// belong together: this process may have been frozen in between, and everybody else with it.
    pub fn note(&mut self, process_id: i64, mark: Mark, now_ms: i64, longest_gap_ms: i64) {
        let disturbances = self.disturbances;
        let look = self
            .looks
            .get(&process_id)
            .filter(|look| look.mark == mark && now_ms.saturating_sub(look.last_ms) <= longest_gap_ms)
            .map_or(Look { mark, disturbances, first_ms: now_ms, last_ms: now_ms }, |look| Look {
                last_ms: now_ms,
                ..*look
            });
        self.looks.insert(process_id, look);
    }

    /// Between which two commits this mark was found unmoved: the first and the last.
    pub fn unmoved(&self, process_id: i64, mark: Mark) -> Option<(i64, i64)> {
        let look = self.looks.get(&process_id)?;
        (look.mark == mark && look.disturbances == self.disturbances).then_some((look.first_ms, look.last_ms))
    }

    /// Forgets all but these.
    pub fn keep(&mut self, mut is_kept: impl FnMut(i64) -> bool) {
        self.looks.retain(|process_id, _| is_kept(*process_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark::Beat(7);

    #[test]
    fn two_notes_of_one_mark_belong_together_unless_something_came_between() {
        let mut memory = Memory::default();
        memory.note(1, MARK, 1_000, 100);
        assert_eq!(memory.unmoved(1, MARK), Some((1_000, 1_000)));
        memory.note(1, MARK, 1_100, 100);
        assert_eq!(memory.unmoved(1, MARK), Some((1_000, 1_100)));
        assert_eq!(memory.unmoved(1, Mark::Beat(8)), None, "it has moved");
        assert_eq!(memory.unmoved(1, Mark::Unused(7)), None, "another mark");
        assert_eq!(memory.unmoved(2, MARK), None, "another process");

        memory.note(1, MARK, 1_201, 100);
        assert_eq!(memory.unmoved(1, MARK), Some((1_201, 1_201)), "too long a gap");
        memory.note(1, Mark::Beat(8), 1_250, 100);
        assert_eq!(memory.unmoved(1, Mark::Beat(8)), Some((1_250, 1_250)), "a mark that moved begins anew");
        memory.expire(1);
        assert_eq!(memory.unmoved(1, Mark::Beat(8)), None, "a write of this process was held up");
        memory.note(1, Mark::Beat(8), 1_300, 100);
        memory.expire(1);
        assert_eq!(memory.unmoved(1, Mark::Beat(8)), Some((1_300, 1_300)));
        memory.keep(|_| false);
        assert_eq!(memory.unmoved(1, Mark::Beat(8)), None);
    }
}
