CREATE INDEX agent_events_by_agent ON agent_events (agent_id, event_id);

CREATE INDEX agent_locks_by_holder ON agent_locks (process_id) WHERE process_id IS NOT NULL;

CREATE UNIQUE INDEX agent_updates_by_key ON agent_updates (agent_id, key) WHERE key IS NOT NULL;

CREATE INDEX heartbeats_by_age ON heartbeats (boot_id, monotonic_ms);

CREATE INDEX processes_claimed ON processes (process_id) WHERE state = 'terminating';

CREATE UNIQUE INDEX processes_registered ON processes (pid, start_ticks, boot_id, coalesce(pid_namespace, 0))
WHERE state IN ('running', 'terminating');

CREATE INDEX processes_without_parent ON processes (last_activity_monotonic_ms) WHERE parent_gone = 1 AND state = 'running';

CREATE INDEX tool_calls_by_hour ON tool_calls (hour);

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
  process_id INTEGER, actor TEXT -- operator, client or library; NULL: nobody was named
  CONSTRAINT "actor is operator, client or library" CHECK (actor = 'operator' OR actor = 'client' OR actor = 'library'), actor_name TEXT -- who that was, in its own words; NULL: not known
  CONSTRAINT "actor_name has 1 to 200 characters and comes with actor"
    CHECK (actor_name IS NULL OR length(actor_name) BETWEEN 1 AND 200 AND actor IS NOT NULL), -- registry id of the process that did it, if it was registered
  CONSTRAINT "health_to is set for health_changed alone" CHECK ((event = 'health_changed') = (health_to IS NOT NULL))
) STRICT;

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
  process_id INTEGER, complexity REAL -- as it counted: 0 to 1; NULL in rows of older versions and in imported ones
  CONSTRAINT "complexity lies between 0 and 1" CHECK (complexity BETWEEN 0 AND 1), text_length INTEGER -- characters of the response, likewise
  CONSTRAINT "text_length is not negative" CHECK (text_length >= 0), patterns INTEGER -- which patterns occurred, one bit each, likewise; risk_parts has them in words
  CONSTRAINT "patterns lies between 0 and 1023" CHECK (patterns BETWEEN 0 AND 1023), key TEXT -- 1 to 200 characters; NULL: without
  CONSTRAINT "key has 1 to 200 characters" CHECK (key IS NULL OR length(key) BETWEEN 1 AND 200 AND instr(key, char(0)) = 0), key_receipt BLOB -- what a retry is answered by: 8 bytes that stand for the input, then update_count after the update as a little-endian integer of 8 bytes; NULL without key
  CONSTRAINT "key_receipt holds 16 bytes and comes with key"
    CHECK (key IS NULL AND key_receipt IS NULL OR key IS NOT NULL AND length(key_receipt) IS 16), -- registry id of the process that applied it, NULL if it was not registered; no reference: history outlives the registry
  PRIMARY KEY (agent_id, update_no)
) STRICT;

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
    CONSTRAINT "recent_void holds at most 100 numbers of 8 bytes" CHECK (length(recent_void) <= 800 AND length(recent_void) % 8 = 0), lifecycle_actor TEXT -- who paused, archived, deleted or resumed it last; what an operator paused or archived, others can't undo; NULL: nobody was named
  CONSTRAINT "lifecycle_actor is operator, client or library"
    CHECK (lifecycle_actor = 'operator' OR lifecycle_actor = 'client' OR lifecycle_actor = 'library'),
  CONSTRAINT "0 <= update_count <= total_updates" CHECK (0 <= update_count AND update_count <= total_updates)
) STRICT;

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
  claim_until_monotonic_ms INTEGER, client_name TEXT -- what the client calls itself, without control characters; NULL: not known
  CONSTRAINT "client_name has 1 to 128 characters" CHECK (length(client_name) BETWEEN 1 AND 128), client_version TEXT -- the client's version, likewise
  CONSTRAINT "client_version has 1 to 128 characters" CHECK (length(client_version) BETWEEN 1 AND 128), protocol_version TEXT -- the version of the protocol that the two speak, likewise
  CONSTRAINT "protocol_version has 1 to 128 characters" CHECK (length(protocol_version) BETWEEN 1 AND 128), run_id TEXT -- 32 hex digits that each process of the tree has as GOVSTORE_RUN_ID in its environment; NULL: not a wrapped server
  CONSTRAINT "run_id is 32 hex digits" CHECK (length(run_id) = 32 AND run_id NOT GLOB '*[^0-9a-f]*'), container_runtime TEXT -- docker or podman, if the server is a container; it is removed at the end
  CONSTRAINT "container_runtime is docker or podman" CHECK (container_runtime = 'docker' OR container_runtime = 'podman'), container_id_file TEXT -- where the runtime writes the container's id
  CONSTRAINT "container_id_file comes with container_runtime" CHECK ((container_id_file IS NULL) = (container_runtime IS NULL)), -- from then on anybody may take the claim over, whatever became of the reaper
  CONSTRAINT "a running or terminating process has not ended, any other has" CHECK ((state IN ('running', 'terminating')) = (ended_at IS NULL)),
  CONSTRAINT "a terminating process has a claim with its evidence, any other has none (a reaper of govstore 0.1 ends nobody here: restart it)" CHECK (
    CASE state
      WHEN 'terminating' THEN claim_verdict IS NOT NULL AND claim_evidence IS NOT NULL AND claimed_at IS NOT NULL AND claim_until_monotonic_ms IS NOT NULL
      ELSE coalesce(claim_verdict, claimed_at, claimed_by_pid, claim_until_monotonic_ms) IS NULL
    END
  )
) STRICT;

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
    CONSTRAINT "history_limit is NULL or at least 1" CHECK (history_limit >= 1), history_max_age_days REAL -- days after which pruning removes updates, events and what the reaper did; NULL keeps all
  CONSTRAINT "history_max_age_days is NULL, or above 0 and at most 36500" CHECK (history_max_age_days > 0 AND history_max_age_days <= 36500), prune_automatically INTEGER NOT NULL DEFAULT 0 -- 1: servers prune when they start and once a day
  CONSTRAINT "prune_automatically is 0 or 1" CHECK (prune_automatically IN (0, 1)),
  CONSTRAINT "0 <= risk_healthy_max <= risk_degraded_max <= 1"
    CHECK (0 <= risk_healthy_max AND risk_healthy_max <= risk_degraded_max AND risk_degraded_max <= 1),
  CONSTRAINT "0 <= coherence_degraded_min <= coherence_healthy_min <= 1"
    CHECK (0 <= coherence_degraded_min AND coherence_degraded_min <= coherence_healthy_min AND coherence_healthy_min <= 1),
  CONSTRAINT "stale_after_s is at least heartbeat_interval_s and at most 31536000"
    CHECK (heartbeat_interval_s <= stale_after_s AND stale_after_s <= 31536000)
) STRICT;

CREATE TABLE tool_calls (
  server TEXT NOT NULL -- the name of the server
    CONSTRAINT "server has 1 to 200 characters" CHECK (length(server) BETWEEN 1 AND 200),
  tool TEXT NOT NULL -- the name of the tool
    CONSTRAINT "tool has 1 to 200 characters" CHECK (length(tool) BETWEEN 1 AND 200),
  hour TEXT NOT NULL -- when the hour began in which the calls were answered
    CONSTRAINT "hour is UTC and a full hour" CHECK (hour GLOB '????-??-??T??:00:00.000Z'),
  calls INTEGER NOT NULL -- how many were answered
    CONSTRAINT "calls is above 0" CHECK (calls > 0),
  errors INTEGER NOT NULL -- of these, how many by an error or a result with isError
    CONSTRAINT "errors lies between 0 and calls" CHECK (errors BETWEEN 0 AND calls),
  total_us INTEGER NOT NULL -- microseconds of all calls together
    CONSTRAINT "total_us is not negative" CHECK (total_us >= 0),
  max_us INTEGER NOT NULL -- of the slowest
    CONSTRAINT "max_us is not negative" CHECK (max_us >= 0),
  within_1ms INTEGER NOT NULL, -- how many took no longer than a millisecond
  within_10ms INTEGER NOT NULL, -- than 10 milliseconds, those within one included
  within_100ms INTEGER NOT NULL, -- likewise
  within_1s INTEGER NOT NULL, -- likewise
  within_10s INTEGER NOT NULL, -- likewise
  CONSTRAINT "within_* grow, up to calls"
    CHECK (0 <= within_1ms AND within_1ms <= within_10ms AND within_10ms <= within_100ms
           AND within_100ms <= within_1s AND within_1s <= within_10s AND within_10s <= calls),
  PRIMARY KEY (server, tool, hour)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER agent_locks_keep_their_row
BEFORE DELETE ON agent_locks
BEGIN
  SELECT RAISE(ABORT, 'a released lock keeps its row, for the sake of its token; set process_id, acquired_at and renewed_at to NULL');
END;

CREATE TRIGGER agent_locks_token_never_falls
BEFORE UPDATE OF token ON agent_locks
WHEN NEW.token < OLD.token
BEGIN
  SELECT RAISE(ABORT, 'a token never falls');
END;

CREATE TRIGGER agents_total_updates_never_falls
BEFORE UPDATE OF total_updates ON agents
WHEN NEW.total_updates < OLD.total_updates
BEGIN
  SELECT RAISE(ABORT, 'total_updates never falls');
END;

CREATE TRIGGER reap_events_are_append_only
BEFORE UPDATE ON reap_events
BEGIN
  SELECT RAISE(ABORT, 'reap_events is append only');
END;

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

CREATE VIEW process_status AS
SELECT
  p.process_id,
  p.pid,
  p.name,
  p.version,
  p.client_name,
  p.client_version,
  p.protocol_version,
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

CREATE VIEW risk_parts AS
SELECT
  agent_id,
  update_no,
  applied_at,
  risk_score,
  risk_score - complexity_part - coherence_part - pattern_part AS length_part,
  complexity_part,
  coherence_part,
  pattern_part,
  text_length,
  complexity,
  coherence,
  patterns
FROM (
  SELECT
    agent_id, update_no, applied_at, risk_score, text_length, complexity, coherence,
    0.3 * complexity AS complexity_part,
    0.3 * (1.0 - coherence) AS coherence_part,
    0.2 * min(
      ((patterns & 1) + (patterns >> 1 & 1) + (patterns >> 2 & 1) + (patterns >> 3 & 1) + (patterns >> 4 & 1)
       + (patterns >> 5 & 1) + (patterns >> 6 & 1) + (patterns >> 7 & 1) + (patterns >> 8 & 1) + (patterns >> 9 & 1))
      / 3.0, 1.0) AS pattern_part,
    CASE WHEN patterns IS NOT NULL THEN substr(
      iif(patterns & 1, ', ignore previous', '') || iif(patterns & 2, ', system prompt', '')
      || iif(patterns & 4, ', jailbreak', '') || iif(patterns & 8, ', sudo', '') || iif(patterns & 16, ', rm -rf', '')
      || iif(patterns & 32, ', drop table', '') || iif(patterns & 64, ', script>', '')
      || iif(patterns & 128, ', violate', '') || iif(patterns & 256, ', bypass', '')
      || iif(patterns & 512, ', override safety', ''), 3) END AS patterns
  FROM agent_updates
);

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

