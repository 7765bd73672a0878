-- govstore schema 1: settings, agents, their updates and events, health.
--
-- Applied by src/store/migrate.rs inside one BEGIN IMMEDIATE. Never edited after a release: a change
-- is a new file. Everything here works in the sqlite3 shell of Debian 12 (SQLite 3.40).
--
-- Timestamps are TEXT, UTC, milliseconds, fixed width (2025-11-19T20:41:09.824Z), so that they sort.
-- Words are checked with OR, not with IN: for a list of three or more SQLite fills a temporary B-tree, at every
-- statement anew, and that was four tenths of the instructions of an update.
-- A constraint's name is the sentence that a person reads when it refuses a value.

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
  stale_after_s REAL NOT NULL DEFAULT 300, -- a heartbeat older than this many seconds is stale
  max_processes INTEGER NOT NULL DEFAULT 9 -- registered processes allowed at once
    CONSTRAINT "max_processes lies between 1 and 10000" CHECK (max_processes BETWEEN 1 AND 10000),
  limit_policy TEXT NOT NULL DEFAULT 'evict' -- what a newcomer over max_processes does: ends another, or is refused
    CONSTRAINT "limit_policy is evict or refuse" CHECK (limit_policy IN ('evict', 'refuse')),
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

INSERT INTO settings (settings_id) VALUES (1);

-- One agent: its current state and what people say about it. No index beside the primary key, since every
-- update would pay for it: health is judged by a scan. The BLOBs come last, so that a scan can stop short.
CREATE TABLE agents (
  agent_id TEXT NOT NULL PRIMARY KEY -- the name its clients call it by: 1 to 128 characters, no control characters
    CONSTRAINT "agent_id has 1 to 128 characters" CHECK (length(agent_id) BETWEEN 1 AND 128 AND instr(agent_id, char(0)) = 0)
    CONSTRAINT "agent_id has no control characters"
      CHECK (agent_id NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*'),
  lifecycle_status TEXT NOT NULL DEFAULT 'active' -- active, paused, archived or deleted; only an active agent takes updates
    CONSTRAINT "lifecycle_status is active, paused, archived or deleted"
      CHECK (lifecycle_status = 'active' OR lifecycle_status = 'paused' OR lifecycle_status = 'archived' OR lifecycle_status = 'deleted'),
  created_at TEXT NOT NULL -- first seen
    CONSTRAINT "created_at is UTC with milliseconds" CHECK (created_at GLOB '????-??-??T??:??:??.???Z'),
  last_update_at TEXT -- newest update; an administrator's edit leaves it alone; NULL before the first
    CONSTRAINT "last_update_at is UTC with milliseconds" CHECK (last_update_at GLOB '????-??-??T??:??:??.???Z'),
  paused_at TEXT -- since when it is paused, else NULL
    CONSTRAINT "paused_at is UTC with milliseconds" CHECK (paused_at GLOB '????-??-??T??:??:??.???Z'),
  archived_at TEXT -- since when it is archived (kept when it is then deleted), else NULL
    CONSTRAINT "archived_at is UTC with milliseconds" CHECK (archived_at GLOB '????-??-??T??:??:??.???Z'),
  deleted_at TEXT -- since when it is deleted, else NULL
    CONSTRAINT "deleted_at is UTC with milliseconds" CHECK (deleted_at GLOB '????-??-??T??:??:??.???Z'),
  version TEXT NOT NULL DEFAULT 'v1.0', -- version label that v1.0.3 clients read
  energy REAL NOT NULL DEFAULT 0.5 -- E
    CONSTRAINT "energy lies between 0 and 1" CHECK (energy BETWEEN 0 AND 1),
  integrity REAL NOT NULL DEFAULT 0.9 -- I, information integrity
    CONSTRAINT "integrity lies between 0 and 1" CHECK (integrity BETWEEN 0 AND 1),
  entropy REAL NOT NULL DEFAULT 0.5 -- S
    CONSTRAINT "entropy lies between 0 and 1" CHECK (entropy BETWEEN 0 AND 1),
  void_integral REAL NOT NULL DEFAULT 0 -- V, the integrated imbalance of E and I
    CONSTRAINT "void_integral lies between -1 and 1" CHECK (void_integral BETWEEN -1 AND 1),
  coherence REAL -- of the newest parameters with those before; NULL before the first update
    CONSTRAINT "coherence lies between 0 and 1" CHECK (coherence BETWEEN 0 AND 1),
  lambda1 REAL NOT NULL DEFAULT 0.15 -- ethical coupling, set by the controller
    CONSTRAINT "lambda1 lies between 0 and 1" CHECK (lambda1 BETWEEN 0 AND 1),
  pi_integral REAL NOT NULL DEFAULT 0 -- the controller's integral term
    CONSTRAINT "pi_integral lies between -5 and 5" CHECK (pi_integral BETWEEN -5 AND 5),
  elapsed REAL NOT NULL DEFAULT 0 -- simulated time since the start or the last reset, 0.1 an update
    CONSTRAINT "elapsed is finite and not negative" CHECK (elapsed BETWEEN 0 AND 1e300),
  risk_score REAL -- of the newest update; NULL before the first
    CONSTRAINT "risk_score lies between 0 and 1" CHECK (risk_score BETWEEN 0 AND 1),
  void_active INTEGER NOT NULL DEFAULT 0 -- 1: abs V is over its threshold
    CONSTRAINT "void_active is 0 or 1" CHECK (void_active IN (0, 1)),
  update_count INTEGER NOT NULL DEFAULT 0, -- updates since the start or the last reset
  total_updates INTEGER NOT NULL DEFAULT 0, -- updates in its lifetime; never falls; the newest update_no
  last_decision TEXT -- of the newest update: approve, revise or reject; NULL before the first
    CONSTRAINT "last_decision is approve, revise or reject" CHECK (last_decision = 'approve' OR last_decision = 'revise' OR last_decision = 'reject'),
  last_decision_reason TEXT, -- why, in words
  tags TEXT NOT NULL DEFAULT '[]' -- JSON array of strings
    CONSTRAINT "tags is a JSON array" CHECK (json_valid(tags) AND json_type(tags) = 'array'),
  notes TEXT NOT NULL DEFAULT '', -- free text
  attributes TEXT NOT NULL DEFAULT '{}' -- JSON object that belongs to the linking server
    CONSTRAINT "attributes is a JSON object" CHECK (json_valid(attributes) AND json_type(attributes) = 'object'),
  parameters BLOB -- the newest parameter vector: little-endian f64, at most 128, trailing zeros left out; NULL before the first
    CONSTRAINT "parameters holds at most 128 numbers of 8 bytes" CHECK (length(parameters) <= 1024 AND length(parameters) % 8 = 0),
  recent_void BLOB NOT NULL DEFAULT x'' -- the last V values, oldest first: little-endian f64, at most 100
    CONSTRAINT "recent_void holds at most 100 numbers of 8 bytes" CHECK (length(recent_void) <= 800 AND length(recent_void) % 8 = 0),
  CONSTRAINT "0 <= update_count <= total_updates" CHECK (0 <= update_count AND update_count <= total_updates)
) STRICT;

-- total_updates never falls, whoever writes.
CREATE TRIGGER agents_total_updates_never_falls
BEFORE UPDATE OF total_updates ON agents
WHEN NEW.total_updates < OLD.total_updates
BEGIN
  SELECT RAISE(ABORT, 'total_updates never falls');
END;

-- One update of one agent. Rows that were imported from v1.0.3 have NULL where it kept nothing.
--
-- A table in order of arrival with an index, and not WITHOUT ROWID: rows of some 200 bytes make a B-tree of
-- low fan-out. So an update appends here (a tenth faster among a million rows, by benches/update.rs), the file
-- is smaller, and recent_updates needs no index of its own.
CREATE TABLE agent_updates (
  agent_id TEXT NOT NULL REFERENCES agents (agent_id), -- whose
  update_no INTEGER NOT NULL -- 1, 2, 3, … in the agent's lifetime, without gaps
    CONSTRAINT "update_no is at least 1" CHECK (update_no >= 1),
  applied_at TEXT -- when it was committed; NULL if imported
    CONSTRAINT "applied_at is UTC with milliseconds" CHECK (applied_at GLOB '????-??-??T??:??:??.???Z'),
  energy REAL -- E after the update; NULL in imported rows but the last
    CONSTRAINT "energy lies between 0 and 1" CHECK (energy BETWEEN 0 AND 1),
  integrity REAL -- I, likewise
    CONSTRAINT "integrity lies between 0 and 1" CHECK (integrity BETWEEN 0 AND 1),
  entropy REAL -- S, likewise
    CONSTRAINT "entropy lies between 0 and 1" CHECK (entropy BETWEEN 0 AND 1),
  void_integral REAL NOT NULL -- V
    CONSTRAINT "void_integral lies between -1 and 1" CHECK (void_integral BETWEEN -1 AND 1),
  coherence REAL NOT NULL -- parameter coherence
    CONSTRAINT "coherence lies between 0 and 1" CHECK (coherence BETWEEN 0 AND 1),
  lambda1 REAL -- ethical coupling after the update; NULL in imported rows but the last
    CONSTRAINT "lambda1 lies between 0 and 1" CHECK (lambda1 BETWEEN 0 AND 1),
  risk_score REAL NOT NULL -- 0 to 1
    CONSTRAINT "risk_score lies between 0 and 1" CHECK (risk_score BETWEEN 0 AND 1),
  void_active INTEGER NOT NULL -- 1: abs V is over its threshold
    CONSTRAINT "void_active is 0 or 1" CHECK (void_active IN (0, 1)),
  elapsed REAL -- simulated time since the start or the last reset; NULL in imported rows but the last
    CONSTRAINT "elapsed is finite and not negative" CHECK (elapsed BETWEEN 0 AND 1e300),
  decision TEXT NOT NULL -- approve, revise or reject
    CONSTRAINT "decision is approve, revise or reject" CHECK (decision = 'approve' OR decision = 'revise' OR decision = 'reject'),
  decision_reason TEXT, -- why, in words; NULL if imported
  health_status TEXT NOT NULL -- as judged then, by the settings of then
    CONSTRAINT "health_status is healthy, degraded or critical" CHECK (health_status = 'healthy' OR health_status = 'degraded' OR health_status = 'critical'),
  process_id INTEGER, -- registry id of the process that applied it, NULL if it was not registered; no reference: history outlives the registry
  PRIMARY KEY (agent_id, update_no)
) STRICT;

-- A lifecycle event of an agent, or a change of its health. Append only.
CREATE TABLE agent_events (
  event_id INTEGER PRIMARY KEY, -- order of arrival
  agent_id TEXT NOT NULL REFERENCES agents (agent_id), -- whose
  event TEXT NOT NULL -- what happened
    CONSTRAINT "event is created, paused, resumed, archived, deleted, reset, unlocked or health_changed"
      CHECK (event = 'created' OR event = 'paused' OR event = 'resumed' OR event = 'archived' OR event = 'deleted' OR event = 'reset' OR event = 'unlocked' OR event = 'health_changed'),
  occurred_at TEXT NOT NULL -- when
    CONSTRAINT "occurred_at is UTC with milliseconds" CHECK (occurred_at GLOB '????-??-??T??:??:??.???Z'),
  reason TEXT, -- in the words of whoever did it; for health_changed the health message, for unlocked also from whom
  health_from TEXT -- health_changed: the status before; NULL at the first update
    CONSTRAINT "health_from is healthy, degraded or critical" CHECK (health_from = 'healthy' OR health_from = 'degraded' OR health_from = 'critical'),
  health_to TEXT -- health_changed: the status after
    CONSTRAINT "health_to is healthy, degraded or critical" CHECK (health_to = 'healthy' OR health_to = 'degraded' OR health_to = 'critical'),
  process_id INTEGER, -- registry id of the process that did it, if it was registered
  CONSTRAINT "health_to is set for health_changed alone" CHECK ((event = 'health_changed') = (health_to IS NOT NULL))
) STRICT;

CREATE INDEX agent_events_by_agent ON agent_events (agent_id, event_id);

-- Every agent with its health as of now. The CASE is the twin of src/health.rs: change both or neither.
CREATE VIEW agent_health AS
SELECT
  a.agent_id,
  a.lifecycle_status,
  CASE
    WHEN a.void_active = 1 THEN 'critical'
    WHEN s.coherence_overrides_risk = 1 AND a.coherence < s.coherence_degraded_min THEN 'critical'
    WHEN a.risk_score < s.risk_healthy_max THEN 'healthy'
    WHEN a.risk_score < s.risk_degraded_max THEN 'degraded'
    WHEN a.risk_score IS NOT NULL THEN 'critical'
    WHEN a.coherence >= s.coherence_healthy_min THEN 'healthy'
    WHEN a.coherence >= s.coherence_degraded_min THEN 'degraded'
    WHEN a.coherence IS NOT NULL THEN 'critical'
    ELSE 'degraded'
  END AS health_status,
  round(a.risk_score, 6) AS risk_score,
  round(a.coherence, 6) AS coherence,
  a.void_active,
  a.last_decision,
  a.total_updates,
  a.last_update_at
FROM settings AS s -- first, so that its one row is looked up once
CROSS JOIN agents AS a
WHERE s.settings_id = 1;

-- The whole fleet in one row. Health counts active and paused agents; archived and deleted ones are out of
-- service. fleet_status is the worst of them, NULL where there is none. One pass over agents, no sorting.
CREATE VIEW fleet_health AS
SELECT
  total_agents, active, paused, archived, total_agents - active - paused - archived AS deleted,
  healthy, degraded, active + paused - healthy - degraded AS critical,
  CASE
    WHEN active + paused > healthy + degraded THEN 'critical'
    WHEN degraded > 0 THEN 'degraded'
    WHEN healthy > 0 THEN 'healthy'
  END AS fleet_status
FROM (
  SELECT
    count(*) AS total_agents,
    count(*) FILTER (WHERE lifecycle_status = 'active') AS active,
    count(*) FILTER (WHERE lifecycle_status = 'paused') AS paused,
    count(*) FILTER (WHERE lifecycle_status = 'archived') AS archived,
    count(*) FILTER (WHERE lifecycle_status IN ('active', 'paused') AND health_status = 'healthy') AS healthy,
    count(*) FILTER (WHERE lifecycle_status IN ('active', 'paused') AND health_status = 'degraded') AS degraded
  FROM agent_health
);

-- The newest hundred updates over all agents.
CREATE VIEW recent_updates AS
SELECT
  applied_at,
  agent_id,
  update_no,
  decision,
  health_status,
  round(risk_score, 4) AS risk_score,
  round(coherence, 4) AS coherence,
  round(lambda1, 4) AS lambda1,
  decision_reason
FROM agent_updates
WHERE applied_at IS NOT NULL
ORDER BY rowid DESC
LIMIT 100;
