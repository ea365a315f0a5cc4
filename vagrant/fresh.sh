#!/usr/bin/env bash
# Prove provision.sh on a clean userland: bootstrap a distribution into a folder, copy the checkout in, provision
# twice, then run a command there.
#
#   sudo vagrant/fresh.sh [bookworm|trixie|noble] [COMMAND...]     default: bookworm vagrant/demo.sh
#
# Names of registries come from this machine's own apt and pip configuration. Everything happens in private mount
# and process namespaces.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suite=${1:-bookworm}
shift || true
[ $# -gt 0 ] || set -- vagrant/demo.sh
[ "$(id -u)" = 0 ] || { echo "run as root: sudo vagrant/fresh.sh" >&2; exit 2; }
command -v mmdebstrap >/dev/null || { echo "cannot bootstrap: apt-get install mmdebstrap" >&2; exit 4; }

base=$(mktemp -d "${TMPDIR:-/var/tmp}/netpod-fresh.XXXXXX")
chmod 755 "$base"
tree=$base/root
trap 'rm -rf --one-file-system "$base"' EXIT

if [ "$suite" = noble ]; then components=main,universe; else components=main; fi
mmdebstrap --quiet --variant=minbase --components="$components" --include=apt,ca-certificates "$suite" "$tree"

# The machine's way to the registries: proxy, certificates, pip's index.
cp -a /etc/apt/apt.conf.d/. "$tree/etc/apt/apt.conf.d/"
cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$tree/src"
git -C "$root" archive HEAD | tar -x -C "$tree/src"
pip_settings=()
while IFS='=' read -r name value; do pip_settings+=("$name=$value"); done < <(env | grep -E '^(PIP_|https?_proxy|HTTPS?_PROXY|no_proxy|NO_PROXY)' || true)
for file in /etc/pip.conf /root/.config/pip/pip.conf /root/.pip/pip.conf; do
  if [ -e "$file" ]; then install -D "$file" "$tree$file"; fi
done
for entry in "${pip_settings[@]}"; do
  path=${entry#*=}
  if [[ $path == /* && -f $path ]]; then install -D "$path" "$tree$path"; fi
done

inside() {
  # shellcheck disable=SC2016
  unshare --mount --pid --fork --kill-child bash -c '
    tree=$1; shift
    mount --make-rprivate /
    mount --bind "$tree" "$tree"
    mount --rbind /proc "$tree/proc" && mount -t proc proc "$tree/proc"
    mount -t sysfs sysfs "$tree/sys" 2>/dev/null || mount --rbind /sys "$tree/sys"
    mount --rbind /dev "$tree/dev"
    mount -t tmpfs tmpfs "$tree/run"
    if [ -e /etc/resolv.conf ]; then cp /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || true; fi
    exec chroot "$tree" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
  ' bash "$tree" "$@"
}

inside "${pip_settings[@]}" /src/vagrant/provision.sh
began=$(date +%s)
inside "${pip_settings[@]}" /src/vagrant/provision.sh
printf 'fresh: the second run took %d s\n' $(($(date +%s) - began))
inside "${pip_settings[@]}" sh -c 'cd /src && exec "$@"' sh "$@"
