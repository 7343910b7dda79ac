import ast
from dataclasses import fields
from pathlib import Path

import pytest
from shop.settings import Settings, SettingsError, variable

from harness.scenario.manifest import load_target

ROOT = Path(__file__).parents[3]
TARGET = ROOT / "targets" / "sample-flask-app"


@pytest.fixture(scope="module")
def manifest():
    return load_target(TARGET)


def test_absent_variables_keep_their_defaults():
    assert Settings.from_environment({"PATH": "/bin"}) == Settings()


def test_reads_whole_numbers_seconds_and_booleans():
    settings = Settings.from_environment({"SHOP_POOL_SIZE": "7", "SHOP_POOL_WAIT_SECONDS": "0.25", "SHOP_BREAKER": "1"})
    assert (settings.pool_size, settings.pool_wait_seconds, settings.breaker) == (7, 0.25, True)


def test_a_misspelt_setting_is_refused_with_the_nearest_name():
    with pytest.raises(SettingsError, match=r"SHOP_POOL_WIAT_SECONDS is not a setting.*SHOP_POOL_WAIT_SECONDS"):
        Settings.from_environment({"SHOP_POOL_WIAT_SECONDS": "1"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SHOP_POOL_SIZE", "five"),
        ("SHOP_POOL_SIZE", "5.0"),
        ("SHOP_POOL_SIZE", "-1"),
        ("SHOP_HOLD_SECONDS", "80ms"),
        ("SHOP_HOLD_SECONDS", "nan"),
        ("SHOP_HOLD_SECONDS", "inf"),
        ("SHOP_BREAKER", "true"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable(name, text):
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: text})


def test_the_manifest_documents_every_setting_and_no_other(manifest):
    assert {setting.env for setting in manifest.settings.values()} == {
        variable(field.name) for field in fields(Settings)
    }


def test_the_manifest_and_the_code_have_the_same_defaults(manifest):
    assert Settings.from_environment(manifest.environment("", {})) == Settings()


def test_hardened_bounds_what_fragile_leaves_open(manifest):
    fragile, hardened = (Settings.from_environment(manifest.environment(name, {})) for name in ("fragile", "hardened"))
    assert hardened.pool_wait_seconds < 1 < fragile.pool_wait_seconds
    assert (fragile.checkout_bulkhead, hardened.checkout_bulkhead) == (0, hardened.pool_size + 3)
    assert hardened.checkout_bulkhead < hardened.threads
    assert (fragile.cache_fallback, hardened.cache_fallback) == (False, True)
    assert (fragile.breaker, hardened.breaker) == (False, True)


@pytest.mark.parametrize("locustfile", ["shop.py", "checkout.py"])
def test_the_locustfiles_name_endpoints_of_the_manifest(manifest, locustfile):
    tree = ast.parse((ROOT / "scenarios" / "locustfiles" / locustfile).read_text())
    names = {
        keyword.value.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "name"
    }
    assert names
    assert names <= set(manifest.dependencies)
    if locustfile == "shop.py":
        assert names == set(manifest.dependencies)
