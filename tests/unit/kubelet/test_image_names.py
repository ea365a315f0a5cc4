"""What is the name of an image."""

import pytest

from netpod.kubelet import image_names

LOWERCASE = "repository name must be lowercase"


@pytest.mark.parametrize(
    "name",
    [
        "nginx",
        "nginx:1.27",
        "library/nginx",
        "registry.example:5000/team/app_x/web-1.2:v1.0_rc-1",
        "localhost/x",
        "[2001:db8::1]:5000/x",
        "web@sha256:" + "a" * 64,
        "MyRegistry.example/web",
    ],
)
def test_names_of_images(name: str) -> None:
    """Hosts may be in capitals, paths may not."""
    assert image_names.problem(name) == ""


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("Web", LOWERCASE),
        ("registry.example/Team/web", LOWERCASE),
        ("", "invalid reference format"),
        ("web:", "invalid reference format"),
        ("web: 1", "invalid reference format"),
        ("web::1", "invalid reference format"),
        ("-web", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("web@sha256:short", "invalid reference format"),
    ],
)
def test_what_is_no_name(name: str, cause: str) -> None:
    """The reason is told."""
    assert image_names.problem(name).endswith(cause)
