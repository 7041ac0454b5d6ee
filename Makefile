# pfs: `make demo` shows it, `make test` checks it, `make bench` measures it.
# Each installs what the machine lacks (scripts/setup.sh says what) and uses
# the one release build.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build
.PHONY: build demo test test-cluster bench lint fuzz-smoke examples kill model takeover posix clean

CARGO ?= cargo
# Caches live there; a bare environment may lack it.
export HOME := $(or $(HOME),$(shell getent passwd $$(id -u) | cut -d: -f6))

build:
	@scripts/setup.sh demo
	$(CARGO) build --release --locked

# The main job on real data, end to end, in a scratch directory.
demo: build
	@scripts/demo.sh

# Every test this machine can run; says at the end what it could not.
test:
	@scripts/setup.sh test
	@CARGO="$(CARGO)" scripts/test.sh

# The tests on a real Kubernetes of one node, which is compiled once per machine.
test-cluster:
	@scripts/setup.sh cluster
	@CARGO="$(CARGO)" scripts/test-cluster.sh

# `name value unit` lines. BENCH_ONLY=small,big,… picks groups.
bench: build
	@scripts/setup.sh bench
	@python3 bench/run.py

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --test cluster -- -D warnings
	@scripts/deny.sh || [ $$? = 3 ]

# The examples, played as their READMEs tell a newcomer to.
examples: build
	@scripts/examples.sh

# The long run of kill -9 (200 kills); `make test` does a short one.
kill: build
	PFS_KILL_ROUNDS=$${PFS_KILL_ROUNDS:-200} PFS_BINARY=$(CURDIR)/target/release/pfs \
	  $(CARGO) test --locked --test integration -- --nocapture faults::kill

# The long run of servers killed under readers (1,000 kills); `make test` does a
# short one. One after the other: the pauses are measured.
takeover: build
	PFS_TAKEOVER_ROUNDS=$${PFS_TAKEOVER_ROUNDS:-1000} PFS_BINARY=$(CURDIR)/target/release/pfs \
	  $(CARGO) test --locked --test integration -- --nocapture --test-threads=1 takeover::

# File-system suites on a writable mount, in full; `make test` runs them short.
posix: build
	@scripts/setup.sh test
	PFS_POSIX_FULL=1 PFS_BINARY=$(CURDIR)/target/release/pfs \
	  $(CARGO) test --locked --test integration -- --nocapture posix::

# Long histories of views and of mounts against a model (`make test` tries short
# ones).
model: build
	PFS_MODEL_CASES=$${PFS_MODEL_CASES:-30000} $(CARGO) test --locked --lib -- vfs::transaction::tests::model
	PFS_MODEL_STEPS=$${PFS_MODEL_STEPS:-20000} PFS_BINARY=$(CURDIR)/target/release/pfs \
	  $(CARGO) test --locked --test integration -- --nocapture model::

# A few seconds of every fuzz target (builds cargo-fuzz once).
fuzz-smoke:
	@scripts/fuzz-smoke.sh

clean:
	$(CARGO) clean
