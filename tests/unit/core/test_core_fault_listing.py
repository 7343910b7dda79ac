"""The catalogue as people and programs read it."""

from pathlib import Path

from harness.faults.catalogue import catalogue
from harness.faults.listing import as_data, as_markdown, as_text

PAGE = Path(__file__).resolve().parents[3] / "docs" / "faults.md"


def test_the_page_is_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == as_markdown(catalogue()) + "\n", (
        "harness faults --markdown > docs/faults.md"
    )


def test_every_fault_and_parameter_is_explained() -> None:
    for one in catalogue().values():
        assert one.summary.endswith("."), one.name
        assert all(param.help for param in one.params.values()), one.name
        assert one.name in as_text({one.name: one})
    assert [one["name"] for one in as_data(catalogue())] == list(catalogue())
