"""How it was measured, whether that was sound, on what machine, and how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from harness.clock import NS
from harness.plan import CLOSED_MODEL_HIDES
from harness.report import numbers
from harness.report.context import Context
from harness.report.markup import Content, Markup, el, join, table
from harness.report.sections import Part, section

_MANY = 80
_FILES = {
    "run.json": "what was planned, on which machine, with which seeds and digests",
    "samples.parquet": "every attempt of every request",
    "telemetry.parquet": "every reading of every gauge",
    "events.jsonl": "phases, faults (requested, confirmed, cleared), aborts",
    "verdict.json": "every number of this report",
    "junit.xml": "the expectations as test cases",
}

_LOADS: dict[str, tuple[Content, ...]] = {
    "open": (
        "The same load, request by request and at the same planned moments, was sent to the same system twice: "
        "once undisturbed (baseline), once with the fault. ",
        el("strong", "Open model"),
        ": requests arrive as they would from people who do not know of each other, so a slow system is not spared.",
    ),
    "closed": (
        "The same users worked with the same system twice: once undisturbed (baseline), once with the fault. ",
        el("strong", "Closed model"),
        f": a user's next request comes when the one before has been answered. {CLOSED_MODEL_HIDES}",
    ),
}


@section(id="method", title="How this was measured", short="Method", order=80)
def method(context: Context) -> Part:
    """The experiment in words, then its arms and faults."""
    return Part(join(_words(context), _arms(context), _clocks(context), _faults(context), _times(context)))


@section(id="validity", title="Can this run be trusted?", short="Validity", order=81)
def validity(context: Context) -> Part:
    """Whether the load generator and the machine were good enough for the numbers to be about the system."""
    found = context.verdict.validity
    if found.valid and context.record.info.simulated:
        content: Content = [
            el(
                "p",
                el("span", "Simulated", class_="badge neutral"),
                " Nothing was measured. The model knows the limits, waits, retries and queues that it was told of, "
                "and nothing else: no processor, no garbage collection, no bug.",
            ),
        ]
    elif found.valid:
        content = [
            el(
                "p", el("span", "✓ Valid", class_="badge good"), " The load generator kept up; the arms are comparable."
            ),
        ]
    else:
        content = el("p", el("span", "! Invalid", class_="badge neutral"), " The run says nothing about the system:")
    reasons = el("ul", [el("li", reason) for reason in found.reasons]) if found.reasons else None
    return Part(join(content, reasons))


@section(id="environment", title="Environment and seeds", short="Environment", order=82)
def environment(context: Context) -> Part:
    """Versions, machine and seeds as recorded."""
    info = context.record.info
    parts: list[Markup] = []
    for caption, data in (("Seeds", info.seeds), ("Machine", info.host), ("Versions", info.versions)):
        rows = list(_flat(data))
        if rows:
            parts.append(table(caption, ["Name", "Value"], rows[:_MANY], numeric=()))
    scenario = list(_flat(info.scenario))[: _MANY * 2]
    whole = table("The resolved scenario", ["Key", "Value"], scenario, numeric=())
    parts.append(el("details", el("summary", "The scenario as it ran"), whole))
    return Part(join(el("div", parts, class_="columns")))


@section(id="again", title="Do it again, look deeper", short="Repeat it", order=83)
def again(context: Context) -> Part:
    """The commands that repeat the run and rebuild this report, and the raw files."""
    record = context.record
    folder = shlex.quote(f"results/{record.info.run_id}")
    commands = [
        ("Run the same experiment again", run_command(context)),
        ("Rebuild the verdict from the record alone", f"harness analyse {folder}"),
        ("Rebuild this report", f"harness report {folder}"),
    ]
    listed = [join(el("dt", what), el("dd", el("code", command))) for what, command in commands]
    rows = []
    for name, meaning in _FILES.items():
        digest = record.info.files.get(name)
        rows.append(
            [
                el("a", name, href=name),
                meaning,
                numbers.whole(digest.rows) if digest and digest.rows is not None else numbers.NONE,
                el("code", digest.sha256, class_="digest") if digest else numbers.NONE,
            ]
        )
    files = table("The raw files beside this report", ["File", "Holds", "Rows", "SHA-256"], rows, numeric=(2,))
    return Part(join(el("dl", listed, class_="commands"), files))


def run_command(context: Context) -> str:
    """The `harness run` command with the scenario, its variant and the seed of this run."""
    info = context.record.info
    extra = info.model_extra or {}
    file = extra.get("scenario_file")
    verb = "simulate" if info.simulated else "run"
    words = ["harness", verb, f"scenarios/{PurePath(str(file)).name}" if file else f"scenarios/{info.name}.yaml"]
    if info.variant:
        words += ["--variant", info.variant]
    if info.simulated and info.simulated.get("scale", 1) != 1:
        words += ["--scale", str(info.simulated["scale"])]
    for option, value in info.scenario.get("existing", {}).items():
        words += [f"--{option}", str(value)]
    seed = _seed(info.seeds)
    if seed is not None:
        words += ["--seed", str(seed)]
    if len(context.fault_arms) > 1:
        words += ["--repeat", str(len(context.fault_arms))]
    return shlex.join(words)


def _seed(seeds: Any) -> int | None:
    if isinstance(seeds, Mapping):
        seeds = next((seeds[key] for key in ("run", "seed", "plan") if key in seeds), None)
    return seeds if isinstance(seeds, int) else None


def _words(context: Context) -> Markup:
    span = context.compared
    times = f"{numbers.seconds(span.start_s)} to {numbers.seconds(span.end_s)}"
    return join(
        _simulated(context.record.info.simulated),
        el(
            "p",
            *_LOADS[context.record.info.load.model],
            " What is compared is ",
            el("strong", f"second {times} of both"),
            ". A request is counted once, by what its user got in the end, from the moment it should have been sent.",
        ),
        el(
            "p",
            "An expectation fails when the whole interval lies beyond what was allowed, holds when the whole "
            "interval lies within it, and is undecided otherwise. ",
            "With one run per arm the claims are about this run; repeated runs tell how far they carry."
            if len(context.fault_arms) < 2
            else f"{len(context.fault_arms)} pairs of runs were made. The run is the unit: what is held against the "
            "margin is how the pairs agree (paired t-test at 5 %, one-sided, so the intervals have 90 %).",
            " Several expectations are several chances of a false alarm, so each is corrected for the others; the full "
            "table is corrected for all its rows (Holm).",
        ),
    )


def _simulated(how: Mapping[str, Any] | None) -> Markup | None:
    """That this was no measurement, before anything else is said."""
    if not how:
        return None
    scale, kept_every = how.get("scale", 1), how.get("kept_every", 1)
    parts = ["All of this happened in a simulation: a model of the system met the load and the faults of the scenario."]
    if scale != 1:
        parts.append(f"Load and system were {numbers.whole(scale)} times as large as in the scenario.")
    if kept_every != 1:
        parts.append(f"Every request was simulated; this report stands on one in {numbers.whole(kept_every)} of them.")
    return el("p", el("strong", " ".join(parts)))


def _arms(context: Context) -> Markup:
    arms = context.record.info.arms
    return table(
        "Arms, in the order in which they ran",
        ["Arm", "Kind", "Started", "Lasted", "Attempts recorded"],
        [
            [a.name, a.kind, numbers.moment(a.start_utc), numbers.seconds(a.duration_s), numbers.whole(a.rows)]
            for a in arms
        ],
        numeric=(3, 4, 5),
    )


def _clocks(context: Context) -> Markup | None:
    """How well the rows of load workers on other hosts are in step with the faults."""
    rows = [
        [
            arm.name,
            clock.worker,
            numbers.seconds(clock.offset_ns / NS),
            f"{clock.drift_ppm:.1f} µs/s",
            f"± {clock.uncertainty_ns / NS * 1000:.2f} ms",
        ]
        for arm in context.record.info.arms
        for clock in arm.worker_clocks
    ]
    if not rows:
        return None
    header = ["Arm", "Worker", "Ahead of the run's clock", "Gained", "Rows in step within"]
    return join(
        table("Clocks of the load hosts", header, rows, numeric=(2, 3, 4)),
        el(
            "p",
            "Load came from other hosts. Their rows were shifted to the clock that times the faults.",
        ),
    )


def _faults(context: Context) -> Markup | None:
    planned = {fault.id: fault for fault in context.record.info.faults}
    seen = {window.name: window for window in context.windows}
    rows = []
    for name in dict.fromkeys([*planned, *seen]):
        fault, window = planned.get(name), seen.get(name)
        params = ""
        if fault:
            in_words = {key: value for key, value in fault.written.items() if key in fault.params}
            params = ", ".join(f"{key}: {value}" for key, value in _flat(in_words or fault.params))
        rows.append(
            [
                name,
                (", ".join(fault.places) or fault.edge or fault.component) if fault else numbers.NONE,
                params or numbers.NONE,
                numbers.seconds(fault.at_s) if fault else numbers.NONE,
                numbers.seconds(fault.for_s) if fault else numbers.NONE,
                f"{numbers.seconds(window.start_s)} to {numbers.seconds(window.end_s)}" if window else "never active",
            ]
        )
    if not rows:
        return None
    header = ["Fault", "Where", "How", "Planned at", "Planned for", "Confirmed active"]
    return table("Faults, planned and confirmed", header, rows, numeric=(3, 4, 5))


def _times(context: Context) -> Markup | None:
    """How well the faults kept to their plan."""
    rows = [
        [
            one.arm,
            one.fault,
            numbers.seconds(one.planned_s),
            numbers.milliseconds(one.late_ms),
            numbers.milliseconds(one.active_after_ms),
            numbers.seconds(one.asked_s),
            numbers.milliseconds(one.clear_after_ms),
        ]
        for one in context.verdict.fault_times
    ]
    if not rows:
        return None
    header = ["Arm", "Fault", "Planned at", "Began later by", "Seen after", "Taken back at", "Seen gone after"]
    return table("How faults kept to their plan", header, rows, numeric=(2, 3, 4, 5, 6))


def _flat(data: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested data as dotted names and texts."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(data, list | tuple) and any(isinstance(item, Mapping) for item in data):
        for i, value in enumerate(data):
            yield from _flat(value, f"{prefix}[{i}]")
    elif isinstance(data, list | tuple):
        yield prefix, ", ".join(str(item) for item in data)
    elif data is not None and data != "":
        yield prefix or "value", str(data)
