import pytest

from harness.analysis.paths import has_path

DEPENDENCIES = {
    "catalog": ("app",),
    "product": ("app", "redis", "postgres"),
    "login": ("app", "auth"),
}
COMPONENTS = {"app": ("postgres", "redis", "auth", "payments"), "auth": ("auth-db",), "auth-db": ("disk",)}


@pytest.mark.parametrize(
    ("endpoint", "faulted", "expected"),
    [
        ("catalog", "redis", False),
        ("product", "redis", True),
        ("login", "redis", False),
        ("catalog", "app", True),
        ("catalog", "app-2", True),
        ("login", "auth-db", True),
        ("login", "disk", True),
        ("catalog", "auth-db", False),
        ("catalog", "payments", True),
        ("unheard-of", "redis", None),
        ("catalog", "", None),
    ],
)
def test_what_the_map_lists_for_an_endpoint_is_complete(endpoint, faulted, expected):
    assert has_path(endpoint, [faulted], DEPENDENCIES, COMPONENTS) is expected


def test_one_of_several_faults_is_enough():
    assert has_path("catalog", ["redis", "app"], DEPENDENCIES, COMPONENTS) is True


def test_nothing_declared_is_not_the_same_as_no_path():
    assert has_path("catalog", ["redis"], {}, {}) is None


def test_a_map_with_a_cycle_ends():
    assert has_path("a", ["z"], {"a": ("b",)}, {"b": ("c",), "c": ("b", "d"), "d": ("c",)}) is False
