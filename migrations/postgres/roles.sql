-- Three roles for a database of govstore. Run it as a superuser in that database, once before the owner has opened it and
-- once after. Then give each a password and LOGIN, or grant it to the users that log in.
--
--   govstore_owner   makes the schema and brings it up to date: open the database once as this role with each new version
--   govstore_app     what servers and commands run as: reads and writes rows, makes nothing
--   govstore_reader  people and dashboards: reads everything, writes nothing

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'govstore_owner') THEN CREATE ROLE govstore_owner; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'govstore_app') THEN CREATE ROLE govstore_app; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'govstore_reader') THEN CREATE ROLE govstore_reader; END IF;
END
$$;

GRANT USAGE, CREATE ON SCHEMA public TO govstore_owner;
GRANT USAGE ON SCHEMA public TO govstore_app, govstore_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO govstore_app;
GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO govstore_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO govstore_reader;
GRANT pg_read_all_stats TO govstore_app; -- so that an error can name who holds a lock, and since when

-- What the owner makes later.
ALTER DEFAULT PRIVILEGES FOR ROLE govstore_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO govstore_app;
ALTER DEFAULT PRIVILEGES FOR ROLE govstore_owner IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO govstore_app;
ALTER DEFAULT PRIVILEGES FOR ROLE govstore_owner IN SCHEMA public GRANT SELECT ON TABLES TO govstore_reader;
