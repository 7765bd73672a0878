-- govstore schema 4: updates that can be retried and explained, who did what, and history that ends by age.
--
-- Columns alone are added, so that no row is written anew. Rows from before have NULL in them.

-- What the risk of an update was made of. The text itself is never kept.
ALTER TABLE agent_updates ADD COLUMN complexity REAL -- as it counted: 0 to 1; NULL in rows of older versions and in imported ones
  CONSTRAINT "complexity lies between 0 and 1" CHECK (complexity BETWEEN 0 AND 1);
ALTER TABLE agent_updates ADD COLUMN text_length INTEGER -- characters of the response, likewise
  CONSTRAINT "text_length is not negative" CHECK (text_length >= 0);
ALTER TABLE agent_updates ADD COLUMN patterns INTEGER -- which patterns occurred, one bit each, likewise; risk_parts has them in words
  CONSTRAINT "patterns lies between 0 and 1023" CHECK (patterns BETWEEN 0 AND 1023);

-- A caller's name for one update, so that a retry is not a second one.
ALTER TABLE agent_updates ADD COLUMN key TEXT -- 1 to 200 characters; NULL: without
  CONSTRAINT "key has 1 to 200 characters" CHECK (key IS NULL OR length(key) BETWEEN 1 AND 200 AND instr(key, char(0)) = 0);
ALTER TABLE agent_updates ADD COLUMN key_receipt BLOB -- what a retry is answered by: 8 bytes that stand for the input, then update_count after the update as a little-endian integer of 8 bytes; NULL without key
  CONSTRAINT "key_receipt holds 16 bytes and comes with key"
    CHECK (key IS NULL AND key_receipt IS NULL OR key IS NOT NULL AND length(key_receipt) IS 16);

-- Partial, so that an update without a key pays nothing for it.
CREATE UNIQUE INDEX agent_updates_by_key ON agent_updates (agent_id, key) WHERE key IS NOT NULL;

-- Who did it. An operator is a person, on the command line or the page; a client is an MCP client, with its name and
-- version; a library is a program that links govstore and named nobody.
ALTER TABLE agent_events ADD COLUMN actor TEXT -- operator, client or library; NULL: nobody was named
  CONSTRAINT "actor is operator, client or library" CHECK (actor = 'operator' OR actor = 'client' OR actor = 'library');
ALTER TABLE agent_events ADD COLUMN actor_name TEXT -- who that was, in its own words; NULL: not known
  CONSTRAINT "actor_name has 1 to 200 characters and comes with actor"
    CHECK (actor_name IS NULL OR length(actor_name) BETWEEN 1 AND 200 AND actor IS NOT NULL);
ALTER TABLE agents ADD COLUMN lifecycle_actor TEXT -- who paused, archived, deleted or resumed it last; what an operator paused or archived, others can't undo; NULL: nobody was named
  CONSTRAINT "lifecycle_actor is operator, client or library"
    CHECK (lifecycle_actor = 'operator' OR lifecycle_actor = 'client' OR lifecycle_actor = 'library');

-- Which MCP client a process serves, in the client's own words, from its handshake; NULL until it has introduced itself,
-- and for programs that serve none. SQLite writes new columns before the comment of the last one: in the schema, what
-- follows protocol_version is said of claim_until_monotonic_ms.
ALTER TABLE processes ADD COLUMN client_name TEXT -- what the client calls itself, without control characters; NULL: not known
  CONSTRAINT "client_name has 1 to 128 characters" CHECK (length(client_name) BETWEEN 1 AND 128);
ALTER TABLE processes ADD COLUMN client_version TEXT -- the client's version, likewise
  CONSTRAINT "client_version has 1 to 128 characters" CHECK (length(client_version) BETWEEN 1 AND 128);
ALTER TABLE processes ADD COLUMN protocol_version TEXT -- the version of the protocol that the two speak, likewise
  CONSTRAINT "protocol_version has 1 to 128 characters" CHECK (length(protocol_version) BETWEEN 1 AND 128);

DROP VIEW process_status;

-- Every process that is remembered, those that run first. Ages are by wall clock: for people, not for judging.
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

-- What is kept.
ALTER TABLE settings ADD COLUMN history_max_age_days REAL -- days after which pruning removes updates, events and what the reaper did; NULL keeps all
  CONSTRAINT "history_max_age_days is NULL, or above 0 and at most 36500" CHECK (history_max_age_days > 0 AND history_max_age_days <= 36500);
ALTER TABLE settings ADD COLUMN prune_automatically INTEGER NOT NULL DEFAULT 0 -- 1: servers prune when they start and once a day
  CONSTRAINT "prune_automatically is 0 or 1" CHECK (prune_automatically IN (0, 1));

-- What the risk of each update was made of: four parts that add up to risk_score; NULL where that is not known. The
-- twin of src/governance/risk.rs: change both or neither. The part of the length is what the others leave, since
-- SQLite has no exp().
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
