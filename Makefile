# make demo   build, bring up four namespaces on one switch, ping and TCP between all of them, tear down
# make test   all tests, the privileged ones included (root)
# make lint   format, clippy, docs, licences
# make bench  Pollux beside other switches in under ten minutes: table of goals, target/bench/report.html; an idle machine
#             `make bench-full` takes longer rounds of everything, `make soak` loads a lab for 30 minutes
# make micro  micro-benchmarks; `make instructions` counts those of the pipeline anew
# make loom   model checks of the lock-free code
# make fuzz   every fuzz target for FUZZ_SECONDS over its corpus
# make fresh  a bare Debian in target/fresh: `make demo` runs there, and `make deps` brings what the code starts
#
# Every target installs what it needs, and no more, on a fresh Debian machine as root. `make deps` installs what lint,
# test and fuzz need.

CARGO ?= cargo
FUZZ_SECONDS ?= 60
export PRIVILEGED_TESTS ?= $(if $(filter 0,$(shell id -u)),1,)

# Packages: to build, to bring up a lab, to test, to measure other switches, to make a bare Debian.
BUILD = make clang libelf-dev zlib1g-dev pkg-config
LAB = iproute2 iputils-ping iperf3
TEST = ethtool tcpdump procps kmod dpdk-dev valgrind qemu-system-x86 busybox-static cpio user-mode-linux
PEERS = openvswitch-switch-dpdk
BARE = mmdebstrap

.PHONY: all deps deps-build deps-lab deps-test deps-lint deps-fuzz deps-bench
.PHONY: build demo test lint bench bench-full micro instructions soak loom fuzz fresh clean
.NOTPARALLEL:

all: build

# Only what is missing is installed, so that a machine without a package mirror still works once set up.
apt = @missing=$$(for p in $(1); do dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing:" $$missing; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
tool = @command -v $(1) >/dev/null || $(CARGO) install --locked $(1)

deps: deps-lint deps-test deps-fuzz

deps-build:
	$(call apt,$(BUILD))

deps-lab:
	$(call apt,$(BUILD) $(LAB))

deps-test:
	$(call apt,$(BUILD) $(LAB) $(TEST))
	@tests/vm/image.sh target/vm
	$(call tool,cargo-nextest)

deps-lint: deps-build
	$(call tool,cargo-deny)

deps-fuzz: deps-build
	$(call tool,cargo-fuzz)

deps-bench:
	$(call apt,$(BUILD) $(LAB) $(TEST) $(PEERS))

build: deps-build
	$(CARGO) build --locked --release --workspace --bins

# The profile `demo` (Cargo.toml) is built in a fraction of the time; TCP there is copying, which the kernel does.
demo: deps-lab
	$(CARGO) build --locked --profile demo -p control --bin pollux
	POLLUX=target/demo/pollux configs/demo.sh

# The tests of the control crate have `pollux` built, which the end-to-end tests run.
test: deps-test
	$(CARGO) nextest run --locked --workspace
	$(CARGO) test --locked --workspace --doc --quiet
	$(CARGO) build --locked --profile counted -p pipeline-cases
	target/counted/pollux-pipeline check benches/instructions.toml

# Where the counts changed on purpose: to be committed with the reason.
instructions: deps-test
	$(CARGO) build --locked --profile counted -p pipeline-cases
	target/counted/pollux-pipeline write benches/instructions.toml

lint: deps-lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	$(CARGO) deny --log-level error check licenses bans sources

loom: deps-build
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked --release -p af-xdp -p dataplane --lib loom --target-dir target/loom

# cargo-fuzz needs the compiler's unstable switches; what a target finds is kept in fuzz/artifacts.
fuzz: deps-fuzz
	for target in $$($(CARGO) fuzz list); do \
		mkdir -p target/fuzz/corpus-$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --target-dir target/fuzz $$target target/fuzz/corpus-$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=4096 || exit 1; \
	done

fresh: deps-build
	$(call apt,$(BARE))
	tests/fresh/machine.sh
	$(CARGO) test --locked --test fresh -- --include-ignored

# Against the kernel bridge, macvlan, testpmd and Open vSwitch.
bench: deps-bench build
	target/release/pollux-bench all --quick --save target/bench/results.json --page target/bench/report.html

bench-full: deps-bench build
	target/release/pollux-bench all --save target/bench/results-full.json --page target/bench/report-full.html

micro: deps-lab
	$(CARGO) bench --locked

soak: deps-test build
	target/release/pollux-bench soak --minutes 30

clean:
	$(CARGO) clean
