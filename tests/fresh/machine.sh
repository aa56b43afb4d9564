#!/bin/bash
# A fresh machine: a bare Debian of the sources that apt is set up with, in a directory. `make demo` runs there from a clean
# copy of the repository, then `make deps` and `make deps-bench`; the files that each of the two leaves are listed in
# target/fresh/deps and target/fresh/bench, for the tests in main.rs. The toolchain and the downloaded crates are this
# machine's, and so is what `cargo install` has built. While nothing that determines the lists changes, they are kept; the
# bare Debian is kept as long as apt's sources are the same.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
work=$PWD/target/fresh
base=$work/base
machine=$work/machine
sysroot=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
tools="cargo-nextest cargo-deny cargo-fuzz"

# What apt is set up with: files of sources, and how it gets at them (a proxy, for example).
sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -type f \( -name '*.list' -o -name '*.sources' \) 2>/dev/null | sort || true)
of_the_base() { cat /etc/os-release $sources "$0"; apt-config dump Acquire; }

make_base() {
	. /etc/os-release
	rm -rf --one-file-system "$base"
	apt-config dump Acquire >"$work/apt.conf"
	# Who types `make demo` has make, and who got Rust has certificates. What is installed here need not survive a power cut.
	mmdebstrap --quiet --variant=minbase --include=make,ca-certificates --aptopt="$work/apt.conf" --dpkgopt=force-unsafe-io \
		"${VERSION_CODENAME:-unstable}" "$base" $sources
}

# A copy of the base with what no package brings: names, certificates, the toolchain, the tracked files of the repository.
make_machine() {
	rm -rf --one-file-system "$machine"
	cp -a "$base" "$machine"
	cp -L /etc/resolv.conf /etc/hosts "$machine/etc/"
	cp -L /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/"
	mkdir -p "$machine$sysroot" "$machine/root/.cargo/registry" "$machine/root/.cargo/bin" "$machine/root/built" \
		"$machine/src" "$work/target" "$cargo_home/registry"
	cp "$cargo_home/config.toml" "$machine/root/.cargo/" 2>/dev/null || true
	git ls-files -z | tar -c --null -T - | tar -x -C "$machine/src"
	mkdir "$machine/src/target"
	for tool in $tools; do
		built=$(command -v "$tool") && cp "$built" "$machine/root/built/" || true
	done
	cat >"$machine/usr/local/bin/cargo" <<-END
		#!/bin/sh
		# What the other machine has built need not be built again.
		for last; do :; done
		if [ "\$1" = install ] && [ -x "/root/built/\$last" ]; then exec cp "/root/built/\$last" /usr/local/bin/; fi
		exec $sysroot/bin/cargo "\$@"
	END
	chmod 755 "$machine/usr/local/bin/cargo"
}

# The rest runs in namespaces of its own: mounts and processes are gone with it, however it ends.
inside() {
	mount -t proc proc "$machine/proc"
	mount --rbind /sys "$machine/sys"
	mount --rbind /dev "$machine/dev"
	mount -t tmpfs run "$machine/run"
	mount --bind -o ro "$sysroot" "$machine$sysroot"
	mount --bind "$cargo_home/registry" "$machine/root/.cargo/registry"
	mount --bind "$work/target" "$machine/src/target"
	there() {
		env -i ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} HOME=/root \
			PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/root/.cargo/bin:$sysroot/bin" \
			chroot "$machine" sh -c "cd /src && $1"
	}
	# crates come from outside; the demo itself has a network of its own, beside whatever this machine runs
	step "make demo" there "make deps-lab && cargo fetch --locked && unshare --net make demo"
	step "make deps" there "make deps"
	list deps
	step "make deps-bench" there "make deps-bench"
	list bench
}

step() {
	local what=$1 start=$SECONDS
	shift
	"$@" || { echo "fresh: \`$what\` fails on a fresh machine" >&2; exit 1; }
	echo "fresh: \`$what\` took $((SECONDS - start)) s on a fresh machine"
}

# The files of the machine, and what its busybox is.
list() {
	(cd "$machine" && find usr root/.cargo/bin -xdev 2>/dev/null; chroot "$machine" busybox --list | sed 's,^,busybox/,') >"$work/$1"
}

if [ "${1:-}" = inside ]; then inside; exit; fi

mkdir -p "$work"
key=$(of_the_base | sha256sum)
[ "$key" = "$(cat "$work/base.key" 2>/dev/null)" ] || { rm -f "$work"/*.key; step mmdebstrap make_base; echo "$key" >"$work/base.key"; }
key=$(cat "$work/base.key" Makefile tests/vm/* | sha256sum)
[ "$key" != "$(cat "$work/lists.key" 2>/dev/null)" ] || { echo "fresh: as it was before"; exit; }
make_machine
# killed, `unshare` takes with it all that runs there; asked to end, it waits
unshare --mount --pid --fork --kill-child "$0" inside &
trap "kill -KILL $! 2>/dev/null" EXIT
wait $!
trap - EXIT
rm -rf --one-file-system "$machine"
echo "$key" >"$work/lists.key"
