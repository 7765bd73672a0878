-- govstore schema 5: MCP servers of others, which `govstore run` wraps, and the calls of their tools.

-- A wrapped server is a tree of processes, and this row is that of the process in front of it. Columns are added before
-- the comment of the one that was the last.
ALTER TABLE processes ADD COLUMN run_id TEXT -- 32 hex digits that each process of the tree has as GOVSTORE_RUN_ID in its environment; NULL: not a wrapped server
  CONSTRAINT "run_id is 32 hex digits" CHECK (length(run_id) = 32 AND run_id NOT GLOB '*[^0-9a-f]*');
ALTER TABLE processes ADD COLUMN container_runtime TEXT -- docker or podman, if the server is a container; it is removed at the end
  CONSTRAINT "container_runtime is docker or podman" CHECK (container_runtime = 'docker' OR container_runtime = 'podman');
ALTER TABLE processes ADD COLUMN container_id_file TEXT -- where the runtime writes the container's id
  CONSTRAINT "container_id_file comes with container_runtime" CHECK ((container_id_file IS NULL) = (container_runtime IS NULL));

-- What the tools of wrapped servers were called for, an hour a row. Times are from the call to its answer.
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

CREATE INDEX tool_calls_by_hour ON tool_calls (hour);
