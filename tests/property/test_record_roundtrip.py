"""Any rows that load workers may write come back from the record, in order, with nothing lost."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.paths import RunFolder
from harness.record.reader import read
from harness.record.schema import ERRORS
from harness.record.spool import RowWriter
from harness.record.writer import ArmStart, RecordWriter

TIME_NS = st.integers(0, 10**15)
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
LABEL = st.sampled_from(["app-1", "redis", "load-worker-0"])


@st.composite
def workers(draw):
    """Per worker a list of rows as `RowWriter.add` takes them; retries refer to an earlier attempt 0 that ended."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4))
    result = []
    for _ in range(draw(st.integers(1, 3))):
        rows = []
        for local in range(draw(st.integers(0, 12))):
            arrivals = [row for row in rows if row[0] == 0]
            first = draw(st.sampled_from(arrivals)) if arrivals and draw(st.booleans()) else None
            attempt = draw(st.integers(1, 2**15 - 1)) if first else 0
            # A retry is wanted after its arrival was; the delay keeps them apart in the order of the record.
            intended = first[4] + 1 + draw(TIME_NS) if first else draw(TIME_NS)
            start = intended + draw(TIME_NS)
            rows.append(
                (
                    attempt,
                    first[2] if first else local,
                    local,
                    draw(st.sampled_from(names)),
                    intended,
                    start,
                    start + draw(TIME_NS),
                    draw(st.integers(0, 999)),
                    draw(st.sampled_from(ERRORS)),
                    draw(st.integers(0, 2**31 - 1)),
                )
            )
        result.append(rows)
    return result


@settings(max_examples=60, deadline=None)
@given(arms=st.lists(workers(), min_size=1, max_size=3))
def test_rows_survive_the_round_trip(arms):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        names = [f"arm-{number}" for number in range(len(arms))]
        writer = open_record(root / "run")
        for name, spools in zip(names, arms, strict=True):
            paths = []
            for worker, rows in enumerate(spools):
                paths.append(root / f"{name}-{worker}")
                spool = RowWriter(paths[-1])
                for row in rows:
                    spool.add(*row)
                spool.close()
            assert writer.add_samples(name, paths) == sum(len(rows) for rows in spools)
        writer.close([], [ArmStart(name, "baseline", 1, "", 0, 1.0) for name in names])

        record = read(root / "run")
        for name, spools in zip(names, arms, strict=True):
            assert rows_of(record.arm(name)) == expected_rows(spools)


def open_record(folder):
    info = {"run_id": "r", "scenario": {}, "scenario_sha256": "", "phases": [], "target": {"dependencies": {}}}
    return RecordWriter(RunFolder(folder), info)


def expected_rows(spools):
    """Straight from the definition: sort, number, and look the first attempts up."""
    rows = sorted((row[4], worker, row[2], row) for worker, spool in enumerate(spools) for row in spool)
    seq_of = {(worker, local): seq for seq, (_, worker, local, _) in enumerate(rows)}
    return [
        (worker, seq, row[0], seq_of[worker, row[1]], row[3], *row[4:7], row[7], row[8], row[9])
        for seq, (_, worker, _, row) in enumerate(rows)
    ]


def rows_of(arm):
    return list(
        zip(
            arm.worker.tolist(),
            arm.seq.tolist(),
            arm.attempt.tolist(),
            arm.first_seq.tolist(),
            [arm.endpoint_names[code] for code in arm.endpoint],
            arm.intended_ns.tolist(),
            arm.start_ns.tolist(),
            arm.end_ns.tolist(),
            arm.status.tolist(),
            [arm.error_names[code] for code in arm.error],
            arm.bytes.tolist(),
            strict=True,
        )
    )


@settings(max_examples=60, deadline=None)
@given(
    readings=st.lists(
        st.tuples(
            st.sampled_from(["arm-0", "arm-1"]),
            st.integers(-(10**12), 10**15),
            LABEL,
            NAMES,
            st.floats(allow_nan=False),
        ),
        max_size=30,
    )
)
def test_readings_survive_the_round_trip(readings):
    with tempfile.TemporaryDirectory() as temporary:
        writer = open_record(Path(temporary) / "run")
        for reading in readings:
            writer.reading(*reading)
        writer.close([], [ArmStart("arm-0", "baseline", 1, "", 0, 1.0)])
        telemetry = read(Path(temporary) / "run").telemetry
        found = [
            (arm, t_ns, component, metric, value)
            for arm, component, metric in telemetry.available()
            for t_ns, value in zip(*map(list, telemetry.series(arm, component, metric)), strict=True)
        ]
        assert sorted(found) == sorted(readings)
