"""The study of classes: a small part of it holds, and it says so when it does not."""

from dataclasses import replace

from harness.calibrate.classes import fates, run_classes
from harness.exits import Exit


def test_systems_whose_fate_is_known_get_the_class_they_deserve():
    """One of each class, and both sides of the threshold."""
    chosen = [fate for fate in fates() if fate.exact or "0.1 ms" in fate.name or "polite" in fate.name]
    said = []
    study = run_classes(range(2), chosen, said.append)
    assert {fate.truth for fate in chosen} == {"none", "contained", "cascading", "metastable"}
    assert (study.right, study.exit_code) == (1.0, Exit.PASS)
    assert study.onset_error_s <= 1
    assert len(said) == len(chosen)
    assert f"{2 * len(chosen)} of {2 * len(chosen)} records" in study.text()
    assert study.to_json()["systems"][0]["samples_only"] == {"none": 2}


def test_one_wrong_class_at_the_threshold_fails_the_study():
    doomed = next(fate for fate in fates() if fate.truth == "metastable" and fate.exact)
    study = run_classes([0], [replace(doomed, truth="contained")])
    assert study.exit_code is Exit.FAIL
    assert "| 0 of 1 | 0 of 1 | 1 metastable |" in study.text()
