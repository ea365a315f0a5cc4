#!/usr/bin/env bash
# Make a Debian 12/13 or Ubuntu 24.04 machine ready for netpod: packages, a virtual environment in /opt/netpod,
# the command `netpod`. Idempotent: what is there stays, and a second run takes seconds.
#
#   sudo vagrant/provision.sh [--test]     --test adds what the tests and linters need
set -euo pipefail
umask 022

readonly prefix=/opt/netpod
readonly link=/usr/local/bin/netpod
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root

say() { printf 'provision: %s\n' "$*"; }
die() { printf 'provision: %s\n' "$*" >&2; exit "${2:-1}"; }

# Program (or file), and the package it comes from. A result is looked for, not an action repeated.
readonly -a runtime=(
  ip:iproute2 iptables-restore:iptables nft:nftables haproxy:haproxy catatonit:catatonit conntrack:conntrack
  crun:crun unshare:util-linux setpriv:util-linux modprobe:kmod ping:iputils-ping curl:curl ps:procps tcpdump:tcpdump
  /etc/ssl/certs/ca-certificates.crt:ca-certificates
)
# python-iptables compiles a C helper; the rest comes as wheels.
readonly -a build=(python3:python3 gcc:gcc /usr/include/stdlib.h:libc6-dev)
# Real servers and tools that the tests hold netpod against.
readonly -a testing=(
  git:git openssl:openssl ipset:ipset skopeo:skopeo umoci:umoci nginx:nginx-light tshark:tshark wrk:wrk dnsperf:dnsperf prometheus:prometheus chromium:chromium etcd:etcd-server etcdctl:etcd-client
  strace:strace
)
# Not every distribution and architecture has these: a guest with a kernel of its own (vagrant/vm.sh), and vagrant, which
# checks the Vagrantfile.
readonly -a optional=(linux.uml:user-mode-linux vagrant:vagrant)

installed() {
  local what=$1
  if [[ $what == /* ]]; then [ -e "$what" ]; else PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null; fi
}

missing_packages() {
  local entry
  for entry in "$@"; do
    installed "${entry%%:*}" || printf '%s\n' "${entry#*:}"
  done
  /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || printf 'python3-venv\n'
  /usr/bin/python3 -c 'import os, sysconfig as s; raise SystemExit(not os.path.exists(s.get_path("include") + "/Python.h"))' \
    2>/dev/null || printf 'python3-dev\n'
}

install_packages() {
  local -a packages
  mapfile -t packages < <(missing_packages "$@" | sort -u)
  if [ ${#packages[@]} -eq 0 ]; then say "packages: all there"; return; fi
  say "packages: installing ${packages[*]}"
  # Installing a server must not start it on the machine: netpod runs its own, inside pods.
  local -a masked=()
  local service
  for service in haproxy nginx etcd prometheus; do
    if [ -d /run/systemd/system ] && [[ " ${packages[*]} " == *" $service"* ]]; then
      systemctl mask --runtime --quiet "$service.service" && masked+=("$service.service")
    fi
  done
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >/dev/null || die "cannot update the package lists; see apt-get update"
  apt-get install -y -q --no-install-recommends "${packages[@]}" >"$log" 2>&1 ||
    { tail -20 "$log" >&2; die "cannot install ${packages[*]}"; }
  for service in "${masked[@]}"; do
    systemctl unmask --runtime --quiet "$service"
    systemctl disable --quiet "$service" 2>/dev/null || true
  done
}

# Those that this distribution has; the tests that need another say so.
install_optional() {
  local entry
  local -a wanted=()
  for entry in "${optional[@]}"; do installed "${entry%%:*}" || wanted+=("$entry"); done
  [ ${#wanted[@]} -gt 0 ] || return 0
  apt-get update -q >/dev/null || die "cannot update the package lists; see apt-get update"
  for entry in "${wanted[@]}"; do
    if apt-cache show "${entry#*:}" >/dev/null 2>&1; then
      install_packages "$entry"
    else
      say "this distribution has no ${entry#*:}; tests that need it will say so"
    fi
  done
}

check_python() {
  /usr/bin/python3 -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or later is needed, this machine has $(/usr/bin/python3 -V)" 4
}

# What an environment was made from; when it is the same, there is nothing to do.
fingerprint() { cat "$@" | sha256sum | cut -d' ' -f1; }
fresh() { [ "$(cat "$prefix/$1.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$prefix/$1.stamp"; }

install_libraries() {
  local extra=$1 wanted
  wanted="$(fingerprint "$root/pyproject.toml" "$root/constraints.txt") $(/usr/bin/python3 -V) $extra"
  if [ -x "$prefix/venv/bin/python" ] && { fresh libraries "$wanted" || fresh libraries "$wanted test"; }; then
    say "libraries: all there"; return
  fi
  say "libraries: installing into $prefix/venv"
  [ -x "$prefix/venv/bin/python" ] || /usr/bin/python3 -m venv "$prefix/venv" >"$log" 2>&1 || { tail -20 "$log" >&2; die "cannot make $prefix/venv"; }
  local -a names
  mapfile -t names < <("$prefix/venv/bin/python" - "$root/pyproject.toml" "$extra" <<'PY'
import sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
print(*project["dependencies"], *(project["optional-dependencies"]["test"] if sys.argv[2] else ()), sep="\n")
PY
  )
  pip install setuptools wheel || die "cannot install setuptools"
  pip install --no-build-isolation "${names[@]}" || die "cannot install the libraries"
  stamp libraries "$wanted"
}

pip() {
  "$prefix/venv/bin/python" -m pip --disable-pip-version-check --no-input "$1" --quiet \
    --constraint "$root/constraints.txt" "${@:2}" >"$log" 2>&1 || { tail -20 "$log" >&2; return 1; }
}

install_netpod() {
  local wanted
  wanted=$(cd "$root" && find netpod cli examples pyproject.toml -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
  if fresh netpod "$wanted" && [ -x "$prefix/venv/bin/netpod" ]; then
    say "netpod: up to date"
  else
    say "netpod: installing"
    local copy
    copy=$(mktemp -d)
    cp -r "$root"/{netpod,cli,examples,pyproject.toml,README.md} "$copy/"
    # Built in a copy: nothing is written into the checkout.
    pip install --no-deps --no-build-isolation --force-reinstall "$copy" || { rm -rf "$copy"; die "cannot install netpod"; }
    rm -rf "$copy"
    stamp netpod "$wanted"
  fi
  ln -sfn "$prefix/venv/bin/netpod" "$link"
}

load_modules() {
  local module
  for module in br_netfilter nf_tables nft_compat nf_conntrack nf_conntrack_netlink veth bridge; do
    PATH="$PATH:/usr/sbin:/sbin" modprobe -q "$module" 2>/dev/null || true
  done
}

# Debian's kubectl, unpacked aside: the tests want exactly that one, and the machine may have another.
install_kubectl() {
  [ -x "$prefix/kubectl/usr/bin/kubectl" ] && return
  local folder
  folder=$(mktemp -d)
  chmod 755 "$folder"
  if (cd "$folder" && apt-get download -q kubernetes-client >"$log" 2>&1); then
    dpkg -x "$folder"/kubernetes-client_*.deb "$prefix/kubectl"
    say "kubectl: $(dpkg-deb --field "$folder"/kubernetes-client_*.deb Version)"
  else
    say "kubectl: this distribution has no kubernetes-client; tests that need it will say so"
  fi
  rm -rf "$folder"
}

# A current one beside it, from the Debian after the oldest that we run on.
install_current_kubectl() {
  [ -x "$prefix/kubectl-current/usr/bin/kubectl" ] && return
  local folder site keys=/usr/share/keyrings/debian-archive-keyring.gpg
  site=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -1)
  if [ -z "$site" ] || [ ! -e "$keys" ]; then
    say "current kubectl: this is no Debian; its tests say so"
    return
  fi
  folder=$(mktemp -d)
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  touch "$folder/status"
  printf 'deb [signed-by=%s] %s trixie main\n' "$keys" "$site" >"$folder/sources.list"
  local -a apart=(-q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State=$folder" -o "Dir::State::lists=$folder/lists" -o "Dir::State::status=$folder/status"
    -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User=root)
  if (cd "$folder" && apt-get "${apart[@]}" update && apt-get "${apart[@]}" download kubectl) >"$log" 2>&1; then
    dpkg -x "$folder"/kubectl_*.deb "$prefix/kubectl-current"
    say "current kubectl: $(dpkg-deb --field "$folder"/kubectl_*.deb Version)"
  else
    say "current kubectl: not to be had; its tests say so"
  fi
  rm -rf "$folder"
}

main() {
  [ "$(id -u)" = 0 ] || die "run as root: sudo vagrant/provision.sh" 2
  command -v apt-get >/dev/null || die "this is no Debian or Ubuntu: install the packages of README.md by hand" 4
  local extra=
  [ "${1:-}" = --test ] && extra="test"
  mkdir -p "$prefix"
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  if [ -n "$extra" ]; then install_packages "${runtime[@]}" "${build[@]}" "${testing[@]}"; else install_packages "${runtime[@]}" "${build[@]}"; fi
  [ -z "$extra" ] || install_optional
  check_python
  install_libraries "$extra"
  install_netpod
  load_modules
  [ -z "$extra" ] || { install_kubectl; install_current_kubectl; }
  say "done: $("$link" --version)"
}

main "$@"
