"""How GatewayClasses, Gateways, HTTPRoutes and ReferenceGrants read in a table.

Source: `+kubebuilder:printcolumn` in sigs.k8s.io/gateway-api apis/v1.
"""

from collections.abc import Mapping
from datetime import datetime

import orjson

from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    Column,
    Json,
    Layout,
    Row,
    age,
    dig,
    items,
    wide,
)


def _condition(obj: Json, type_: str) -> str:
    found = [c for c in items(obj, "status.conditions") if c.get("type") == type_]
    return str(found[0].get("status", "")) if found else ""


def _gateway_class(obj: Json, now: datetime) -> Row:
    return Row(
        (
            dig(obj, "metadata.name", ""),
            dig(obj, "spec.controllerName", ""),
            _condition(obj, "Accepted"),
            age(obj, now),
            dig(obj, "spec.description", ""),
        )
    )


def _gateway(obj: Json, now: datetime) -> Row:
    return Row(
        (
            dig(obj, "metadata.name", ""),
            dig(obj, "spec.gatewayClassName", ""),
            ",".join(str(a.get("value", "")) for a in items(obj, "status.addresses")),
            _condition(obj, "Programmed"),
            age(obj, now),
        )
    )


def _http_route(obj: Json, now: datetime) -> Row:
    hostnames = dig(obj, "spec.hostnames", [])
    text = orjson.dumps(hostnames).decode() if hostnames else ""
    return Row((dig(obj, "metadata.name", ""), text, age(obj, now)))


LAYOUTS: Mapping[str, Layout] = {
    "GatewayClass": Layout(
        (
            NAME,
            Column("Controller", "Controller that serves Gateways of the class."),
            Column("Accepted", "Whether it does."),
            AGE,
            wide("Description", "What the class is for."),
        ),
        _gateway_class,
    ),
    "Gateway": Layout(
        (
            NAME,
            Column("Class", "GatewayClass that serves it."),
            Column("Address", "Where it can be reached."),
            Column("Programmed", "Whether it serves what is asked for."),
            AGE,
        ),
        _gateway,
    ),
    "HTTPRoute": Layout(
        (NAME, Column("Hostnames", "Hosts that requests are matched against."), AGE), _http_route
    ),
}
