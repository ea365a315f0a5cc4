"""`netpod up --without`: what is left out, and what whoever runs it instead is given."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from netpod.api import meta
from netpod.apiserver import pki
from netpod.cluster import keys, without
from netpod.cluster.config import ClusterConfig
from netpod.errors import UsageError

NAME = "without"


def test_components_are_upstreams() -> None:
    """In any order; what is no component, or none that can be left out, is said with what there is."""
    assert without.parse("") == ()
    assert without.parse("kube-proxy, kube-scheduler") == ("kube-scheduler", "kube-proxy")
    ClusterConfig(without="kube-controller-manager").check()
    with pytest.raises(UsageError, match=r"'kubelet' \(--without\): there are kube-scheduler, "):
        ClusterConfig(without="kube-proxy,kubelet").check()


def test_what_only_ours_can_do_is_refused() -> None:
    """The reason is the option the cluster was started with."""
    without.require_own("kube-scheduler", without.KUBE_PROXY, "change the proxy mode")
    with pytest.raises(UsageError, match=r"cannot change the proxy mode: .* --without kube-proxy"):
        without.require_own("kube-proxy", without.KUBE_PROXY, "change the proxy mode")


@pytest.fixture
def config() -> Iterator[ClusterConfig]:
    """A cluster of which all is left out that can be, with its folders."""
    config = ClusterConfig(name=NAME, api_port=6443, without=",".join(without.COMPONENTS))
    folders = (config.paths.state, config.paths.run)
    for folder in folders:
        folder.mkdir(parents=True)
    yield config
    for folder in folders:
        shutil.rmtree(folder)


def test_whoever_runs_it_instead_has_a_kubeconfig(config: ClusterConfig) -> None:
    """Of the user that kubeadm gives it, at the address it reaches; a controller manager has the tokens' key."""
    keys.ensure(config)
    servers = {}
    for component in without.COMPONENTS:
        file = without.kubeconfig(config.paths, component)
        assert file.stat().st_mode & 0o777 == 0o600
        found = yaml.safe_load(file.read_text())
        servers[component] = found["clusters"][0]["cluster"]["server"]
        pem = base64.b64decode(found["users"][0]["user"]["client-certificate-data"])
        subject = x509.load_pem_x509_certificate(pem).subject.rfc4514_string()
        assert subject == f"CN=system:{component}"
    assert servers["kube-scheduler"] == servers["kube-controller-manager"]
    assert servers["kube-scheduler"].endswith("//127.0.0.1:6443")
    assert servers["kube-proxy"].endswith("//172.18.0.2:6443")
    assert (config.paths.pki / "sa.key").stat().st_mode & 0o777 == 0o600


def test_everybody_signs_with_the_key_that_was_there_first(tmp_path: Path) -> None:
    """Made once, durable, never replaced; and nothing else is left in the folder."""
    first = pki.signing_key(tmp_path / "pki")
    again = pki.signing_key(tmp_path / "pki")
    assert again.private_numbers() == first.private_numbers()
    assert [it.name for it in (tmp_path / "pki").iterdir()] == ["sa.key"]
    assert pki.signing_key(None).private_numbers() != first.private_numbers()


def test_the_front_proxys_authority_is_another(tmp_path: Path) -> None:
    """Who may say for whom he asks is not who may sign clients."""
    ours = pki.Authority(tmp_path, meta.now())
    front = pki.Authority(tmp_path, meta.now(), "front-proxy-ca")
    assert front.ca_pem != ours.ca_pem
    assert pki.Authority(tmp_path, meta.now(), "front-proxy-ca").ca_pem == front.ca_pem
