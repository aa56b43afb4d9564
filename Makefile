# make demo   build, bring up four namespaces on one switch, ping and TCP between all of them, tear down
# make test   all tests, the privileged ones included (root)
# make lint   format, clippy, docs, licences
# make bench  Pollux beside other switches in under ten minutes: table of goals, target/bench/report.html; an idle machine
#             `make bench-full` takes longer rounds of everything, `make soak` loads a lab for 30 minutes
# make micro  micro-benchmarks; `make instructions` counts those of the pipeline anew
# make loom   model checks of the lock-free code
# make fuzz   every fuzz target for FUZZ_SECONDS over its corpus
#
# Every target sets up what it needs on a fresh Debian machine as root (`make deps`).

CARGO ?= cargo
PACKAGES = clang llvm libelf-dev zlib1g-dev pkg-config make iproute2 iputils-ping iperf3 ethtool tcpdump jq \
	dpdk valgrind qemu-system-x86 busybox-static cpio user-mode-linux
PEERS = dpdk dpdk-dev openvswitch-switch-dpdk
FUZZ_SECONDS ?= 60
export PRIVILEGED_TESTS ?= $(if $(filter 0,$(shell id -u)),1,)

.PHONY: all deps peers build demo test lint bench bench-full micro instructions soak loom fuzz clean

all: build

# Only what is missing is installed, so that a machine without a package mirror still works once set up.
deps:
	@missing=$$(for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		echo "installing: $$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@tests/vm/image.sh target/vm
	@command -v cargo-nextest >/dev/null || $(CARGO) install --locked cargo-nextest
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny

peers:
	@missing=$$(for p in $(PEERS); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

build: deps
	$(CARGO) build --locked --release --workspace --bins

demo: build
	POLLUX=target/release/pollux configs/demo.sh

# The tests of the control crate have `pollux` built, which the end-to-end tests run.
test: deps
	$(CARGO) nextest run --locked --workspace
	$(CARGO) test --locked --workspace --doc --quiet
	$(CARGO) build --locked --profile counted -p pipeline-cases
	target/counted/pollux-pipeline check benches/instructions.toml

# Where the counts changed on purpose: to be committed with the reason.
instructions: deps
	$(CARGO) build --locked --profile counted -p pipeline-cases
	target/counted/pollux-pipeline write benches/instructions.toml

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --quiet
	$(CARGO) deny --log-level error check licenses bans sources

loom:
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked --release -p af-xdp -p dataplane --lib loom --target-dir target/loom

# cargo-fuzz needs the compiler's unstable switches; what a target finds is kept in fuzz/artifacts.
fuzz: deps
	@command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	for target in $$($(CARGO) fuzz list); do \
		mkdir -p target/fuzz/corpus-$$target; \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --target-dir target/fuzz $$target target/fuzz/corpus-$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=4096 || exit 1; \
	done

# Against the kernel bridge, macvlan, testpmd and Open vSwitch.
bench: build peers
	target/release/pollux-bench all --quick --save target/bench/results.json --page target/bench/report.html

bench-full: build peers
	target/release/pollux-bench all --save target/bench/results-full.json --page target/bench/report-full.html

micro: deps
	$(CARGO) bench --locked

soak: build
	target/release/pollux-bench soak --minutes 30

clean:
	$(CARGO) clean
