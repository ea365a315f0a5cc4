#!/usr/bin/env bash
# Run a command as root in a guest with a kernel of its own, over the files of this machine:
#
#   sudo vagrant/vm.sh [--guest kvm|uml|qemu] [--timeout SECONDS] [--memory 1G] [--env NAME[=VALUE]]... [--] COMMAND...
#   sudo vagrant/vm.sh --which
#
# For what this machine's kernel lacks (ip_vs, dummy, netem). See `vagrant/vm.sh --help`.
set -euo pipefail
exec /usr/bin/python3 "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/vm/run.py" "$@"
