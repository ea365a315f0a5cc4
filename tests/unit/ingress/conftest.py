"""Builders of the objects that ingress reads, as fixtures."""

from collections.abc import Callable

import pytest

from netpod.api.discovery import EndpointSlice
from netpod.api.networking import Ingress, IngressClass
from netpod.api.service import Service
from tests.unit.ingress import builders


@pytest.fixture
def ingress() -> Callable[..., Ingress]:
    """Build an Ingress."""
    return builders.make_ingress


@pytest.fixture
def service() -> Callable[..., Service]:
    """Build a Service of the namespace default."""
    return builders.make_service


@pytest.fixture
def endpoint_slice() -> Callable[..., EndpointSlice]:
    """Build an EndpointSlice of the namespace default."""
    return builders.make_slice


@pytest.fixture
def ingress_class() -> Callable[..., IngressClass]:
    """Build an IngressClass."""
    return builders.make_class
