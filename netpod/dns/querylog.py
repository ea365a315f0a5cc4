"""The query log: one JSON object for each query that was answered, when ConfigMap kube-system/dns says `log: "true"`.

    {"client":"10.244.1.2:4711","proto":"udp","name":"web.default.svc.cluster.local","type":"A","rcode":"NOERROR",
     "answers":1,"bytes":78,"duration_us":41}

Off by default: a line costs as much as ten answers from the cache.

Source: CoreDNS plugin log, its fields.
"""

import sys
import time
from typing import Any

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import orjson

from netpod.ip import host_port


class QueryLog:
    """Writes lines to standard output, which is the container's log."""

    def note(self, client: Any, query: bytes, response: bytes, began_ns: int, *, tcp: bool) -> None:
        """Write what was asked and answered; nothing for a response that is none.

        Args:
            client: Address and port of who asked, as a socket gives them.
            query: Its bytes.
            response: The answer's.
            began_ns: When it came, by `time.perf_counter_ns`.
            tcp: Whether over TCP.
        """
        try:
            asked = dns.message.from_wire(query, ignore_trailing=True).question[0]
            answer = dns.message.from_wire(response, ignore_trailing=True)
        except (dns.exception.DNSException, IndexError):
            return
        line = {
            "client": host_port(client[0], client[1]),
            "proto": "tcp" if tcp else "udp",
            "name": asked.name.to_text(omit_final_dot=True),
            "type": dns.rdatatype.to_text(asked.rdtype),
            "rcode": dns.rcode.to_text(answer.rcode()),
            "answers": sum(len(found) for found in answer.answer),
            "bytes": len(response),
            "duration_us": (time.perf_counter_ns() - began_ns) // 1000,
        }
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
        sys.stdout.buffer.flush()
