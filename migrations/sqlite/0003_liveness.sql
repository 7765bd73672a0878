-- govstore schema 3: who may be judged, what was noted about whom, and a limit that spares whoever is in use.
--
-- CHECKs can't be altered, so the tables are made anew with their rows. A copy with a name of its own goes first:
-- renaming a table would leave its name in quotes in the schema, and look through every view. Where a foreign key
-- points at a table, dropping it deletes what points there: heartbeats are put aside with their processes.
--
-- Programs of govstore 0.1 that have the database open while it is brought here: they can't read limit_policy
-- 'spare', so each of their updates is refused with a sentence and nothing is lost; and as they can't beat either,
-- they are ended once their heartbeat is stale. Under 'evict' and 'refuse' their updates go on. Their reapers end
-- nobody any more, since their claims come without claim_evidence.

-- What has a word more: spare. It takes the place of evict, which was the default and ended servers in use.
CREATE TABLE settings_of_schema_2 AS SELECT * FROM settings;
DROP TABLE settings;

-- One row: how this database judges health, reaps, waits and keeps history. Change it with
-- `govstore config set` or with UPDATE; running servers follow.
CREATE TABLE settings (
  settings_id INTEGER PRIMARY KEY -- always 1
    CONSTRAINT "settings has one row" CHECK (settings_id = 1),
  risk_healthy_max REAL NOT NULL DEFAULT 0.15, -- risk below this is healthy
  risk_degraded_max REAL NOT NULL DEFAULT 0.30, -- risk below this is degraded, from it on critical
  coherence_healthy_min REAL NOT NULL DEFAULT 0.85, -- without a risk: coherence from this on is healthy
  coherence_degraded_min REAL NOT NULL DEFAULT 0.60, -- without a risk: coherence below this is critical
  coherence_overrides_risk INTEGER NOT NULL DEFAULT 0 -- 1: coherence below coherence_degraded_min is critical whatever the risk
    CONSTRAINT "coherence_overrides_risk is 0 or 1" CHECK (coherence_overrides_risk IN (0, 1)),
  heartbeat_interval_s REAL NOT NULL DEFAULT 30 -- seconds between two heartbeats of a process
    CONSTRAINT "heartbeat_interval_s lies between 0.05 and 86400" CHECK (heartbeat_interval_s BETWEEN 0.05 AND 86400),
  stale_after_s REAL NOT NULL DEFAULT 300, -- a heartbeat older than this many seconds makes its process suspect
  max_processes INTEGER NOT NULL DEFAULT 9 -- registered processes that are meant to be there at once
    CONSTRAINT "max_processes lies between 1 and 10000" CHECK (max_processes BETWEEN 1 AND 10000),
  limit_policy TEXT NOT NULL DEFAULT 'spare' -- over max_processes: spare whoever has a client, evict the unused, or refuse newcomers
    CONSTRAINT "limit_policy is spare, evict or refuse" CHECK (limit_policy = 'spare' OR limit_policy = 'evict' OR limit_policy = 'refuse'),
  terminate_grace_ms INTEGER NOT NULL DEFAULT 2000 -- milliseconds between SIGTERM and SIGKILL
    CONSTRAINT "terminate_grace_ms lies between 0 and 600000" CHECK (terminate_grace_ms BETWEEN 0 AND 600000),
  lock_timeout_ms INTEGER NOT NULL DEFAULT 5000 -- milliseconds to wait for the write lock or an agent's lock
    CONSTRAINT "lock_timeout_ms lies between 0 and 3600000" CHECK (lock_timeout_ms BETWEEN 0 AND 3600000),
  history_limit INTEGER -- updates to keep for each agent when pruning; NULL keeps all
    CONSTRAINT "history_limit is NULL or at least 1" CHECK (history_limit >= 1),
  CONSTRAINT "0 <= risk_healthy_max <= risk_degraded_max <= 1"
    CHECK (0 <= risk_healthy_max AND risk_healthy_max <= risk_degraded_max AND risk_degraded_max <= 1),
  CONSTRAINT "0 <= coherence_degraded_min <= coherence_healthy_min <= 1"
    CHECK (0 <= coherence_degraded_min AND coherence_degraded_min <= coherence_healthy_min AND coherence_healthy_min <= 1),
  CONSTRAINT "stale_after_s is at least heartbeat_interval_s and at most 31536000"
    CHECK (heartbeat_interval_s <= stale_after_s AND stale_after_s <= 31536000)
) STRICT;

INSERT INTO settings
SELECT
  settings_id, risk_healthy_max, risk_degraded_max, coherence_healthy_min, coherence_degraded_min,
  coherence_overrides_risk, heartbeat_interval_s, stale_after_s, max_processes,
  CASE limit_policy WHEN 'evict' THEN 'spare' ELSE limit_policy END,
  terminate_grace_ms, lock_timeout_ms, history_limit
FROM settings_of_schema_2;
DROP TABLE settings_of_schema_2;

CREATE TABLE heartbeats_of_schema_2 AS SELECT * FROM heartbeats;
CREATE TABLE processes_of_schema_2 AS SELECT * FROM processes;
CREATE TABLE numbers_of_schema_2 AS SELECT name, seq FROM sqlite_sequence;
DELETE FROM heartbeats;
DROP TABLE processes;

-- One registered server process. Six columns identify it: host_id, boot_id, pid_namespace, time_namespace, pid,
-- start_ticks. A PID alone says nothing, since the kernel gives it to others once its owner is gone.
CREATE TABLE processes (
  process_id INTEGER PRIMARY KEY AUTOINCREMENT, -- registry id; never given twice, since history refers to it
  name TEXT NOT NULL -- what it calls itself
    CONSTRAINT "name has 1 to 200 characters" CHECK (length(name) BETWEEN 1 AND 200),
  version TEXT NOT NULL, -- its version, in its own words
  pid INTEGER NOT NULL -- as its own PID namespace counts
    CONSTRAINT "pid lies between 1 and 2147483647" CHECK (pid BETWEEN 1 AND 2147483647),
  host_id TEXT, -- which machine, by its machine id; NULL where it has none, as many containers
  boot_id TEXT NOT NULL, -- which boot of which machine; 'unknown' where the system has no such id
  pid_namespace INTEGER -- inode of its PID namespace; NULL where the system has none
    CONSTRAINT "pid_namespace is not negative" CHECK (pid_namespace >= 0),
  time_namespace INTEGER -- inode of its time namespace; NULL where the system has none, or if registered by govstore 0.1
    CONSTRAINT "time_namespace is not negative" CHECK (time_namespace >= 0),
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
  last_activity_at TEXT -- when its client last used it; NULL: not yet
    CONSTRAINT "last_activity_at is UTC with milliseconds" CHECK (last_activity_at GLOB '????-??-??T??:??:??.???Z'),
  last_activity_monotonic_ms INTEGER NOT NULL, -- since when it is unused, on the clock that is judged by: its last use, else its registration
  parent_gone INTEGER NOT NULL DEFAULT 0 -- 1: at its last beat its client was gone
    CONSTRAINT "parent_gone is 0 or 1" CHECK (parent_gone IN (0, 1)),
  state TEXT NOT NULL DEFAULT 'running' -- running; terminating: a reaper has claimed it; else how it ended
    CONSTRAINT "state is running, terminating, ended, exited, terminated, killed or forgotten"
      CHECK (state = 'running' OR state = 'terminating' OR state = 'ended' OR state = 'exited' OR state = 'terminated' OR state = 'killed' OR state = 'forgotten'),
  ended_at TEXT -- when it deregistered, or was found or made to be gone; NULL until then
    CONSTRAINT "ended_at is UTC with milliseconds" CHECK (ended_at GLOB '????-??-??T??:??:??.???Z'),
  claim_verdict TEXT -- why a reaper claimed it; all columns of the claim are NULL unless terminating
    CONSTRAINT "claim_verdict is stale, orphaned or surplus" CHECK (claim_verdict = 'stale' OR claim_verdict = 'orphaned' OR claim_verdict = 'surplus'),
  claim_evidence TEXT, -- what that rests on, in words, for its log
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
  CONSTRAINT "a terminating process has a claim with its evidence, any other has none (a reaper of govstore 0.1 ends nobody here: restart it)" CHECK (
    CASE state
      WHEN 'terminating' THEN claim_verdict IS NOT NULL AND claim_evidence IS NOT NULL AND claimed_at IS NOT NULL AND claim_until_monotonic_ms IS NOT NULL
      ELSE coalesce(claim_verdict, claimed_at, claimed_by_pid, claim_until_monotonic_ms) IS NULL
    END
  )
) STRICT;

INSERT INTO processes
SELECT
  process_id, name, version, pid, NULL, boot_id, pid_namespace, NULL, start_ticks, parent_pid, parent_start_ticks,
  uid, registered_at, last_activity_at, last_activity_monotonic_ms, parent_gone,
  -- What a reaper of govstore 0.1 has claimed and not ended yet is judged anew: it may have ended servers in use.
  CASE state WHEN 'terminating' THEN 'running' ELSE state END, ended_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM processes_of_schema_2;
INSERT INTO heartbeats SELECT * FROM heartbeats_of_schema_2;
DROP TABLE processes_of_schema_2;
DROP TABLE heartbeats_of_schema_2;

-- A process is registered once. Ended rows are left out: for them the same PID may come again.
CREATE UNIQUE INDEX processes_registered ON processes (pid, start_ticks, boot_id, coalesce(pid_namespace, 0))
WHERE state IN ('running', 'terminating');

-- What the reaper looks for beside stale heartbeats; nearly always empty.
CREATE INDEX processes_without_parent ON processes (last_activity_monotonic_ms) WHERE parent_gone = 1 AND state = 'running';
CREATE INDEX processes_claimed ON processes (process_id) WHERE state = 'terminating';

CREATE TABLE reap_events_of_schema_2 AS SELECT * FROM reap_events;
DROP TABLE reap_events;

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
    CONSTRAINT "verdict is alive, exited, suspect, stale, orphaned, surplus, remote or unverifiable"
      CHECK (verdict = 'alive' OR verdict = 'exited' OR verdict = 'suspect' OR verdict = 'stale' OR verdict = 'orphaned' OR verdict = 'surplus' OR verdict = 'remote' OR verdict = 'unverifiable'),
  evidence TEXT NOT NULL, -- what the verdict rests on, in words
  heartbeat_age_ms INTEGER, -- age of its heartbeat when it was judged; NULL if that is not known
  activity_age_ms INTEGER, -- age of its activity then; NULL if there was none or that is not known
  claimed_at TEXT -- when it was claimed; NULL if it was not to be signalled, or if it held the lock that a claim needs
    CONSTRAINT "claimed_at is UTC with milliseconds" CHECK (claimed_at GLOB '????-??-??T??:??:??.???Z'),
  signals TEXT NOT NULL DEFAULT '', -- what was sent, in order: 'TERM CONT', 'CONT TERM CONT KILL', or nothing
  took_ms INTEGER, -- milliseconds from the first signal to the outcome; NULL if nothing was sent
  outcome TEXT NOT NULL -- terminated: it obeyed SIGTERM; gone: it ended before it was signalled; continued: SIGCONT was enough; released: it lives, its locks were let go; survived, denied: tried again later
    CONSTRAINT "outcome is terminated, killed, gone, forgotten, postponed, continued, released, survived or denied"
      CHECK (outcome = 'terminated' OR outcome = 'killed' OR outcome = 'gone' OR outcome = 'forgotten' OR outcome = 'postponed' OR outcome = 'continued' OR outcome = 'released' OR outcome = 'survived' OR outcome = 'denied'),
  reaper_pid INTEGER NOT NULL -- by whom
    CONSTRAINT "reaper_pid lies between 1 and 2147483647" CHECK (reaper_pid BETWEEN 1 AND 2147483647),
  reaper_process_id INTEGER -- the reaper's registry id, if it was registered
) STRICT;

-- What was foreign is unverifiable now: another namespace or another user, never signalled.
INSERT INTO reap_events
SELECT
  reap_event_id, recorded_at, process_id, name, version, pid, boot_id, pid_namespace, start_ticks,
  CASE verdict WHEN 'foreign' THEN 'unverifiable' ELSE verdict END,
  evidence, heartbeat_age_ms, activity_age_ms, claimed_at, signals, took_ms, outcome, reaper_pid, reaper_process_id
FROM reap_events_of_schema_2;
DROP TABLE reap_events_of_schema_2;

CREATE TRIGGER reap_events_are_append_only
BEFORE UPDATE ON reap_events
BEGIN
  SELECT RAISE(ABORT, 'reap_events is append only');
END;

-- Numbers that were given go on from where they were, also where no row is left that has them.
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence (name, seq) SELECT name, seq FROM numbers_of_schema_2;
DROP TABLE numbers_of_schema_2;

-- The views give ages, and what was noted. Only a look at the processes themselves tells who lives: `govstore ps`.
DROP VIEW process_status;
DROP VIEW stale_processes;

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
  round((julianday('now') - julianday(p.last_activity_at)) * 86400, 1) AS activity_age_s, -- NULL: never used
  h.suspected_monotonic_ms IS NOT NULL AS suspected, -- a reaper has noted this heartbeat as too old
  p.parent_gone,
  p.claim_verdict,
  p.claim_evidence,
  p.registered_at,
  p.ended_at
FROM processes AS p
LEFT JOIN heartbeats AS h ON h.process_id = p.process_id
ORDER BY p.ended_at IS NOT NULL, p.ended_at DESC, p.process_id;

-- Registered processes whose heartbeat is too old by wall clock: for people. The reaper has the same rule on
-- the monotonic clock, looks at the process itself, and judges only after a second look.
CREATE VIEW stale_processes AS
SELECT
  p.process_id,
  p.pid,
  p.name,
  p.version,
  p.state,
  round((julianday('now') - julianday(h.beat_at)) * 86400, 1) AS heartbeat_age_s,
  h.beat_at,
  h.suspected_monotonic_ms IS NOT NULL AS suspected
FROM settings AS s
CROSS JOIN heartbeats AS h
JOIN processes AS p ON p.process_id = h.process_id
WHERE s.settings_id = 1
  AND (julianday('now') - julianday(h.beat_at)) * 86400 > max(s.stale_after_s, h.interval_ms * 0.002)
ORDER BY h.beat_at;
