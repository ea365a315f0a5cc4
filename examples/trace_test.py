"""A test of one's own cluster: the request must arrive, and kube-proxy must have chosen the endpoint.

Start a cluster with `sudo netpod demo`, then run this as root: python examples/trace_test.py
"""

import asyncio

from netpod.trace import Verdict, trace_request


async def main() -> None:
    """Trace one request through load balancer and ingress, and one into the void."""
    path = await trace_request("http://example.com/")
    assert path.verdict is Verdict.DELIVERED, path.sentence
    chosen = path.hop(chain="KUBE-SVC-*")
    assert chosen is not None, "no kube-proxy rule was met"
    print(f"{chosen.netns}: {chosen.before.destination} became {chosen.after.destination}")

    path = await trace_request("node/worker:9", source="outside")
    assert path.verdict is Verdict.REFUSED, path.sentence
    print(path.sentence)


if __name__ == "__main__":
    asyncio.run(main())
