"""Limits of containers in cgroup v2, which the machines of developers have and this one's hybrid layout has not."""

import sys
from pathlib import Path

import orjson

from tests.support import guest

SCRIPT = """
import json, os, pathlib, subprocess, sys
sys.path.insert(0, sys.argv[1])
root = pathlib.Path("/sys/fs/cgroup")
subprocess.run(["umount", "-R", str(root)], stderr=subprocess.DEVNULL)
root.mkdir(exist_ok=True)
subprocess.run(["mount", "-t", "cgroup2", "none", str(root)], check=True)
from netpod.api.cri import Resources
from netpod.shim import cgroups
wanted = Resources(cpu_shares=512, cpu_quota=50_000, memory=50 << 20)
told = {"missing": cgroups.missing(wanted)}
waits, go = os.pipe()
pid = os.fork()
if not pid:
    os.read(waits, 1)
    held = bytearray(200 << 20)
    held[:: 4096] = bytes(len(held[:: 4096]))
    os._exit(0)
cgroups.add("c/uid", "box", pid, wanted)
box = root / "netpod/c/uid/box"
for name in ("memory.max", "cpu.max", "cpu.weight", "cgroup.procs"):
    told[name] = (box / name).read_text().split()
told["pid"] = str(pid)
told["before"] = cgroups.oom_killed("c/uid", "box")
os.write(go, b"x")
told["status"] = os.waitpid(pid, 0)[1]
told["oom"] = cgroups.oom_killed("c/uid", "box")
told["cpu"] = cgroups.cpu("c/uid", "box") > 0
told["memory"] = cgroups.memory("c/uid", "box") < 50 << 20
cgroups.remove("c/uid", "box")
cgroups.remove("c/uid")
cgroups.remove_cluster("c")
told["left"] = (root / "netpod").exists()
print(json.dumps(told))
"""


@guest.needed
def test_limits_hold_in_cgroup_v2() -> None:
    """Memory, quota and weight are in the container's cgroup; over the limit the kernel kills it, and that is seen."""
    tree = str(Path(__file__).parents[2])
    done = guest.run(sys.executable, "-c", SCRIPT, tree)
    assert done.returncode == 0, done.stderr.decode()
    told = orjson.loads(done.stdout)
    assert told["missing"] == []
    assert told["memory.max"] == [str(50 << 20)]
    assert told["cpu.max"] == ["50000", "100000"]
    assert told["cpu.weight"] == ["20"]
    assert told["cgroup.procs"] == [told["pid"]]
    assert (told["before"], told["status"], told["oom"]) == (False, 9, True)
    assert told["cpu"]
    assert told["memory"]
    assert not told["left"]
