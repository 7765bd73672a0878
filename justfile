# What must hold of every commit, and what else is done to this repository. `.ci/run` runs `just ci`.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List the recipes.
default:
    @just --list

# Everything that must pass.
ci: lint library deny test test-postgres

# Format, clippy and documentation, with warnings denied.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    cargo clippy --locked --package govstore --lib --no-default-features -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# The library alone, as a server links it.
library:
    cargo build --locked --package govstore --lib --no-default-features

# Licences, duplicates, sources; advisories need the network.
deny:
    if command -v cargo-deny; then cargo deny --offline check licenses bans sources; fi

# The README's test command, and the other crates.
test:
    cargo test --locked
    cargo test --locked --package govstore-host --package govstore-mcp --package govstore-run --package govstore-testkit

# The tests of what a store does, on a PostgreSQL server of their own instead of a file.
test-postgres backend="postgres":
    GOVSTORE_TEST_BACKEND={{backend}} cargo test --locked --package govstore --test calls --test cancel --test careless_edits \
      --test contention --test dynamics --test golden --test health --test import --test living --test nothing_lost \
      --test patch --test pause --test processes --test properties --test reaper --test reaper_runs --test reaper_spares \
      --test retention --test retries --test risk_parts -- --skip full_disk --skip spoiled

# The same with pgbouncer in transaction mode in between.
test-pooler: (test-postgres "pgbouncer")

# The fuzz targets compile. On a nightly toolchain leave the variable out.
fuzz-check:
    cd fuzz && RUSTC_BOOTSTRAP=1 RUSTFLAGS="--cfg fuzzing" cargo check

# The code for systems other than Linux compiles.
portable:
    RUSTFLAGS="--cfg govstore_portable" cargo check --workspace --all-targets --target-dir target/portable
