"""How requests for certificates read in a table.

Source: pkg/printers/internalversion/printers.go printCertificateSigningRequest.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
    Column,
    Json,
    Layout,
    Row,
    age,
    dig,
    human_duration,
    items,
)

_SAID: tuple[str, ...] = ("Approved", "Denied", "Failed")


def _request(obj: Json, now: datetime) -> Row:
    seconds = dig(obj, "spec.expirationSeconds", None)
    types = [it.get("type") for it in items(obj, "status.conditions")]
    states = [it for it in _SAID if it in types] or ["Pending"]
    if dig(obj, "status.certificate", ""):
        states.append("Issued")
    return Row(
        (
            str(dig(obj, "metadata.name", "")),
            age(obj, now),
            dig(obj, "spec.signerName", NONE),
            dig(obj, "spec.username", ""),
            NONE if seconds is None else human_duration(timedelta(seconds=seconds)),
            ",".join(states),
        )
    )


LAYOUTS: Mapping[str, Layout] = {
    "CertificateSigningRequest": Layout(
        (
            NAME,
            AGE,
            Column("SignerName", "Who shall sign."),
            Column("Requestor", "Who asked."),
            Column("RequestedDuration", "How long the certificate should live."),
            Column("Condition", "What approvers and signer said."),
        ),
        _request,
    ),
}
"""Layout by kind."""
