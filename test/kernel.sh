#!/usr/bin/env bash
# Runs something under another kernel: sudo ./test/kernel.sh RELEASE [COMMAND…]
#
#   RELEASE    of Debian's kernels, "6.1" or "6.12": the newest one that apt knows
#   COMMAND    run by bash in the project's folder; without one: the BPF tests, then the tutorial
#
# The kernel boots in QEMU, with this machine's files below an overlay in memory and without a
# network, so that nothing is changed here. No KVM is needed, and all of it is slow. Takes the
# release preset's binaries as they are. Exit code: that of the command. Installs what is missing and
# keeps kernels in ~/.cache/weir (or $WEIR_CACHE).
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ $# -eq 0 || $1 == -* ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
  exit 2
fi
release=$1
shift
command=$*
[[ -n $command ]] || command=$(
  cat <<'DEFAULT'
for test in verifier program checklist identity_sync attachment redirect births service foreign; do
  "build/release/bin/bpf_${test}_test" || exit
done
examples/tutorial/run.sh --bin build/release/bin
DEFAULT
)

for package in qemu-system-x86 busybox-static cpio kmod; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    apt-get install -y --no-install-recommends "$package" >/dev/null
done

# --- the kernel and its modules

package=$(apt-cache search --names-only "^linux-image-${release//./\\.}\.[.0-9+a-z-]*-amd64\$" | cut -d' ' -f1 |
  grep -v -e -cloud- -e -rt- -e -dbg | sort -V | tail -n 1)
if [[ -z $package ]]; then
  echo "kernel.sh: apt knows no linux-image-$release…-amd64" >&2
  exit 2
fi
version=${package#linux-image-}
kernel=${WEIR_CACHE:-$HOME/.cache/weir}/kernels/$version
if [[ ! -e $kernel/done ]]; then
  rm -rf "$kernel"
  mkdir -p "$kernel"
  (cd "$kernel" && apt-get download -o APT::Sandbox::User=root "$package" && dpkg-deb -x ./*.deb . && rm ./*.deb)
  depmod -b "$kernel" "$version"
  touch "$kernel/done"
fi

# --- what boots: finds this machine's files and goes on in there

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,host,memory,new,modules}
cp /bin/busybox "$root/bin/"
for module in virtio_pci 9pnet_virtio 9p overlay; do
  modprobe -d "$kernel" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
while read -r file; do
  name=$(basename "$file" .xz)
  if [[ $file == *.xz ]]; then
    xz -dc "$file" >"$root/modules/$name"
  else
    cp "$file" "$root/modules/$name"
  fi
  echo "$name" >>"$root/modules/order"
done <"$work/modules"

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do
  insmod "/modules/$module"
done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,ro,cache=loose host /host
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /new
mkdir -p /new/dev /new/proc /new/sys /new/run "/new/lib/modules/$(uname -r)"
mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/pts
mount -t devpts pts /new/dev/pts
ln -s /proc/self/fd /new/dev/fd
ln -s fd/0 /new/dev/stdin
ln -s fd/1 /new/dev/stdout
ln -s fd/2 /new/dev/stderr
mkdir -p /new/dev/shm
mount -t tmpfs shm /new/dev/shm
mount -t proc proc /new/proc
mount -t sysfs sys /new/sys
mount -t bpf bpf /new/sys/fs/bpf
mount -t cgroup2 cgroup /new/sys/fs/cgroup
mount -t tmpfs run /new/run
mount --bind "/new$(cat /modules/folder)" "/new/lib/modules/$(uname -r)"
cp /command /new/run/weir-command
exec switch_root /new /bin/bash -c '
  export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root CI=true
  ip link set lo up
  modprobe -a veth bridge br_netfilter 8021q sch_ingress cls_bpf
  bash /run/weir-command
  echo "weir-exit-code $?"
  echo o >/proc/sysrq-trigger
  read -r'
INIT
chmod +x "$root/init"
echo "$kernel/lib/modules/$version" >"$root/modules/folder"
printf 'cd %q\n%s\n' "$PWD" "$command" >"$root/command"
(cd "$root" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initramfs"

echo "== Linux $version"
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -nographic -no-reboot -nic none \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
  -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/initramfs" \
  -append "console=ttyS0 panic=-1 quiet loglevel=3" </dev/null | tr -d '\r' | tee "$work/output"
code=$(sed -n 's/^weir-exit-code //p' "$work/output")
exit "${code:-1}"
