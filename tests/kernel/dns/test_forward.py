"""Names outside the cluster, asked of real name servers over UDP, TCP and the machine's relay."""

import asyncio
from pathlib import Path

import dns.asyncquery
import dns.message
import dns.rcode

from netpod.dns import forward, relay
from netpod.dns.handler import Handler
from netpod.dns.records import Zone
from netpod.dns.server import Server
from tests.unit.dns import builders


def _handler(rules: forward.Rules) -> Handler:
    handler = Handler(Zone(builders.cluster()))
    handler.synced = True
    handler.rules = rules
    return handler


def test_stub_domain_and_relay(tmp_path: Path) -> None:
    """Both ways lead to the other server over UDP and TCP; when nobody answers it is SERVFAIL, and soon."""

    async def check() -> None:
        far = _handler(forward.rules({"hosts": "192.0.2.9 a.example b.test"}, None))
        path = tmp_path / "relay.sock"
        resolv = tmp_path / "resolv.conf"
        resolv.write_text("search example\nnameserver 127.0.0.8\n")
        async with Server(far, ["127.0.0.8"], 0) as other, asyncio.TaskGroup() as tasks:
            stubs = f'{{"example": ["127.0.0.8:{other.port}"], "dead": ["127.0.0.8:9"]}}'
            task = tasks.create_task(relay.run(path, resolv_conf=resolv, port=other.port))
            async with asyncio.timeout(5):
                while not path.exists():
                    await asyncio.sleep(0.005)
            rules = forward.rules({"stubDomains": stubs}, path)
            async with Server(_handler(rules), ["127.0.0.1"], 0) as server, asyncio.timeout(5):
                for ask in (dns.asyncquery.udp, dns.asyncquery.tcp):
                    for name in ("a.example.", "b.test."):
                        query = dns.message.make_query(name, "A")
                        answer = await ask(query, "127.0.0.1", port=server.port)
                        assert str(answer.answer[0][0]) == "192.0.2.9"
                query = dns.message.make_query("x.dead.", "A")
                answer = await dns.asyncquery.udp(query, "127.0.0.1", port=server.port)
                assert answer.rcode() == dns.rcode.SERVFAIL
                task.cancel()

    asyncio.run(check())
