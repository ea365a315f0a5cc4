"""CustomResourceDefinition: a kind somebody else adds.

Names and versions are kept as written; apiserver/customkinds.py reads them.

Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1/types.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.api.meta import EMPTY, Condition, Json, Object, Struct, always


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResourceDefinitionSpec(Struct):
    """`scope` is Cluster or Namespaced; exactly one of `versions` is the storage version."""

    group: str = always("")
    names: Mapping[str, Json] = EMPTY
    scope: str = always("")
    versions: tuple[Mapping[str, Json], ...] = always(())
    conversion: Mapping[str, Json] | None = None
    preserve_unknown_fields: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResourceDefinitionStatus(Struct):
    """Conditions NamesAccepted and Established."""

    conditions: tuple[Condition, ...] = ()
    accepted_names: Mapping[str, Json] = EMPTY
    stored_versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomResourceDefinition(Object):
    """A kind of object: its names, versions and schemas."""

    api_version: str = always("apiextensions.k8s.io/v1")
    kind: str = always("CustomResourceDefinition")
    spec: CustomResourceDefinitionSpec = field(default_factory=CustomResourceDefinitionSpec)
    status: CustomResourceDefinitionStatus = field(default_factory=CustomResourceDefinitionStatus)
