-- govstore schema 2: processes, heartbeats, the reaper's ledger, locks on agents.
--
-- Two clocks. Columns *_at are wall time, for people. Columns *_monotonic_ms are CLOCK_MONOTONIC, for
-- judging: it ignores clock steps and stands still while the machine sleeps. It starts anew with every boot,
-- so it is only ever compared within one boot_id.

-- One registered server process. Four columns identify it: boot_id, pid_namespace, pid, start_ticks. A PID
-- alone says nothing, since the kernel gives it to others once its owner is gone.
CREATE TABLE processes (
  process_id INTEGER PRIMARY KEY AUTOINCREMENT, -- registry id; never given twice, since history refers to it
  name TEXT NOT NULL -- what it calls itself
    CONSTRAINT "name has 1 to 200 characters" CHECK (length(name) BETWEEN 1 AND 200),
  version TEXT NOT NULL, -- its version, in its own words
  pid INTEGER NOT NULL -- as its own PID namespace counts
    CONSTRAINT "pid lies between 1 and 2147483647" CHECK (pid BETWEEN 1 AND 2147483647),
  boot_id TEXT NOT NULL, -- which boot of which machine; 'unknown' where the system has no such id
  pid_namespace INTEGER -- inode of its PID namespace; NULL where the system has none
    CONSTRAINT "pid_namespace is not negative" CHECK (pid_namespace >= 0),
  start_ticks INTEGER NOT NULL -- when it started: kernel ticks since boot on Linux, elsewhere seconds since 1970
    CONSTRAINT "start_ticks is not negative" CHECK (start_ticks >= 0),
  parent_pid INTEGER -- its client at registration; NULL if that could not be seen
    CONSTRAINT "parent_pid lies between 1 and 2147483647" CHECK (parent_pid BETWEEN 1 AND 2147483647),
  parent_start_ticks INTEGER -- when its client started; NULL if that could not be seen
    CONSTRAINT "parent_start_ticks is not negative" CHECK (parent_start_ticks >= 0),
  uid INTEGER -- its user; NULL where the system has no numbers for users
    CONSTRAINT "uid lies between 0 and 4294967295" CHECK (uid BETWEEN 0 AND 4294967295),
  registered_at TEXT NOT NULL -- when it registered
    CONSTRAINT "registered_at is UTC with milliseconds" CHECK (registered_at GLOB '????-??-??T??:??:??.???Z'),
  last_activity_at TEXT NOT NULL -- when its client last used it; registering counts
    CONSTRAINT "last_activity_at is UTC with milliseconds" CHECK (last_activity_at GLOB '????-??-??T??:??:??.???Z'),
  last_activity_monotonic_ms INTEGER NOT NULL, -- the same on the clock that is judged by
  parent_gone INTEGER NOT NULL DEFAULT 0 -- 1: at its last beat its client was gone
    CONSTRAINT "parent_gone is 0 or 1" CHECK (parent_gone IN (0, 1)),
  state TEXT NOT NULL DEFAULT 'running' -- running; terminating: a reaper has claimed it; else how it ended
    CONSTRAINT "state is running, terminating, ended, exited, terminated, killed or forgotten"
      CHECK (state = 'running' OR state = 'terminating' OR state = 'ended' OR state = 'exited' OR state = 'terminated' OR state = 'killed' OR state = 'forgotten'),
  ended_at TEXT -- when it deregistered, or was found or made to be gone; NULL until then
    CONSTRAINT "ended_at is UTC with milliseconds" CHECK (ended_at GLOB '????-??-??T??:??:??.???Z'),
  claim_verdict TEXT -- why a reaper claimed it; all columns of the claim are NULL unless terminating
    CONSTRAINT "claim_verdict is stale, orphaned or surplus" CHECK (claim_verdict = 'stale' OR claim_verdict = 'orphaned' OR claim_verdict = 'surplus'),
  claimed_at TEXT -- when it was claimed
    CONSTRAINT "claimed_at is UTC with milliseconds" CHECK (claimed_at GLOB '????-??-??T??:??:??.???Z'),
  claimed_by_pid INTEGER -- the reaper; NULL once it has given up
    CONSTRAINT "claimed_by_pid lies between 1 and 2147483647" CHECK (claimed_by_pid BETWEEN 1 AND 2147483647),
  claimed_by_pid_namespace INTEGER -- the reaper's PID namespace
    CONSTRAINT "claimed_by_pid_namespace is not negative" CHECK (claimed_by_pid_namespace >= 0),
  claimed_by_start_ticks INTEGER -- when the reaper started
    CONSTRAINT "claimed_by_start_ticks is not negative" CHECK (claimed_by_start_ticks >= 0),
  claim_until_monotonic_ms INTEGER, -- from then on anybody may take the claim over, whatever became of the reaper
  CONSTRAINT "a running or terminating process has not ended, any other has" CHECK ((state IN ('running', 'terminating')) = (ended_at IS NULL)),
  CONSTRAINT "a terminating process has a claim, any other has none" CHECK (
    CASE state
      WHEN 'terminating' THEN claim_verdict IS NOT NULL AND claimed_at IS NOT NULL AND claim_until_monotonic_ms IS NOT NULL
      ELSE coalesce(claim_verdict, claimed_at, claimed_by_pid, claim_until_monotonic_ms) IS NULL
    END
  )
) STRICT;

-- A process is registered once. Ended rows are left out: for them the same PID may come again.
CREATE UNIQUE INDEX processes_registered ON processes (pid, start_ticks, boot_id, coalesce(pid_namespace, 0))
WHERE state IN ('running', 'terminating');

-- What the reaper looks for beside stale heartbeats; nearly always empty.
CREATE INDEX processes_without_parent ON processes (last_activity_monotonic_ms) WHERE parent_gone = 1 AND state = 'running';
CREATE INDEX processes_claimed ON processes (process_id) WHERE state = 'terminating';

-- The last beat of one process. The row goes when the process ends.
CREATE TABLE heartbeats (
  process_id INTEGER PRIMARY KEY REFERENCES processes (process_id) ON DELETE CASCADE, -- whose
  boot_id TEXT NOT NULL, -- the boot whose clock monotonic_ms is of
  monotonic_ms INTEGER NOT NULL, -- when, on the clock that is judged by
  beat_at TEXT NOT NULL -- when, for people
    CONSTRAINT "beat_at is UTC with milliseconds" CHECK (beat_at GLOB '????-??-??T??:??:??.???Z'),
  interval_ms INTEGER NOT NULL -- within how long it promised the next beat: the settings as it knew them
    CONSTRAINT "interval_ms is at least 1" CHECK (interval_ms >= 1),
  recovered_monotonic_ms INTEGER, -- when a beat last came late, as after a freeze: what it saw just then of others may be just as late
  suspected_monotonic_ms INTEGER -- when a reaper first found this beat stale and put off its judgement
) STRICT;

-- The staleness query reads the old end of this boot's part and all of the other parts: no fresh row.
CREATE INDEX heartbeats_by_age ON heartbeats (boot_id, monotonic_ms);

-- The reaper's ledger: one thing it did, or decided to put off. Append only; the oldest entries are removed.
CREATE TABLE reap_events (
  reap_event_id INTEGER PRIMARY KEY AUTOINCREMENT, -- order of arrival
  recorded_at TEXT NOT NULL -- when it was over
    CONSTRAINT "recorded_at is UTC with milliseconds" CHECK (recorded_at GLOB '????-??-??T??:??:??.???Z'),
  process_id INTEGER NOT NULL, -- the victim's registry id; no reference: the ledger outlives the registry
  name TEXT NOT NULL, -- what the victim called itself
  version TEXT NOT NULL, -- the victim's version
  pid INTEGER NOT NULL -- the victim's identity: PID,
    CONSTRAINT "pid lies between 1 and 2147483647" CHECK (pid BETWEEN 1 AND 2147483647),
  boot_id TEXT NOT NULL, -- boot,
  pid_namespace INTEGER -- PID namespace,
    CONSTRAINT "pid_namespace is not negative" CHECK (pid_namespace >= 0),
  start_ticks INTEGER NOT NULL -- and start
    CONSTRAINT "start_ticks is not negative" CHECK (start_ticks >= 0),
  verdict TEXT NOT NULL -- what it was judged to be
    CONSTRAINT "verdict is exited, stale, orphaned, surplus, foreign or unverifiable"
      CHECK (verdict = 'exited' OR verdict = 'stale' OR verdict = 'orphaned' OR verdict = 'surplus' OR verdict = 'foreign' OR verdict = 'unverifiable'),
  evidence TEXT NOT NULL, -- what the verdict rests on, in words
  heartbeat_age_ms INTEGER, -- age of its heartbeat when it was judged; NULL if that is not known
  activity_age_ms INTEGER, -- age of its activity then; NULL if that is not known
  claimed_at TEXT -- when it was claimed; NULL if it was not to be signalled
    CONSTRAINT "claimed_at is UTC with milliseconds" CHECK (claimed_at GLOB '????-??-??T??:??:??.???Z'),
  signals TEXT NOT NULL DEFAULT '', -- what was sent, in order: 'TERM CONT', 'TERM CONT KILL', or nothing
  took_ms INTEGER, -- milliseconds from the first signal to the outcome; NULL if nothing was sent
  outcome TEXT NOT NULL -- terminated: it obeyed SIGTERM; gone: it ended before it was signalled; survived, denied: tried again later
    CONSTRAINT "outcome is terminated, killed, gone, forgotten, postponed, survived or denied"
      CHECK (outcome = 'terminated' OR outcome = 'killed' OR outcome = 'gone' OR outcome = 'forgotten' OR outcome = 'postponed' OR outcome = 'survived' OR outcome = 'denied'),
  reaper_pid INTEGER NOT NULL -- by whom
    CONSTRAINT "reaper_pid lies between 1 and 2147483647" CHECK (reaper_pid BETWEEN 1 AND 2147483647),
  reaper_process_id INTEGER -- the reaper's registry id, if it was registered
) STRICT;

CREATE TRIGGER reap_events_are_append_only
BEFORE UPDATE ON reap_events
BEGIN
  SELECT RAISE(ABORT, 'reap_events is append only');
END;

-- One lock on one agent, held or released. A released lock keeps its row, for the sake of its token.
CREATE TABLE agent_locks (
  agent_id TEXT NOT NULL PRIMARY KEY REFERENCES agents (agent_id), -- which agent is locked
  token INTEGER NOT NULL -- fencing token: one more with every acquisition
    CONSTRAINT "token is at least 1" CHECK (token >= 1),
  process_id INTEGER, -- registry id of the holder; NULL: released. No reference: a forgotten holder is for the locks to notice
  acquired_at TEXT -- since when it is held; NULL if released
    CONSTRAINT "acquired_at is UTC with milliseconds" CHECK (acquired_at GLOB '????-??-??T??:??:??.???Z'),
  renewed_at TEXT -- when the holder last said that it still needs it; NULL if released
    CONSTRAINT "renewed_at is UTC with milliseconds" CHECK (renewed_at GLOB '????-??-??T??:??:??.???Z'),
  reason TEXT, -- what for, in the holder's words
  CONSTRAINT "a lock that is held has acquired_at and renewed_at, a released one has neither"
    CHECK ((process_id IS NULL) = (acquired_at IS NULL) AND (process_id IS NULL) = (renewed_at IS NULL))
) STRICT, WITHOUT ROWID;

-- To release all that a process holds.
CREATE INDEX agent_locks_by_holder ON agent_locks (process_id) WHERE process_id IS NOT NULL;

-- A token never comes twice, whoever writes.
CREATE TRIGGER agent_locks_token_never_falls
BEFORE UPDATE OF token ON agent_locks
WHEN NEW.token < OLD.token
BEGIN
  SELECT RAISE(ABORT, 'a token never falls');
END;

CREATE TRIGGER agent_locks_keep_their_row
BEFORE DELETE ON agent_locks
BEGIN
  SELECT RAISE(ABORT, 'a released lock keeps its row, for the sake of its token; set process_id, acquired_at and renewed_at to NULL');
END;

-- Every process that is remembered, those that run first. Ages are by wall clock: for people, not for judging.
CREATE VIEW process_status AS
SELECT
  p.process_id,
  p.pid,
  p.name,
  p.version,
  p.state,
  round((julianday(coalesce(p.ended_at, 'now')) - julianday(p.registered_at)) * 86400, 1) AS uptime_s,
  round((julianday('now') - julianday(h.beat_at)) * 86400, 1) AS heartbeat_age_s,
  round((julianday('now') - julianday(p.last_activity_at)) * 86400, 1) AS activity_age_s,
  p.ended_at IS NULL AND p.parent_gone = 1
    AND (julianday('now') - julianday(p.last_activity_at)) * 86400 > s.stale_after_s AS orphaned,
  p.parent_gone,
  p.registered_at,
  p.ended_at
FROM settings AS s
CROSS JOIN processes AS p
LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
WHERE s.settings_id = 1
ORDER BY p.ended_at IS NOT NULL, p.ended_at DESC, p.process_id;

-- Registered processes whose heartbeat looks stale by wall clock: for people. The reaper has the same rule on
-- the monotonic clock, and then looks at the process itself.
CREATE VIEW stale_processes AS
SELECT
  p.process_id,
  p.pid,
  p.name,
  p.version,
  p.state,
  round((julianday('now') - julianday(h.beat_at)) * 86400, 1) AS heartbeat_age_s,
  h.beat_at
FROM settings AS s
CROSS JOIN heartbeats AS h
JOIN processes AS p ON p.process_id = h.process_id
WHERE s.settings_id = 1
  AND (julianday('now') - julianday(h.beat_at)) * 86400 > max(s.stale_after_s, h.interval_ms * 0.002)
ORDER BY h.beat_at;

-- Who holds which agent. state and heartbeat_age_s are the holder's; NULL: the holder is no longer registered.
CREATE VIEW lock_holders AS
SELECT
  l.agent_id,
  l.process_id,
  p.pid,
  p.name,
  p.state,
  round((julianday('now') - julianday(l.acquired_at)) * 86400, 1) AS held_for_s,
  round((julianday('now') - julianday(h.beat_at)) * 86400, 1) AS heartbeat_age_s,
  l.token,
  l.reason,
  l.acquired_at,
  l.renewed_at
FROM agent_locks AS l
LEFT JOIN processes AS p ON p.process_id = l.process_id AND p.ended_at IS NULL
LEFT JOIN heartbeats AS h ON h.process_id = l.process_id
WHERE l.process_id IS NOT NULL
ORDER BY l.acquired_at, l.agent_id;
