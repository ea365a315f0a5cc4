"""All controllers of a cluster, over one shared set of informers, in one task group."""

import asyncio
import ipaddress
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netpod.api.apps import ReplicaSet
from netpod.api.workloads import ReplicationController
from netpod.client.events import EventRecorder
from netpod.client.informer import Informers
from netpod.client.rest import Client
from netpod.controllers import certificates, horizontal, jobs, nodelifecycle
from netpod.controllers.certificates import CertificatesController
from netpod.controllers.claimprotection import ClaimProtectionController, VolumeProtectionController
from netpod.controllers.controller import Context
from netpod.controllers.cronjob import CronJobController
from netpod.controllers.daemonset import DaemonSetController
from netpod.controllers.deployment import DeploymentController
from netpod.controllers.disruption import DisruptionController
from netpod.controllers.endpoints import EndpointsController
from netpod.controllers.endpointslice import EndpointSliceController
from netpod.controllers.garbagecollector import GarbageCollector
from netpod.controllers.horizontal import HorizontalController
from netpod.controllers.job import JobController
from netpod.controllers.metrics import Metrics
from netpod.controllers.mirroring import EndpointSliceMirroringController
from netpod.controllers.namespace import NamespaceController
from netpod.controllers.nodeipam import NodeIpamController
from netpod.controllers.nodelifecycle import NodeLifecycleController
from netpod.controllers.persistentvolume import PersistentVolumeController
from netpod.controllers.podgc import PodGarbageCollector
from netpod.controllers.replicaset import ReplicaSetController
from netpod.controllers.resourcequota import ResourceQuotaController
from netpod.controllers.rootca import RootCaPublisher
from netpod.controllers.serviceaccount import ServiceAccountController
from netpod.controllers.statefulset import StatefulSetController
from netpod.controllers.tokens import TokensController
from netpod.controllers.ttlafterfinished import TtlAfterFinishedController
from netpod.ip import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllersConfig:
    """What an administrator may choose; defaults are upstream's.

    Attributes:
        pod_cidrs: The cluster's pod networks, one per family, each with the prefix length of a node's part.
        nodes: How long a node may be silent.
        pod_gc_quarantine: Seconds until the pods of a deleted node are given up.
        job_backoff: Seconds until the first failed pod of a Job is replaced.
        root_ca: Certificate of the cluster's authority, PEM, for ConfigMap kube-root-ca.crt; "" for none.
        autoscaling_period: Seconds between two looks at what the pods of an autoscaler use.
        volumes: Directory below which volumes are made for claims; None makes none.
        certify: Makes the certificates of requests that were approved; None makes none.
        sign: Signs the claims of tokens that are kept in Secrets; None issues none.
    """

    pod_cidrs: tuple[tuple[Network, int], ...] = ((ipaddress.IPv4Network("10.244.0.0/16"), 24),)
    nodes: nodelifecycle.Periods = field(default_factory=nodelifecycle.Periods)
    pod_gc_quarantine: float = 40.0
    job_backoff: float = jobs.BACKOFF_FIRST
    root_ca: str = ""
    autoscaling_period: float = horizontal.PERIOD
    volumes: Path | None = None
    sign: Callable[[dict[str, Any]], str] | None = None
    certify: certificates.Sign | None = None


async def run(
    client: Client,
    config: ControllersConfig,
    informers: Informers | None = None,
    counted: Metrics | None = None,
) -> None:
    """Run every controller until cancelled.

    Args:
        client: As the controllers' user.
        config: See ControllersConfig.
        informers: Somebody else's, who also runs them; None to have our own.
        counted: What the controllers count, for somebody who asks.
    """
    async with asyncio.TaskGroup() as tasks:
        shared = informers if informers is not None else Informers(client)
        context = Context(
            client=client,
            informers=shared,
            recorder=EventRecorder(client, "controller-manager"),
            counted=counted or Metrics(),
        )
        for loop in loops(context, config):
            tasks.create_task(loop(), name=loop.__qualname__)
        for recorder in context.recorders():
            tasks.create_task(recorder.run(), name="controllers' events")
        if informers is None:
            tasks.create_task(shared.run(), name="controllers' informers")


def loops(
    context: Context, config: ControllersConfig
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """Make the controllers; return what runs each of them."""
    controllers = (
        ServiceAccountController(context),
        NodeIpamController(context, config.pod_cidrs),
        NodeLifecycleController(context, config.nodes),
        ReplicaSetController(context, ReplicaSet),
        ReplicaSetController(context, ReplicationController),
        DeploymentController(context),
        DaemonSetController(context),
        StatefulSetController(context),
        JobController(context, config.job_backoff),
        TtlAfterFinishedController(context),
        CronJobController(context),
        DisruptionController(context),
        HorizontalController(context, config.autoscaling_period),
        EndpointSliceController(context),
        EndpointsController(context),
        EndpointSliceMirroringController(context),
        RootCaPublisher(context, config.root_ca),
        TokensController(context, config.sign, config.root_ca),
        CertificatesController(context, config.certify),
        ResourceQuotaController(context),
        GarbageCollector(context),
        NamespaceController(context),
        PodGarbageCollector(context, config.pod_gc_quarantine),
        PersistentVolumeController(context, config.volumes),
        ClaimProtectionController(context),
        VolumeProtectionController(context),
    )
    return [each.run for each in controllers]
