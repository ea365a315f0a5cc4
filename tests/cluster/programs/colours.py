"""A kopf operator of a kind of its own: a Colour becomes a ConfigMap, and its end is noted."""

# mypy: ignore-errors
# ruff: noqa: D103
import kopf
from kubernetes import client, config

config.load_kube_config()


@kopf.on.startup()
def configure(settings, **_):
    settings.persistence.finalizer = "example.com/colour"
    settings.posting.enabled = True


@kopf.on.create("example.com", "v1", "colours")
def created(spec, name, namespace, body, **_):
    made = {"metadata": {"name": f"colour-{name}"}, "data": {"colour": spec["colour"]}}
    kopf.adopt(made, owner=body)
    client.CoreV1Api().create_namespaced_config_map(namespace, made)
    kopf.info(body, reason="Painted", message=f"painted {spec['colour']}")
    return {"painted": spec["colour"]}


@kopf.on.update("example.com", "v1", "colours", field="spec.colour")
def updated(new, name, namespace, **_):
    client.CoreV1Api().patch_namespaced_config_map(
        f"colour-{name}", namespace, {"data": {"colour": new}}
    )


@kopf.on.delete("example.com", "v1", "colours")
def deleted(name, namespace, spec, **_):
    made = {"metadata": {"name": f"deleted-{name}"}, "data": {"colour": spec["colour"]}}
    client.CoreV1Api().create_namespaced_config_map(namespace, made)
