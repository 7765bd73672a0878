-- govstore schema 1 on PostgreSQL: what version 5 of the SQLite schema holds, in the types that PostgreSQL has for it.
--
-- Times are timestamptz, truths boolean, vectors arrays. JSON is json and not jsonb, which reorders keys and drops
-- doubles. Names are compared by their bytes, COLLATE "C", as SQLite does. A constraint's name is a sentence, cut to the
-- 63 bytes that a name may have; src/backend/postgres/failure.rs has the whole ones.

CREATE TABLE govstore_schema (
  version integer NOT NULL PRIMARY KEY,
  applied_at timestamptz(3) NOT NULL
);
COMMENT ON TABLE govstore_schema IS 'The versions that this schema has gone through; the highest is its own';
COMMENT ON COLUMN govstore_schema.version IS 'schema version';
COMMENT ON COLUMN govstore_schema.applied_at IS 'since when';

-- What a column of the tables may hold that every update writes is said by domains: the CHECKs of a table are parsed for
-- each statement, 5 µs each, and those of a domain once a session. That is a quarter of an update.
CREATE DOMAIN agent_id AS text COLLATE "C"
  CONSTRAINT "agent_id has 1 to 128 characters" CHECK (length(VALUE) BETWEEN 1 AND 128)
  CONSTRAINT "agent_id has no control characters" CHECK (VALUE !~ '[\x01-\x1f\x7f-\x9f]');
CREATE DOMAIN lifecycle_status AS text
  CONSTRAINT "lifecycle_status is active, paused, archived or deleted" CHECK (VALUE IN ('active', 'paused', 'archived', 'deleted'));
CREATE DOMAIN energy AS double precision
  CONSTRAINT "energy lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN integrity AS double precision
  CONSTRAINT "integrity lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN entropy AS double precision
  CONSTRAINT "entropy lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN void_integral AS double precision
  CONSTRAINT "void_integral lies between -1 and 1" CHECK (VALUE BETWEEN -1 AND 1);
CREATE DOMAIN coherence AS double precision
  CONSTRAINT "coherence lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN lambda1 AS double precision
  CONSTRAINT "lambda1 lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN pi_integral AS double precision
  CONSTRAINT "pi_integral lies between -5 and 5" CHECK (VALUE BETWEEN -5 AND 5);
CREATE DOMAIN elapsed AS double precision
  CONSTRAINT "elapsed is finite and not negative" CHECK (VALUE BETWEEN 0 AND 1e300);
CREATE DOMAIN risk_score AS double precision
  CONSTRAINT "risk_score lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN last_decision AS text
  CONSTRAINT "last_decision is approve, revise or reject" CHECK (VALUE IN ('approve', 'revise', 'reject'));
CREATE DOMAIN tags AS json
  CONSTRAINT "tags is a JSON array" CHECK (json_typeof(VALUE) = 'array');
CREATE DOMAIN attributes AS json
  CONSTRAINT "attributes is a JSON object" CHECK (json_typeof(VALUE) = 'object');
CREATE DOMAIN parameters AS double precision[]
  CONSTRAINT "parameters holds at most 128 numbers" CHECK (cardinality(VALUE) <= 128);
CREATE DOMAIN recent_void AS double precision[]
  CONSTRAINT "recent_void holds at most 100 numbers" CHECK (cardinality(VALUE) <= 100);
CREATE DOMAIN lifecycle_actor AS text
  CONSTRAINT "lifecycle_actor is operator, client or library" CHECK (VALUE IN ('operator', 'client', 'library'));
CREATE DOMAIN update_no AS bigint
  CONSTRAINT "update_no is at least 1" CHECK (VALUE >= 1);
CREATE DOMAIN decision AS text
  CONSTRAINT "decision is approve, revise or reject" CHECK (VALUE IN ('approve', 'revise', 'reject'));
CREATE DOMAIN health_status AS text
  CONSTRAINT "health_status is healthy, degraded or critical" CHECK (VALUE IN ('healthy', 'degraded', 'critical'));
CREATE DOMAIN complexity AS double precision
  CONSTRAINT "complexity lies between 0 and 1" CHECK (VALUE BETWEEN 0 AND 1);
CREATE DOMAIN text_length AS bigint
  CONSTRAINT "text_length is not negative" CHECK (VALUE >= 0);
CREATE DOMAIN patterns AS bigint
  CONSTRAINT "patterns lies between 0 and 1023" CHECK (VALUE BETWEEN 0 AND 1023);
CREATE DOMAIN key AS text COLLATE "C"
  CONSTRAINT "key has 1 to 200 characters" CHECK (VALUE IS NULL OR length(VALUE) BETWEEN 1 AND 200);

CREATE TABLE settings (
  settings_id bigint PRIMARY KEY
    CONSTRAINT "settings has one row" CHECK (settings_id = 1),
  risk_healthy_max double precision NOT NULL DEFAULT 0.15,
  risk_degraded_max double precision NOT NULL DEFAULT 0.30,
  coherence_healthy_min double precision NOT NULL DEFAULT 0.85,
  coherence_degraded_min double precision NOT NULL DEFAULT 0.60,
  coherence_overrides_risk boolean NOT NULL DEFAULT false,
  heartbeat_interval_s double precision NOT NULL DEFAULT 30
    CONSTRAINT "heartbeat_interval_s lies between 0.05 and 86400" CHECK (heartbeat_interval_s BETWEEN 0.05 AND 86400),
  stale_after_s double precision NOT NULL DEFAULT 300,
  max_processes bigint NOT NULL DEFAULT 9
    CONSTRAINT "max_processes lies between 1 and 10000" CHECK (max_processes BETWEEN 1 AND 10000),
  limit_policy text NOT NULL DEFAULT 'spare'
    CONSTRAINT "limit_policy is spare, evict or refuse" CHECK (limit_policy IN ('spare', 'evict', 'refuse')),
  terminate_grace_ms bigint NOT NULL DEFAULT 2000
    CONSTRAINT "terminate_grace_ms lies between 0 and 600000" CHECK (terminate_grace_ms BETWEEN 0 AND 600000),
  lock_timeout_ms bigint NOT NULL DEFAULT 5000
    CONSTRAINT "lock_timeout_ms lies between 0 and 3600000" CHECK (lock_timeout_ms BETWEEN 0 AND 3600000),
  history_limit bigint
    CONSTRAINT "history_limit is NULL or at least 1" CHECK (history_limit >= 1),
  history_max_age_days double precision
    CONSTRAINT "history_max_age_days is NULL, or above 0 and at most 36500" CHECK (history_max_age_days > 0 AND history_max_age_days <= 36500),
  prune_automatically boolean NOT NULL DEFAULT false,
  CONSTRAINT "0 <= risk_healthy_max <= risk_degraded_max <= 1"
      CHECK (0 <= risk_healthy_max AND risk_healthy_max <= risk_degraded_max AND risk_degraded_max <= 1),
  CONSTRAINT "0 <= coherence_degraded_min <= coherence_healthy_min <= 1"
      CHECK (0 <= coherence_degraded_min AND coherence_degraded_min <= coherence_healthy_min AND coherence_healthy_min <= 1),
  CONSTRAINT "stale_after_s is heartbeat_interval_s to 31536000" CHECK (heartbeat_interval_s <= stale_after_s AND stale_after_s <= 31536000)
);

COMMENT ON TABLE settings IS 'One row: how this database judges health, reaps, waits and keeps history. Change it with `govstore config set` or with UPDATE; running servers follow';
COMMENT ON COLUMN settings.settings_id IS 'always 1';
COMMENT ON COLUMN settings.risk_healthy_max IS 'risk below this is healthy';
COMMENT ON COLUMN settings.risk_degraded_max IS 'risk below this is degraded, from it on critical';
COMMENT ON COLUMN settings.coherence_healthy_min IS 'without a risk: coherence from this on is healthy';
COMMENT ON COLUMN settings.coherence_degraded_min IS 'without a risk: coherence below this is critical';
COMMENT ON COLUMN settings.coherence_overrides_risk IS 'true: coherence below coherence_degraded_min is critical whatever the risk';
COMMENT ON COLUMN settings.heartbeat_interval_s IS 'seconds between two heartbeats of a process';
COMMENT ON COLUMN settings.stale_after_s IS 'a heartbeat older than this many seconds makes its process suspect';
COMMENT ON COLUMN settings.max_processes IS 'registered processes that are meant to be there at once';
COMMENT ON COLUMN settings.limit_policy IS 'over max_processes: spare whoever has a client, evict the unused, or refuse newcomers';
COMMENT ON COLUMN settings.terminate_grace_ms IS 'milliseconds between SIGTERM and SIGKILL';
COMMENT ON COLUMN settings.lock_timeout_ms IS 'milliseconds to wait for the write lock or an agent''s lock';
COMMENT ON COLUMN settings.history_limit IS 'updates to keep for each agent when pruning; NULL keeps all';
COMMENT ON COLUMN settings.history_max_age_days IS 'days after which pruning removes updates, events and what the reaper did; NULL keeps all';
COMMENT ON COLUMN settings.prune_automatically IS 'true: servers prune when they start and once a day';

INSERT INTO settings (settings_id) VALUES (1);

CREATE TABLE agents (
  agent_id agent_id NOT NULL PRIMARY KEY,
  lifecycle_status lifecycle_status NOT NULL DEFAULT 'active',
  created_at timestamptz(3) NOT NULL,
  last_update_at timestamptz(3),
  paused_at timestamptz(3),
  archived_at timestamptz(3),
  deleted_at timestamptz(3),
  version text NOT NULL DEFAULT 'v1.0',
  energy energy NOT NULL DEFAULT 0.5,
  integrity integrity NOT NULL DEFAULT 0.9,
  entropy entropy NOT NULL DEFAULT 0.5,
  void_integral void_integral NOT NULL DEFAULT 0,
  coherence coherence,
  lambda1 lambda1 NOT NULL DEFAULT 0.15,
  pi_integral pi_integral NOT NULL DEFAULT 0,
  elapsed elapsed NOT NULL DEFAULT 0,
  risk_score risk_score,
  void_active boolean NOT NULL DEFAULT false,
  update_count bigint NOT NULL DEFAULT 0,
  total_updates bigint NOT NULL DEFAULT 0,
  last_decision last_decision,
  last_decision_reason text,
  tags tags NOT NULL DEFAULT '[]',
  notes text NOT NULL DEFAULT '',
  attributes attributes NOT NULL DEFAULT '{}',
  parameters parameters,
  recent_void recent_void NOT NULL DEFAULT '{}',
  lifecycle_actor lifecycle_actor,
  CONSTRAINT "0 <= update_count <= total_updates" CHECK (0 <= update_count AND update_count <= total_updates)
) WITH (fillfactor = 70);

COMMENT ON TABLE agents IS 'One agent: its current state and what people say about it. No index beside the primary key, so that updates stay on their page: health is judged by a scan';
COMMENT ON COLUMN agents.agent_id IS 'the name its clients call it by: 1 to 128 characters, no control characters';
COMMENT ON COLUMN agents.lifecycle_status IS 'active, paused, archived or deleted; only an active agent takes updates';
COMMENT ON COLUMN agents.created_at IS 'first seen';
COMMENT ON COLUMN agents.last_update_at IS 'newest update; an administrator''s edit leaves it alone; NULL before the first';
COMMENT ON COLUMN agents.paused_at IS 'since when it is paused, else NULL';
COMMENT ON COLUMN agents.archived_at IS 'since when it is archived (kept when it is then deleted), else NULL';
COMMENT ON COLUMN agents.deleted_at IS 'since when it is deleted, else NULL';
COMMENT ON COLUMN agents.version IS 'version label that v1.0.3 clients read';
COMMENT ON COLUMN agents.energy IS 'E';
COMMENT ON COLUMN agents.integrity IS 'I, information integrity';
COMMENT ON COLUMN agents.entropy IS 'S';
COMMENT ON COLUMN agents.void_integral IS 'V, the integrated imbalance of E and I';
COMMENT ON COLUMN agents.coherence IS 'of the newest parameters with those before; NULL before the first update';
COMMENT ON COLUMN agents.lambda1 IS 'ethical coupling, set by the controller';
COMMENT ON COLUMN agents.pi_integral IS 'the controller''s integral term';
COMMENT ON COLUMN agents.elapsed IS 'simulated time since the start or the last reset, 0.1 an update';
COMMENT ON COLUMN agents.risk_score IS 'of the newest update; NULL before the first';
COMMENT ON COLUMN agents.void_active IS 'true: abs V is over its threshold';
COMMENT ON COLUMN agents.update_count IS 'updates since the start or the last reset';
COMMENT ON COLUMN agents.total_updates IS 'updates in its lifetime; never falls; the newest update_no';
COMMENT ON COLUMN agents.last_decision IS 'of the newest update: approve, revise or reject; NULL before the first';
COMMENT ON COLUMN agents.last_decision_reason IS 'why, in words';
COMMENT ON COLUMN agents.tags IS 'JSON array of strings';
COMMENT ON COLUMN agents.notes IS 'free text';
COMMENT ON COLUMN agents.attributes IS 'JSON object that belongs to the linking server';
COMMENT ON COLUMN agents.parameters IS 'the newest parameter vector: at most 128, trailing zeros left out; NULL before the first';
COMMENT ON COLUMN agents.recent_void IS 'the last V values, oldest first: at most 100';
COMMENT ON COLUMN agents.lifecycle_actor IS 'who paused, archived, deleted or resumed it last; what an operator paused or archived, others can''t undo; NULL: nobody was named';

CREATE TABLE agent_updates (
  agent_id text COLLATE "C" NOT NULL REFERENCES agents (agent_id),
  update_no update_no NOT NULL,
  applied_at timestamptz(3),
  energy energy,
  integrity integrity,
  entropy entropy,
  void_integral void_integral NOT NULL,
  coherence coherence NOT NULL,
  lambda1 lambda1,
  risk_score risk_score NOT NULL,
  void_active boolean NOT NULL,
  elapsed elapsed,
  decision decision NOT NULL,
  decision_reason text,
  health_status health_status NOT NULL,
  process_id bigint,
  complexity complexity,
  text_length text_length,
  patterns patterns,
  key key,
  receipt bigint,
  key_receipt bytea
    CONSTRAINT "key_receipt holds 16 bytes and comes with key"
      CHECK (key IS NULL AND key_receipt IS NULL OR key IS NOT NULL AND octet_length(key_receipt) IS NOT DISTINCT FROM 16),
  PRIMARY KEY (agent_id, update_no)
);

COMMENT ON TABLE agent_updates IS 'One update of one agent. Rows that were imported from v1.0.3 have NULL where it kept nothing';
COMMENT ON COLUMN agent_updates.agent_id IS 'whose';
COMMENT ON COLUMN agent_updates.update_no IS '1, 2, 3, … in the agent''s lifetime, without gaps';
COMMENT ON COLUMN agent_updates.applied_at IS 'when it was committed; NULL if imported';
COMMENT ON COLUMN agent_updates.energy IS 'E after the update; NULL in imported rows but the last';
COMMENT ON COLUMN agent_updates.integrity IS 'I, likewise';
COMMENT ON COLUMN agent_updates.entropy IS 'S, likewise';
COMMENT ON COLUMN agent_updates.void_integral IS 'V';
COMMENT ON COLUMN agent_updates.coherence IS 'parameter coherence';
COMMENT ON COLUMN agent_updates.lambda1 IS 'ethical coupling after the update; NULL in imported rows but the last';
COMMENT ON COLUMN agent_updates.risk_score IS '0 to 1';
COMMENT ON COLUMN agent_updates.void_active IS 'true: abs V is over its threshold';
COMMENT ON COLUMN agent_updates.elapsed IS 'simulated time since the start or the last reset; NULL in imported rows but the last';
COMMENT ON COLUMN agent_updates.decision IS 'approve, revise or reject';
COMMENT ON COLUMN agent_updates.decision_reason IS 'why, in words; NULL if imported';
COMMENT ON COLUMN agent_updates.health_status IS 'as judged then, by the settings of then';
COMMENT ON COLUMN agent_updates.process_id IS 'registry id of the process that applied it, NULL if it was not registered; no reference: history outlives the registry';
COMMENT ON COLUMN agent_updates.complexity IS 'as it counted: 0 to 1; NULL in rows of older versions and in imported ones';
COMMENT ON COLUMN agent_updates.text_length IS 'characters of the response, likewise';
COMMENT ON COLUMN agent_updates.patterns IS 'which patterns occurred, one bit each, likewise; risk_parts has them in words';
COMMENT ON COLUMN agent_updates.key IS '1 to 200 characters; NULL: without';
COMMENT ON COLUMN agent_updates.receipt IS 'a random number, by which its writer finds it again after a lost connection; NULL if imported';
COMMENT ON COLUMN agent_updates.key_receipt IS 'what a retry is answered by: 8 bytes that stand for the input, then update_count after the update as a little-endian integer of 8 bytes; NULL without key';

CREATE TABLE agent_events (
  event_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  agent_id text COLLATE "C" NOT NULL REFERENCES agents (agent_id),
  event text NOT NULL
    CONSTRAINT "event is one of its words"
      CHECK (event IN ('created', 'paused', 'resumed', 'archived', 'deleted', 'reset', 'unlocked', 'health_changed')),
  occurred_at timestamptz(3) NOT NULL,
  reason text,
  health_from text
    CONSTRAINT "health_from is healthy, degraded or critical" CHECK (health_from IN ('healthy', 'degraded', 'critical')),
  health_to text
    CONSTRAINT "health_to is healthy, degraded or critical" CHECK (health_to IN ('healthy', 'degraded', 'critical')),
  process_id bigint,
  actor text
    CONSTRAINT "actor is operator, client or library" CHECK (actor IN ('operator', 'client', 'library')),
  actor_name text
    CONSTRAINT "actor_name has 1 to 200 characters and comes with actor"
      CHECK (actor_name IS NULL OR length(actor_name) BETWEEN 1 AND 200 AND actor IS NOT NULL),
  CONSTRAINT "health_to is set for health_changed alone" CHECK ((event = 'health_changed') = (health_to IS NOT NULL))
);

COMMENT ON TABLE agent_events IS 'A lifecycle event of an agent, or a change of its health. Append only';
COMMENT ON COLUMN agent_events.event_id IS 'order of arrival';
COMMENT ON COLUMN agent_events.agent_id IS 'whose';
COMMENT ON COLUMN agent_events.event IS 'what happened';
COMMENT ON COLUMN agent_events.occurred_at IS 'when';
COMMENT ON COLUMN agent_events.reason IS 'in the words of whoever did it; for health_changed the health message, for unlocked also from whom';
COMMENT ON COLUMN agent_events.health_from IS 'health_changed: the status before; NULL at the first update';
COMMENT ON COLUMN agent_events.health_to IS 'health_changed: the status after';
COMMENT ON COLUMN agent_events.process_id IS 'registry id of the process that did it, if it was registered';
COMMENT ON COLUMN agent_events.actor IS 'operator, client or library; NULL: nobody was named';
COMMENT ON COLUMN agent_events.actor_name IS 'who that was, in its own words; NULL: not known';

CREATE TABLE processes (
  process_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  name text NOT NULL
    CONSTRAINT "name has 1 to 200 characters" CHECK (length(name) BETWEEN 1 AND 200),
  version text NOT NULL,
  pid bigint NOT NULL
    CONSTRAINT "pid lies between 1 and 2147483647" CHECK (pid BETWEEN 1 AND 2147483647),
  host_id text,
  boot_id text NOT NULL,
  pid_namespace bigint
    CONSTRAINT "pid_namespace is not negative" CHECK (pid_namespace >= 0),
  time_namespace bigint
    CONSTRAINT "time_namespace is not negative" CHECK (time_namespace >= 0),
  start_ticks bigint NOT NULL
    CONSTRAINT "start_ticks is not negative" CHECK (start_ticks >= 0),
  parent_pid bigint
    CONSTRAINT "parent_pid lies between 1 and 2147483647" CHECK (parent_pid BETWEEN 1 AND 2147483647),
  parent_start_ticks bigint
    CONSTRAINT "parent_start_ticks is not negative" CHECK (parent_start_ticks >= 0),
  uid bigint
    CONSTRAINT "uid lies between 0 and 4294967295" CHECK (uid BETWEEN 0 AND 4294967295),
  registered_at timestamptz(3) NOT NULL,
  last_activity_at timestamptz(3),
  last_activity_monotonic_ms bigint NOT NULL,
  parent_gone boolean NOT NULL DEFAULT false,
  state text NOT NULL DEFAULT 'running'
    CONSTRAINT "state is one of its words"
      CHECK (state IN ('running', 'terminating', 'ended', 'exited', 'terminated', 'killed', 'forgotten')),
  ended_at timestamptz(3),
  claim_verdict text
    CONSTRAINT "claim_verdict is stale, orphaned or surplus" CHECK (claim_verdict IN ('stale', 'orphaned', 'surplus')),
  claim_evidence text,
  claimed_at timestamptz(3),
  claimed_by_pid bigint
    CONSTRAINT "claimed_by_pid lies between 1 and 2147483647" CHECK (claimed_by_pid BETWEEN 1 AND 2147483647),
  claimed_by_pid_namespace bigint
    CONSTRAINT "claimed_by_pid_namespace is not negative" CHECK (claimed_by_pid_namespace >= 0),
  claimed_by_start_ticks bigint
    CONSTRAINT "claimed_by_start_ticks is not negative" CHECK (claimed_by_start_ticks >= 0),
  claim_until_monotonic_ms bigint,
  client_name text
    CONSTRAINT "client_name has 1 to 128 characters" CHECK (length(client_name) BETWEEN 1 AND 128),
  client_version text
    CONSTRAINT "client_version has 1 to 128 characters" CHECK (length(client_version) BETWEEN 1 AND 128),
  protocol_version text
    CONSTRAINT "protocol_version has 1 to 128 characters" CHECK (length(protocol_version) BETWEEN 1 AND 128),
  run_id text
    CONSTRAINT "run_id is 32 hex digits" CHECK (length(run_id) = 32 AND run_id !~ '[^0-9a-f]'),
  container_runtime text
    CONSTRAINT "container_runtime is docker or podman" CHECK (container_runtime IN ('docker', 'podman')),
  container_id_file text
    CONSTRAINT "container_id_file comes with container_runtime" CHECK ((container_id_file IS NULL) = (container_runtime IS NULL)),
  CONSTRAINT "a running or terminating process has not ended, any other has" CHECK ((state IN ('running', 'terminating')) = (ended_at IS NULL)),
  CONSTRAINT "a terminating process has a claim with its evidence"
      CHECK (CASE state WHEN 'terminating' THEN claim_verdict IS NOT NULL AND claim_evidence IS NOT NULL AND claimed_at IS NOT NULL AND claim_until_monotonic_ms IS NOT NULL ELSE claim_verdict IS NULL AND claimed_at IS NULL AND claimed_by_pid IS NULL AND claim_until_monotonic_ms IS NULL END)
) WITH (fillfactor = 70);

COMMENT ON TABLE processes IS 'One registered server process. Six columns identify it: host_id, boot_id, pid_namespace, time_namespace, pid, start_ticks. A PID alone says nothing, since the kernel gives it to others once its owner is gone';
COMMENT ON COLUMN processes.process_id IS 'registry id; never given twice, since history refers to it';
COMMENT ON COLUMN processes.name IS 'what it calls itself';
COMMENT ON COLUMN processes.version IS 'its version, in its own words';
COMMENT ON COLUMN processes.pid IS 'as its own PID namespace counts';
COMMENT ON COLUMN processes.host_id IS 'which machine, by its machine id; NULL where it has none, as many containers';
COMMENT ON COLUMN processes.boot_id IS 'which boot of which machine; ''unknown'' where the system has no such id';
COMMENT ON COLUMN processes.pid_namespace IS 'inode of its PID namespace; NULL where the system has none';
COMMENT ON COLUMN processes.time_namespace IS 'inode of its time namespace; NULL where the system has none, or if registered by govstore 0.1';
COMMENT ON COLUMN processes.start_ticks IS 'when it started: kernel ticks since boot on Linux, elsewhere seconds since 1970';
COMMENT ON COLUMN processes.parent_pid IS 'its client at registration; NULL if that could not be seen';
COMMENT ON COLUMN processes.parent_start_ticks IS 'when its client started; NULL if that could not be seen';
COMMENT ON COLUMN processes.uid IS 'its user; NULL where the system has no numbers for users';
COMMENT ON COLUMN processes.registered_at IS 'when it registered';
COMMENT ON COLUMN processes.last_activity_at IS 'when its client last used it; NULL: not yet';
COMMENT ON COLUMN processes.last_activity_monotonic_ms IS 'since when it is unused, on the clock that is judged by: its last use, else its registration';
COMMENT ON COLUMN processes.parent_gone IS 'true: at its last beat its client was gone';
COMMENT ON COLUMN processes.state IS 'running; terminating: a reaper has claimed it; else how it ended';
COMMENT ON COLUMN processes.ended_at IS 'when it deregistered, or was found or made to be gone; NULL until then';
COMMENT ON COLUMN processes.claim_verdict IS 'why a reaper claimed it; all columns of the claim are NULL unless terminating';
COMMENT ON COLUMN processes.claim_evidence IS 'what that rests on, in words, for its log';
COMMENT ON COLUMN processes.claimed_at IS 'when it was claimed';
COMMENT ON COLUMN processes.claimed_by_pid IS 'the reaper; NULL once it has given up';
COMMENT ON COLUMN processes.claimed_by_pid_namespace IS 'the reaper''s PID namespace';
COMMENT ON COLUMN processes.claimed_by_start_ticks IS 'when the reaper started';
COMMENT ON COLUMN processes.claim_until_monotonic_ms IS 'from then on anybody may take the claim over, whatever became of the reaper';
COMMENT ON COLUMN processes.client_name IS 'what the client calls itself, without control characters; NULL: not known';
COMMENT ON COLUMN processes.client_version IS 'the client''s version, likewise';
COMMENT ON COLUMN processes.protocol_version IS 'the version of the protocol that the two speak, likewise';
COMMENT ON COLUMN processes.run_id IS '32 hex digits that each process of the tree has as GOVSTORE_RUN_ID in its environment; NULL: not a wrapped server';
COMMENT ON COLUMN processes.container_runtime IS 'docker or podman, if the server is a container; it is removed at the end';
COMMENT ON COLUMN processes.container_id_file IS 'where the runtime writes the container''s id';

CREATE TABLE heartbeats (
  process_id bigint PRIMARY KEY REFERENCES processes (process_id) ON DELETE CASCADE,
  boot_id text NOT NULL,
  monotonic_ms bigint NOT NULL,
  beat_at timestamptz(3) NOT NULL,
  interval_ms bigint NOT NULL
    CONSTRAINT "interval_ms is at least 1" CHECK (interval_ms >= 1),
  recovered_monotonic_ms bigint,
  suspected_monotonic_ms bigint
) WITH (fillfactor = 50);

COMMENT ON TABLE heartbeats IS 'The last beat of one process. The row goes when the process ends';
COMMENT ON COLUMN heartbeats.process_id IS 'whose';
COMMENT ON COLUMN heartbeats.boot_id IS 'the boot whose clock monotonic_ms is of';
COMMENT ON COLUMN heartbeats.monotonic_ms IS 'when, on the clock that is judged by';
COMMENT ON COLUMN heartbeats.beat_at IS 'when, for people';
COMMENT ON COLUMN heartbeats.interval_ms IS 'within how long it promised the next beat: the settings as it knew them';
COMMENT ON COLUMN heartbeats.recovered_monotonic_ms IS 'when a beat last came late, as after a freeze: what it saw just then of others may be just as late';
COMMENT ON COLUMN heartbeats.suspected_monotonic_ms IS 'when a reaper first found this beat stale and put off its judgement';

CREATE TABLE agent_locks (
  agent_id text COLLATE "C" NOT NULL PRIMARY KEY REFERENCES agents (agent_id),
  token bigint NOT NULL
    CONSTRAINT "token is at least 1" CHECK (token >= 1),
  process_id bigint,
  acquired_at timestamptz(3),
  renewed_at timestamptz(3),
  reason text,
  CONSTRAINT "a held lock has acquired_at and renewed_at"
      CHECK ((process_id IS NULL) = (acquired_at IS NULL) AND (process_id IS NULL) = (renewed_at IS NULL))
);

COMMENT ON TABLE agent_locks IS 'One lock on one agent, held or released. A released lock keeps its row, for the sake of its token';
COMMENT ON COLUMN agent_locks.agent_id IS 'which agent is locked';
COMMENT ON COLUMN agent_locks.token IS 'fencing token: one more with every acquisition';
COMMENT ON COLUMN agent_locks.process_id IS 'registry id of the holder; NULL: released. No reference: a forgotten holder is for the locks to notice';
COMMENT ON COLUMN agent_locks.acquired_at IS 'since when it is held; NULL if released';
COMMENT ON COLUMN agent_locks.renewed_at IS 'when the holder last said that it still needs it; NULL if released';
COMMENT ON COLUMN agent_locks.reason IS 'what for, in the holder''s words';

CREATE TABLE reap_events (
  reap_event_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  recorded_at timestamptz(3) NOT NULL,
  process_id bigint NOT NULL,
  name text NOT NULL,
  version text NOT NULL,
  pid bigint NOT NULL
    CONSTRAINT "pid lies between 1 and 2147483647" CHECK (pid BETWEEN 1 AND 2147483647),
  boot_id text NOT NULL,
  pid_namespace bigint
    CONSTRAINT "pid_namespace is not negative" CHECK (pid_namespace >= 0),
  start_ticks bigint NOT NULL
    CONSTRAINT "start_ticks is not negative" CHECK (start_ticks >= 0),
  verdict text NOT NULL
    CONSTRAINT "verdict is one of its words"
      CHECK (verdict IN ('alive', 'exited', 'suspect', 'stale', 'orphaned', 'surplus', 'remote', 'unverifiable')),
  evidence text NOT NULL,
  heartbeat_age_ms bigint,
  activity_age_ms bigint,
  claimed_at timestamptz(3),
  signals text NOT NULL DEFAULT '',
  took_ms bigint,
  outcome text NOT NULL
    CONSTRAINT "outcome is one of its words"
      CHECK (outcome IN ('terminated', 'killed', 'gone', 'forgotten', 'postponed', 'continued', 'released', 'survived', 'denied')),
  reaper_pid bigint NOT NULL
    CONSTRAINT "reaper_pid lies between 1 and 2147483647" CHECK (reaper_pid BETWEEN 1 AND 2147483647),
  reaper_process_id bigint
);

COMMENT ON TABLE reap_events IS 'The reaper''s ledger: one thing it did, or decided to put off. Append only; the oldest entries are removed';
COMMENT ON COLUMN reap_events.reap_event_id IS 'order of arrival';
COMMENT ON COLUMN reap_events.recorded_at IS 'when it was over';
COMMENT ON COLUMN reap_events.process_id IS 'the victim''s registry id; no reference: the ledger outlives the registry';
COMMENT ON COLUMN reap_events.name IS 'what the victim called itself';
COMMENT ON COLUMN reap_events.version IS 'the victim''s version';
COMMENT ON COLUMN reap_events.pid IS 'the victim''s identity: PID,';
COMMENT ON COLUMN reap_events.boot_id IS 'boot,';
COMMENT ON COLUMN reap_events.pid_namespace IS 'PID namespace,';
COMMENT ON COLUMN reap_events.start_ticks IS 'and start';
COMMENT ON COLUMN reap_events.verdict IS 'what it was judged to be';
COMMENT ON COLUMN reap_events.evidence IS 'what the verdict rests on, in words';
COMMENT ON COLUMN reap_events.heartbeat_age_ms IS 'age of its heartbeat when it was judged; NULL if that is not known';
COMMENT ON COLUMN reap_events.activity_age_ms IS 'age of its activity then; NULL if there was none or that is not known';
COMMENT ON COLUMN reap_events.claimed_at IS 'when it was claimed; NULL if it was not to be signalled, or if it held the lock that a claim needs';
COMMENT ON COLUMN reap_events.signals IS 'what was sent, in order: ''TERM CONT'', ''CONT TERM CONT KILL'', or nothing';
COMMENT ON COLUMN reap_events.took_ms IS 'milliseconds from the first signal to the outcome; NULL if nothing was sent';
COMMENT ON COLUMN reap_events.outcome IS 'terminated: it obeyed SIGTERM; gone: it ended before it was signalled; continued: SIGCONT was enough; released: it lives, its locks were let go; survived, denied: tried again later';
COMMENT ON COLUMN reap_events.reaper_pid IS 'by whom';
COMMENT ON COLUMN reap_events.reaper_process_id IS 'the reaper''s registry id, if it was registered';

CREATE TABLE tool_calls (
  server text COLLATE "C" NOT NULL
    CONSTRAINT "server has 1 to 200 characters" CHECK (length(server) BETWEEN 1 AND 200),
  tool text COLLATE "C" NOT NULL
    CONSTRAINT "tool has 1 to 200 characters" CHECK (length(tool) BETWEEN 1 AND 200),
  hour timestamptz(3) NOT NULL,
  calls bigint NOT NULL
    CONSTRAINT "calls is above 0" CHECK (calls > 0),
  errors bigint NOT NULL
    CONSTRAINT "errors lies between 0 and calls" CHECK (errors BETWEEN 0 AND calls),
  total_us bigint NOT NULL
    CONSTRAINT "total_us is not negative" CHECK (total_us >= 0),
  max_us bigint NOT NULL
    CONSTRAINT "max_us is not negative" CHECK (max_us >= 0),
  within_1ms bigint NOT NULL,
  within_10ms bigint NOT NULL,
  within_100ms bigint NOT NULL,
  within_1s bigint NOT NULL,
  within_10s bigint NOT NULL,
  CONSTRAINT "within_* grow, up to calls"
      CHECK (0 <= within_1ms AND within_1ms <= within_10ms AND within_10ms <= within_100ms AND within_100ms <= within_1s AND within_1s <= within_10s AND within_10s <= calls),
  PRIMARY KEY (server, tool, hour)
);

COMMENT ON TABLE tool_calls IS 'What the tools of wrapped servers were called for, an hour a row. Times are from the call to its answer';
COMMENT ON COLUMN tool_calls.server IS 'the name of the server';
COMMENT ON COLUMN tool_calls.tool IS 'the name of the tool';
COMMENT ON COLUMN tool_calls.hour IS 'when the hour began in which the calls were answered';
COMMENT ON COLUMN tool_calls.calls IS 'how many were answered';
COMMENT ON COLUMN tool_calls.errors IS 'of these, how many by an error or a result with isError';
COMMENT ON COLUMN tool_calls.total_us IS 'microseconds of all calls together';
COMMENT ON COLUMN tool_calls.max_us IS 'of the slowest';
COMMENT ON COLUMN tool_calls.within_1ms IS 'how many took no longer than a millisecond';
COMMENT ON COLUMN tool_calls.within_10ms IS 'than 10 milliseconds, those within one included';
COMMENT ON COLUMN tool_calls.within_100ms IS 'likewise';
COMMENT ON COLUMN tool_calls.within_1s IS 'likewise';
COMMENT ON COLUMN tool_calls.within_10s IS 'likewise';

CREATE TABLE hosts (
  host_key text COLLATE "C" NOT NULL PRIMARY KEY
    CONSTRAINT "host_key has 1 to 300 characters" CHECK (length(host_key) BETWEEN 1 AND 300),
  name text NOT NULL
    CONSTRAINT "name has 1 to 200 characters" CHECK (length(name) BETWEEN 1 AND 200),
  registered_at timestamptz(3) NOT NULL,
  beat_at timestamptz(3) NOT NULL,
  lease_until timestamptz(3) NOT NULL,
  cleared_at timestamptz(3)
) WITH (fillfactor = 50);
COMMENT ON TABLE hosts IS 'One boot of one machine that has registered processes. Its processes renew its lease; once that has lapsed, anybody frees their rows and locks, and signals nobody';
COMMENT ON COLUMN hosts.host_key IS 'machine id and boot id';
COMMENT ON COLUMN hosts.name IS 'the name of the machine, for people';
COMMENT ON COLUMN hosts.registered_at IS 'since when it is known';
COMMENT ON COLUMN hosts.beat_at IS 'when one of its processes last renewed the lease';
COMMENT ON COLUMN hosts.lease_until IS 'until when the lease holds, on the clock of this server';
COMMENT ON COLUMN hosts.cleared_at IS 'when its rows were freed after the lease had lapsed; NULL: not';

CREATE TABLE receipts (
  receipt bigint NOT NULL PRIMARY KEY,
  written_at timestamptz(3) NOT NULL
);
COMMENT ON TABLE receipts IS 'Changes other than updates, which have a receipt in their own row: by these their writers find out, after a lost connection, whether they were kept. Those of yesterday are removed';
COMMENT ON COLUMN receipts.receipt IS 'a random number';
COMMENT ON COLUMN receipts.written_at IS 'when';

CREATE TABLE unfinished_copy (
  copied_from text NOT NULL PRIMARY KEY,
  begun_at timestamptz(3) NOT NULL
);
COMMENT ON TABLE unfinished_copy IS 'One row while `govstore copy` fills this database: until it has, nobody else opens it';
COMMENT ON COLUMN unfinished_copy.copied_from IS 'the database that it is a copy of';
COMMENT ON COLUMN unfinished_copy.begun_at IS 'since when';

CREATE INDEX agent_events_by_agent ON agent_events (agent_id, event_id);
CREATE INDEX agent_locks_by_holder ON agent_locks (process_id) WHERE process_id IS NOT NULL;
CREATE UNIQUE INDEX agent_updates_by_key ON agent_updates (agent_id, key) WHERE key IS NOT NULL;
CREATE INDEX agent_updates_by_time ON agent_updates (applied_at);
CREATE INDEX processes_registered_of_host ON processes (boot_id, process_id) WHERE state IN ('running', 'terminating');
CREATE UNIQUE INDEX processes_registered ON processes (pid, start_ticks, boot_id, coalesce(pid_namespace, 0))
WHERE state IN ('running', 'terminating');
CREATE INDEX processes_ended ON processes (ended_at DESC, process_id DESC) WHERE ended_at IS NOT NULL;
CREATE INDEX receipts_by_age ON receipts (written_at);
CREATE INDEX tool_calls_by_hour ON tool_calls (hour);

-- Numbers come from a sequence when a row is inserted, and rows become visible when their transactions commit, which is
-- another order: who follows events by their numbers would skip one. So whoever inserts an event holds this lock until
-- it commits. Followers are woken by a notification, which takes a lock of the whole instance at the commit anyway.
CREATE FUNCTION govstore_in_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(1735357299, 2);
  PERFORM pg_notify('govstore', TG_TABLE_NAME);
  RETURN NULL;
END
$$;
CREATE TRIGGER agent_events_in_order BEFORE INSERT ON agent_events
FOR EACH STATEMENT EXECUTE FUNCTION govstore_in_order();
CREATE TRIGGER reap_events_in_order BEFORE INSERT ON reap_events
FOR EACH STATEMENT EXECUTE FUNCTION govstore_in_order();

CREATE FUNCTION govstore_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0], MESSAGE = TG_ARGV[0];
END
$$;
CREATE TRIGGER agent_locks_keep_their_row BEFORE DELETE ON agent_locks
FOR EACH ROW EXECUTE FUNCTION govstore_refuse(
  'a released lock keeps its row, for the sake of its token; set process_id, acquired_at and renewed_at to NULL');
CREATE TRIGGER agent_locks_token_never_falls BEFORE UPDATE OF token ON agent_locks
FOR EACH ROW WHEN (NEW.token < OLD.token) EXECUTE FUNCTION govstore_refuse('a token never falls');
CREATE TRIGGER agents_total_updates_never_falls BEFORE UPDATE OF total_updates ON agents
FOR EACH ROW WHEN (NEW.total_updates < OLD.total_updates) EXECUTE FUNCTION govstore_refuse('total_updates never falls');
CREATE TRIGGER reap_events_are_append_only BEFORE UPDATE ON reap_events
FOR EACH ROW EXECUTE FUNCTION govstore_refuse('reap_events is append only');

CREATE VIEW agent_health AS
SELECT
  a.agent_id,
  a.lifecycle_status,
  CASE
    WHEN a.void_active THEN 'critical'
    WHEN s.coherence_overrides_risk AND a.coherence < s.coherence_degraded_min THEN 'critical'
    WHEN a.risk_score < s.risk_healthy_max THEN 'healthy'
    WHEN a.risk_score < s.risk_degraded_max THEN 'degraded'
    WHEN a.risk_score IS NOT NULL THEN 'critical'
    WHEN a.coherence >= s.coherence_healthy_min THEN 'healthy'
    WHEN a.coherence >= s.coherence_degraded_min THEN 'degraded'
    WHEN a.coherence IS NOT NULL THEN 'critical'
    ELSE 'degraded'
  END AS health_status,
  round(a.risk_score::numeric, 6)::double precision AS risk_score,
  round(a.coherence::numeric, 6)::double precision AS coherence,
  a.void_active,
  a.last_decision,
  a.total_updates,
  a.last_update_at
FROM settings AS s
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
) AS counted;

-- Seconds from one moment to another, to a tenth.
CREATE FUNCTION govstore_seconds(since timestamptz, until timestamptz) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT round(extract(epoch FROM until - since), 1)::double precision $$;

CREATE VIEW lock_holders AS
SELECT
  l.agent_id,
  l.process_id,
  p.pid,
  p.name,
  p.state,
  govstore_seconds(l.acquired_at, clock_timestamp()) AS held_for_s,
  govstore_seconds(h.beat_at, clock_timestamp()) AS heartbeat_age_s,
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
  govstore_seconds(p.registered_at, coalesce(p.ended_at, clock_timestamp())) AS uptime_s,
  govstore_seconds(h.beat_at, clock_timestamp()) AS heartbeat_age_s,
  govstore_seconds(p.last_activity_at, clock_timestamp()) AS activity_age_s, -- NULL: never used
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
  round(risk_score::numeric, 4)::double precision AS risk_score,
  round(coherence::numeric, 4)::double precision AS coherence,
  round(lambda1::numeric, 4)::double precision AS lambda1,
  decision_reason
FROM agent_updates
WHERE applied_at IS NOT NULL
ORDER BY applied_at DESC, agent_id, update_no DESC
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
    0.3::double precision * complexity AS complexity_part,
    0.3::double precision * (1.0::double precision - coherence) AS coherence_part,
    0.2::double precision * least(
      ((patterns & 1) + (patterns >> 1 & 1) + (patterns >> 2 & 1) + (patterns >> 3 & 1) + (patterns >> 4 & 1)
       + (patterns >> 5 & 1) + (patterns >> 6 & 1) + (patterns >> 7 & 1) + (patterns >> 8 & 1) + (patterns >> 9 & 1))
      / 3.0::double precision, 1.0::double precision * (patterns - patterns + 1)) AS pattern_part,
    CASE WHEN patterns IS NOT NULL THEN concat_ws(', ',
      CASE WHEN patterns & 1 <> 0 THEN 'ignore previous' END, CASE WHEN patterns & 2 <> 0 THEN 'system prompt' END,
      CASE WHEN patterns & 4 <> 0 THEN 'jailbreak' END, CASE WHEN patterns & 8 <> 0 THEN 'sudo' END,
      CASE WHEN patterns & 16 <> 0 THEN 'rm -rf' END, CASE WHEN patterns & 32 <> 0 THEN 'drop table' END,
      CASE WHEN patterns & 64 <> 0 THEN 'script>' END, CASE WHEN patterns & 128 <> 0 THEN 'violate' END,
      CASE WHEN patterns & 256 <> 0 THEN 'bypass' END, CASE WHEN patterns & 512 <> 0 THEN 'override safety' END)
    END AS patterns
  FROM agent_updates
) AS parts;

CREATE VIEW stale_processes AS
SELECT
  p.process_id,
  p.pid,
  p.name,
  p.version,
  p.state,
  govstore_seconds(h.beat_at, clock_timestamp()) AS heartbeat_age_s,
  h.beat_at,
  h.suspected_monotonic_ms IS NOT NULL AS suspected
FROM settings AS s
CROSS JOIN heartbeats AS h
JOIN processes AS p ON p.process_id = h.process_id
WHERE s.settings_id = 1
  AND extract(epoch FROM clock_timestamp() - h.beat_at) > greatest(s.stale_after_s, h.interval_ms * 0.002)
ORDER BY h.beat_at;

COMMENT ON VIEW agent_health IS 'Each agent with its health, judged by the settings of now';
COMMENT ON COLUMN agent_health.health_status IS 'healthy, degraded or critical, by void_active, risk_score or else coherence, and the settings';
COMMENT ON VIEW fleet_health IS 'One row: how many agents there are, by lifecycle and health';
COMMENT ON COLUMN fleet_health.total_agents IS 'all agents';
COMMENT ON COLUMN fleet_health.active IS 'of these, the active ones';
COMMENT ON COLUMN fleet_health.paused IS 'the paused ones';
COMMENT ON COLUMN fleet_health.archived IS 'the archived ones';
COMMENT ON COLUMN fleet_health.deleted IS 'the deleted ones';
COMMENT ON COLUMN fleet_health.healthy IS 'of the active and paused ones, the healthy ones';
COMMENT ON COLUMN fleet_health.degraded IS 'the degraded ones';
COMMENT ON COLUMN fleet_health.critical IS 'the critical ones';
COMMENT ON COLUMN fleet_health.fleet_status IS 'the worst health among them; NULL: there are none';
COMMENT ON VIEW lock_holders IS 'The locks that are held, oldest first';
COMMENT ON COLUMN lock_holders.held_for_s IS 'seconds since it was acquired';
COMMENT ON COLUMN lock_holders.heartbeat_age_s IS 'seconds since its holder last beat';
COMMENT ON VIEW process_status IS 'Registered processes, then those that have ended, the last first. Ages are by the clock of this server';
COMMENT ON COLUMN process_status.uptime_s IS 'seconds for which it was or has been registered';
COMMENT ON COLUMN process_status.heartbeat_age_s IS 'seconds since its last beat; NULL if it has ended';
COMMENT ON COLUMN process_status.activity_age_s IS 'seconds since its client last used it; NULL: not yet';
COMMENT ON COLUMN process_status.suspected IS 'true: a reaper has noted its heartbeat as too old';
COMMENT ON VIEW recent_updates IS 'The newest 100 updates of all agents';
COMMENT ON VIEW risk_parts IS 'Of what each update''s risk is made: four parts that add up to it';
COMMENT ON COLUMN risk_parts.length_part IS 'the part of the text''s length';
COMMENT ON COLUMN risk_parts.complexity_part IS 'the part of the complexity';
COMMENT ON COLUMN risk_parts.coherence_part IS 'the part of the coherence';
COMMENT ON COLUMN risk_parts.pattern_part IS 'the part of the patterns';
COMMENT ON COLUMN risk_parts.patterns IS 'which patterns occurred, in words';
COMMENT ON VIEW stale_processes IS 'Processes whose heartbeat is older than the settings and their own interval allow, oldest first';
COMMENT ON COLUMN stale_processes.heartbeat_age_s IS 'seconds since its last beat';
COMMENT ON COLUMN stale_processes.suspected IS 'true: a reaper has noted that';

-- The other columns of views are columns of tables.
DO $$
DECLARE
  of_view record;
BEGIN
  FOR of_view IN
    SELECT v.oid::regclass AS view, c.attname AS name, (
      SELECT col_description(t.attrelid, t.attnum)
      FROM unnest(ARRAY['agents', 'agent_updates', 'agent_locks', 'processes', 'heartbeats']) WITH ORDINALITY AS source (name, rank)
      JOIN pg_attribute AS t ON t.attrelid = source.name::regclass AND t.attname = c.attname AND t.attnum > 0
      -- A view of updates says what an update's columns say, and so on.
      ORDER BY CASE
        WHEN v.relname IN ('recent_updates', 'risk_parts') THEN source.name <> 'agent_updates'
        WHEN v.relname IN ('process_status', 'stale_processes') THEN source.name <> 'processes'
        WHEN v.relname = 'lock_holders' THEN source.name NOT IN ('agent_locks')
        ELSE source.name <> 'agents'
      END, source.rank
      LIMIT 1
    ) AS comment
    FROM pg_class AS v
    JOIN pg_attribute AS c ON c.attrelid = v.oid AND c.attnum > 0 AND NOT c.attisdropped
    WHERE v.relnamespace = current_schema()::regnamespace AND v.relkind = 'v'
      AND col_description(v.oid, c.attnum) IS NULL
  LOOP
    EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', of_view.view, of_view.name, of_view.comment);
  END LOOP;
END
$$;
