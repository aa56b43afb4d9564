#!/bin/sh
# Makes what the virtual machines of the tests boot from: Debian's cloud kernel, unpacked from its package and not
# installed, and an initramfs of busybox and the modules that virtio-net and VLANs take.
#
#   image.sh DIRECTORY      makes DIRECTORY/vmlinuz and DIRECTORY/initrd, if they are not there
set -eu
out=$1
here=$(cd "$(dirname "$0")" && pwd)
if [ -s "$out/vmlinuz" ] && [ "$out/initrd" -nt "$here/init" ] && [ "$out/initrd" -nt "$0" ]; then exit 0; fi

mkdir -p "$out/deb"
package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
if [ -z "$package" ]; then echo "image.sh: no package linux-image-cloud-amd64; \`apt-get update\`" >&2; exit 1; fi
if ! ls "$out/deb/$package"_*.deb >/dev/null 2>&1; then (cd "$out/deb" && apt-get download -qq -o APT::Sandbox::User=root "$package"); fi
dpkg -x "$out/deb/$package"_*.deb "$out/kernel"

root=$out/root
rm -rf "$root"
mkdir -p "$root/bin" "$root/modules" "$root/proc" "$root/sys" "$root/dev" "$root/tmp"
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$here/init" "$root/init"
chmod 755 "$root/init"
# In the order in which they are loaded.
n=0
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net llc stp garp mrp 8021q; do
    n=$((n + 1))
    file=$(find "$out/kernel/lib/modules" -name "$module.ko*" | head -1)
    # One that is built in needs no file.
    [ -z "$file" ] || cp "$file" "$root/modules/$(printf %02d $n)-$module.ko"
done
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$out/initrd.new"
cp "$out"/kernel/boot/vmlinuz-* "$out/vmlinuz"
mv "$out/initrd.new" "$out/initrd"
