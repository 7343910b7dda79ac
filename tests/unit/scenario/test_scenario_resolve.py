"""From a scenario file to a plan, and everything that is refused on the way."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.faults.base import FaultType
from harness.plan import Arm, Phase, Plan, PlannedFault, Retry
from harness.scenario.models import Retries
from harness.scenario.resolve import pool_size, resolve
from harness.shapes import Segment, Wave
from harness.units import format_duration

Planner = Callable[..., Plan]
LATENCY = "latency: {on: app->postgres, latency: 150ms, at: spike + 5s, for: 10s}"
VARIANTS = """\
variants:
  hardened: {preset: hardened, ends-as: contained}
  fragile:
    preset: fragile
    ends-as: metastable
    settings: {pool_size: 3}
    load: {timeout: 2s, retries: {checkout: {policy: immediate, limit: 3}}}
load:
"""
CLOSED = ("rate: 100/s", "model: closed\n  concurrency: 50")
RETRIES = """\
timeout: 1s
  retries:
    checkout: {policy: exponential, limit: 2, base: 1s, budget: 10%}
    product: {policy: none}"""


def test_times_are_absolute_and_rates_follow_the_steady_one(plan_with: Planner) -> None:
    plan = plan_with()
    assert plan.phases == (
        Phase("warm-up", 0.0, 5.0, 100.0),
        Phase("steady", 5.0, 15.0, 100.0),
        Phase("spike", 15.0, 35.0, 130.0),
        Phase("recovery", 35.0, 45.0, 100.0),
    )
    assert plan.load.segments == (
        Segment(0.0, 5.0, 100.0, 100.0),
        Segment(5.0, 15.0, 100.0, 100.0),
        Segment(15.0, 17.0, 100.0, 130.0),
        Segment(17.0, 35.0, 130.0, 130.0),
        Segment(35.0, 45.0, 100.0, 100.0),
    )
    assert plan.faults == (PlannedFault("redis-down", "redis-down", 20.0, 10.0, {}, "redis", ""),)
    assert plan.load.duration_s == plan.arm_duration_s == 45.0


def test_a_rate_may_be_absolute_or_below(plan_with: Planner) -> None:
    assert plan_with(("rate: +30%", "rate: 250/s")).phases[2].rate == 250.0
    assert plan_with(("rate: +30%", "rate: -25%")).phases[2].rate == 75.0


def test_a_ramp_in_the_first_phase_starts_from_nothing(plan_with: Planner) -> None:
    segments = plan_with(("{warm-up: 5s}", "{warm-up: 5s, ramp: 5s}")).load.segments
    assert segments[0] == Segment(0.0, 5.0, 0.0, 100.0)
    assert segments[1].start_s == 5.0


def test_a_sine_goes_around_the_rate_of_its_phase(plan_with: Planner) -> None:
    plan = plan_with(("ramp: 2s", "ramp: 2s, sine: 40%, period: 5s"))
    assert plan.load.waves == (Wave(17.0, 35.0, 130.0, 40.0, 5.0),)
    assert plan.load.segments[-2:] == (Segment(15.0, 17.0, 100.0, 130.0), Segment(35.0, 45.0, 100.0, 100.0))
    assert plan.phases[2] == Phase("spike", 15.0, 35.0, 130.0)
    assert plan.load.users == pool_size(170.0, 1.0, [])
    assert plan_with(("ramp: 2s", "sine: 25/s, period: 5s")).load.waves[0].amplitude == 25.0


def test_a_trace_takes_the_place_of_a_rate(plan_with: Planner, folder: Path) -> None:
    (folder / "friday.csv").write_text("".join(f"{1.8e9 + k / 8}\n" for k in range(1000)))
    plan = plan_with(("rate: +30%, ramp: 2s", "trace: friday.csv, from: 30s, speed: 200%, rate: +50%"))
    (replay,) = plan.load.traces
    assert (replay.start_s, replay.end_s, replay.from_s, replay.speed, replay.scale) == (15.0, 35.0, 30.0, 2.0, 1.5)
    assert replay.arrivals == pytest.approx(20 * 8 * 2 * 1.5, abs=2)
    assert plan.phases[2].rate == pytest.approx(24, abs=0.1)
    assert [segment.start_s for segment in plan.load.segments] == [0.0, 5.0, 35.0]
    assert plan.load.expected() == pytest.approx(2500 + 480, abs=2)
    assert len(replay.sha256) == 64
    slow = plan_with(("rate: +30%, ramp: 2s", "trace: friday.csv"), overrides=["load.phases[2].speed=50%"])
    assert slow.load.traces[0].speed == 0.5


def test_expected_arrivals_are_those_of_any_stretch(plan_with: Planner, folder: Path) -> None:
    (folder / "rates.csv").write_text("0,50\n")
    steady = ("{steady: 10s}", "{steady: 10s, sine: 50%, period: 10s}")
    load = plan_with(steady, ("rate: +30%, ramp: 2s", "trace: rates.csv")).load
    assert load.expected() == pytest.approx(500 + 1000 + 1000 + 1000)
    assert load.expected(2.0, 3.5) == pytest.approx(150)
    assert load.expected(5.0, 10.0) == pytest.approx(500 + 50 * 10 / math.pi)
    assert load.expected(20.0, 36.0) == pytest.approx(750 + 100)
    assert load.expected(99.0, 100.0) == 0


def test_the_pool_of_users_is_made_for_the_busiest_second_of_a_trace(plan_with: Planner, folder: Path) -> None:
    (folder / "burst.csv").write_text("0\n" + "10.5\n" * 500 + "19\n")
    assert plan_with(("rate: +30%, ramp: 2s", "trace: burst.csv")).load.users == pool_size(500.0, 1.0, [])
    (folder / "rates.csv").write_text("0,10\n5,700\n6,10\n")
    plan = plan_with(("rate: +30%, ramp: 2s", "trace: rates.csv"))
    assert plan.load.users == pool_size(700.0, 1.0, [])
    assert plan.load.traces[0].arrivals == 50 + 700 + 140


SHAPES_REFUSED = [
    ("sine: 30%", "a sine needs both how far and how often, such as `sine: 30%, period: 20s`"),
    ("period: 30s", "a sine needs both"),
    ("sine: +30%, period: 5s", "without a sign, got `+30%`"),
    ("sine: 0%, period: 5s", "above zero"),
    ("sine: far, period: 5s", "expected a rate such as `120/s`"),
    ("sine: 101%, period: 5s", "load.phases[2].sine: the rate would go below zero, by 101/s from 100/s"),
    ("ramp: 20s, sine: 30%, period: 5s", "the ramp leaves no time for the sine"),
    ("trace: none.csv", "load.phases[2].trace: no trace at "),
    ("trace: friday.csv, ramp: 2s", "a trace has a course of its own"),
    ("trace: friday.csv, sine: 3%, period: 2s", "a trace has a course of its own"),
    ("trace: friday.csv, rate: 20/s", "scale them by a signed percentage such as `rate: +30%`"),
    ("trace: friday.csv, speed: 2x", "load.phases[2].speed: expected a percentage"),
    ("trace: friday.csv, speed: 0%", "must be at least 0.001"),
    ("trace: friday.csv, form: 2s", "did you mean `from`"),
    ("from: 2s", "`from` and `speed` belong to a `trace: FILE`"),
    ("trace: short.csv", "load.phases[2].trace: the trace ends 12s into a phase of 20s"),
    ("trace: friday.csv, from: 40s", "friday.csv: holds nothing from 40 s to 60 s\n  its last line is at 30 s"),
    ("trace: broken.csv", "broken.csv:2: expected a time such as `12.25`, or a time and a rate, got `soon`"),
    ("trace: folder", "load.phases[2].trace: no trace at "),
]


@pytest.mark.parametrize(("keys", "said"), SHAPES_REFUSED)
def test_an_impossible_course_is_refused(plan_with: Planner, folder: Path, keys: str, said: str) -> None:
    (folder / "friday.csv").write_text("0\n15\n30\n")
    (folder / "short.csv").write_text("0\n12\n")
    (folder / "broken.csv").write_text("0\nsoon\n")
    (folder / "folder").mkdir()
    with pytest.raises(ScenarioError) as caught:
        plan_with(("rate: +30%, ramp: 2s", keys))
    assert said in str(caught.value)


def test_a_phase_or_ramp_of_no_length_is_refused(plan_with: Planner) -> None:
    for length in ("{steady: 0.0000000001s}", "{steady: 5s, ramp: 0.0001us}"):
        with pytest.raises(ScenarioError, match="shorter than a nanosecond"):
            plan_with(("{steady: 10s}", length))


def test_the_closed_model_plans_numbers_of_users(plan_with: Planner) -> None:
    plan = plan_with(CLOSED, ("rate: +30%", "concurrency: +30%"))
    assert (plan.load.model, plan.load.users) == ("closed", 65)
    assert [phase.rate for phase in plan.phases] == [50.0, 50.0, 65.0, 50.0]
    assert plan.load.segments[2:4] == (Segment(15.0, 17.0, 50.0, 65.0), Segment(17.0, 35.0, 65.0, 65.0))
    assert plan.scenario["load"]["model"] == "closed"
    assert not {"arrivals", "pool", "rate"} & set(plan.scenario["load"])
    assert plan_with(CLOSED, ("rate: +30%", "concurrency: 8")).phases[2].rate == 8.0
    assert plan_with(CLOSED, ("rate: +30%", "concurrency: -99%")).phases[2].rate == 1.0


@pytest.mark.parametrize(
    ("at", "at_s"), [("spike", 15.0), ("spike+5s", 20.0), ("20s", 20.0), ("steady + 500ms", 5.5), ("5s", 5.0)]
)
def test_instants(plan_with: Planner, at: str, at_s: float) -> None:
    assert plan_with(("at: spike + 5s", f"at: {at}")).faults[0].at_s == at_s


def test_fault_parameters_are_in_base_units_with_defaults(plan_with: Planner) -> None:
    text = LATENCY.replace("latency: 150ms", "latency: 150ms, toxicity: 50%")
    plan = plan_with(("redis-down: {at: spike + 5s, for: 10s}", text))
    params = {"latency": 0.15, "jitter": 0.0, "toxicity": 0.5, "stream": "downstream"}
    assert plan.faults == (PlannedFault("latency", "latency", 20.0, 10.0, params, "postgres", "app->postgres"),)


def test_a_fault_twice_has_two_ids(plan_with: Planner) -> None:
    again = "for: 2s}\n  - redis-down: {at: spike + 12s, for: 2s}"
    assert [fault.id for fault in plan_with(("for: 10s}", again)).faults] == ["redis-down", "redis-down-2"]


def test_arms_are_interleaved_in_an_order_that_is_drawn(plan_with: Planner) -> None:
    first_kinds = set()
    for seed in range(12):
        arms = plan_with(repeat=4, seed=seed).arms
        assert [arm.pair for arm in arms] == [1, 1, 2, 2, 3, 3, 4, 4]
        begins = [arm.kind for arm in arms[::2]]
        assert sorted(begins[:2]) == sorted(begins[2:]) == ["baseline", "fault"]
        assert plan_with(repeat=4, seed=seed).arms == arms
        first_kinds.add(begins[0])
        assert [arm.kind for arm in plan_with(seed=seed).arms] == ["baseline", "fault"]
    assert first_kinds == {"baseline", "fault"}
    assert plan_with(repeat=2, only="fault").arms == (Arm("fault-1", "fault", 1), Arm("fault-2", "fault", 2))


def test_the_seed_is_the_given_one_or_a_drawn_one(plan_with: Planner) -> None:
    assert plan_with(seed=7).seed == plan_with(seed=7).load.seed == 7
    assert len({plan_with(seed=None).seed for _ in range(5)}) > 1


def test_retries_reach_the_load(plan_with: Planner) -> None:
    load = plan_with(("timeout: 1s", RETRIES)).load
    assert load.retries == {"checkout": Retry("exponential", 2, 1.0, 2.0, 0.1)}


def test_the_pool_of_users_follows_littles_law() -> None:
    never = Retries(policy="none")
    naive = Retries(policy="immediate", limit=3)
    budget = Retries.model_validate({"policy": "immediate", "limit": 3, "budget": "10%"})
    assert 100 < pool_size(100.0, 1.0, []) < 160
    assert pool_size(100.0, 1.0, [never]) == pool_size(100.0, 1.0, [])
    assert 400 < pool_size(100.0, 1.0, [never, naive]) < 540
    assert pool_size(100.0, 1.0, [budget]) < pool_size(100.0, 1.0, [naive]) / 3


def test_the_pool_of_users_suffices_for_a_storm_of_retries(plan_with: Planner) -> None:
    storm = Retries(policy="immediate", limit=4)
    plan = plan_with(("redis-down: {", "retry-storm: {retries: 4, "))
    assert plan.load.users == pool_size(130.0, plan.load.timeout_s, [storm])
    assert plan.load.retries == {}, "the storm is the fault arm's alone"


def test_a_given_pool_is_kept(plan_with: Planner) -> None:
    assert plan_with(("timeout: 1s", "pool: 42")).load.users == 42


def test_without_variants_the_variant_is_a_preset(plan_with: Planner) -> None:
    assert plan_with().settings["POOL_WAIT_SECONDS"] == "0.25"
    assert plan_with(variant="fragile").settings["POOL_WAIT_SECONDS"] == "30"
    assert plan_with(("variant: hardened\n", "")).variant == "default"


def test_a_variant_of_the_scenario_changes_what_it_says(plan_with: Planner) -> None:
    hardened = plan_with(("load:\n", VARIANTS))
    fragile = plan_with(("load:\n", VARIANTS), variant="fragile")
    assert (hardened.load.timeout_s, hardened.settings["POOL_SIZE"]) == (1.0, "5")
    assert (fragile.load.timeout_s, fragile.settings["POOL_SIZE"]) == (2.0, "3")
    assert fragile.load.retries["checkout"] == Retry("immediate", 3, 0.1, 2.0, None)
    assert fragile.phases == hardened.phases
    assert fragile.scenario_sha256 != hardened.scenario_sha256


def test_a_variant_may_ask_for_another_length_of_the_fault(plan_with: Planner) -> None:
    longer = VARIANTS.replace("ends-as: metastable", "faults: {redis-down: {for: 12s}}")
    assert plan_with(("load:\n", longer)).faults[0].for_s == 10.0
    fault = plan_with(("load:\n", longer), variant="fragile").faults[0]
    assert (fault.at_s, fault.for_s) == (20.0, 12.0)
    told = plan_with(("load:\n", longer), variant="fragile", overrides=["faults[0].redis-down.for=4s"])
    assert told.faults[0].for_s == 4.0


@pytest.mark.parametrize(
    ("change", "said", "field"),
    [
        ("redis-dwn: {for: 12s}", "no fault `redis-dwn` to change", "variants.fragile.faults.redis-dwn"),
        ("redis-down: {for: 1h}", "after the arm", "faults[0].redis-down.for"),
        ("redis-down: {fro: 12s}", "fro", "faults[0].redis-down.fro"),
        ("redis-down: 12s", "expected a mapping", "variants.fragile.faults.redis-down"),
    ],
)
def test_a_variants_change_of_a_fault_is_checked(plan_with: Planner, change: str, said: str, field: str) -> None:
    changed = VARIANTS.replace("ends-as: metastable", f"faults: {{{change}}}")
    with pytest.raises(ScenarioError) as caught:
        plan_with(("load:\n", changed), variant="fragile")
    assert said in str(caught.value)
    assert caught.value.field == field
    assert caught.value.line, "in the file, where the variant says it"


def test_which_of_two_faults_a_variant_means_must_be_clear(plan_with: Planner) -> None:
    changed = VARIANTS.replace("ends-as: metastable", "faults: {redis-down: {for: 2s}}")
    again = "faults:\n  - redis-down: {at: steady, for: 2s}\n"
    with pytest.raises(ScenarioError, match="which of the 2 faults"):
        plan_with(("load:\n", changed), ("faults:\n", again))


def test_a_variants_retries_replace_those_of_the_scenario(plan_with: Planner) -> None:
    fragile = plan_with(("load:\n", VARIANTS), ("timeout: 1s", RETRIES), variant="fragile")
    assert fragile.load.retries == {"checkout": Retry("immediate", 3, 0.1, 2.0, None)}


def test_the_command_line_wins_over_the_variant(plan_with: Planner) -> None:
    overrides = ["load.timeout=3s", "settings.pool_size=9", "faults[0].redis-down.for=4s", "expect=[no cascade]"]
    plan = plan_with(("load:\n", VARIANTS), variant="fragile", overrides=overrides)
    assert (plan.load.timeout_s, plan.settings["POOL_SIZE"], plan.faults[0].for_s) == (3.0, "9", 4.0)
    assert plan.expect == ("no cascade",)
    assert plan_with(("load:\n", VARIANTS), overrides=["variant=fragile"]).variant == "fragile"


def test_the_resolved_scenario_keeps_the_users_words(plan_with: Planner) -> None:
    scenario = plan_with(("load:\n", VARIANTS), variant="fragile").scenario
    assert json.loads(json.dumps(scenario)) == scenario
    assert scenario["load"]["timeout"] == "2s"
    assert scenario["load"]["arrivals"] == "poisson"
    assert scenario["faults"] == [{"redis-down": {"at": "spike + 5s", "for": "10s"}}]
    assert scenario["expect"] == ["error-rate of catalog increases by < 1pp", "no cascade"]
    assert list(scenario["variants"]) == ["fragile"]
    assert scenario["settings"]["pool_size"] == "3"


def test_the_resolved_scenario_resolves_to_itself(
    plan_with: Planner, folder: Path, catalogue: Mapping[str, FaultType]
) -> None:
    plan = plan_with(("load:\n", VARIANTS), variant="fragile")
    (folder / "again.yaml").write_text(json.dumps(plan.scenario))
    again = resolve(folder / "again.yaml", catalogue=catalogue, seed=7)
    assert again.scenario == plan.scenario
    assert again.scenario_sha256 == plan.scenario_sha256
    assert (again.load, again.phases, again.faults) == (plan.load, plan.phases, plan.faults)


@pytest.mark.parametrize(
    ("asked", "shed_s", "return_s"),
    [("on", 10.0, 26.0), ("{shed: 40s}", 40.0, 26.0), ("{shed: 90s, return: 1m}", 90.0, 60.0)],
)
def test_hysteresis_appends_no_load_and_then_the_load_before(
    plan_with: Planner, asked: str, shed_s: float, return_s: float
) -> None:
    plain, plan = plan_with(), plan_with(("load:\n", f"hysteresis: {asked}\nload:\n"))
    shed, back = plan.phases[-2:]
    assert (shed.name, shed.start_s, shed.end_s, shed.rate) == ("shed", 45.0, 45.0 + shed_s, 0.0)
    assert (back.name, back.start_s, back.end_s, back.rate) == ("return", shed.end_s, shed.end_s + return_s, 100.0)
    assert plan.load.segments[-2:] == (
        Segment(shed.start_s, shed.end_s, 0.0, 0.0),
        Segment(back.start_s, back.end_s, 100.0, 100.0),
    )
    assert (plan.phases[:-2], plan.load.segments[:-2]) == (plain.phases, plain.load.segments)
    assert plan.scenario["hysteresis"] == {
        "shed": format_duration(shed_s),
        "return": format_duration(return_s),
    }


def test_no_load_lasts_until_the_worst_queue_is_empty(plan_with: Planner) -> None:
    on = ("load:\n", "hysteresis: on\nload:\n")
    naive = ("timeout: 1s", "timeout: 1s\n  retries: {checkout: {policy: immediate, limit: 3}}")
    # From the fault at 20 s to the end at 45 s four attempts of 100/s come, of which 130/s are worked off.
    assert plan_with(on, naive).phases[-2].end_s == 45 + math.ceil(1 + 25 * (400 / 130 - 1))
    assert plan_with(on, ("timeout: 1s", RETRIES)).phases[-2].end_s == 55.0


def test_no_load_lasts_as_long_as_a_request_may_wait_inside(plan_with: Planner, folder: Path) -> None:
    manifest = folder / "targets" / "shop" / "target.yaml"
    manifest.write_text(manifest.read_text() + "waits: [pool_wait]\n")
    on = ("load:\n", "hysteresis: on\nload:\n")
    assert plan_with(on).phases[-2].end_s == 55.0
    assert plan_with(on, variant="fragile").phases[-2].end_s == 45 + 31
    manifest.write_text(manifest.read_text().replace("[pool_wait]", "[pool_size]"))
    with pytest.raises(ScenarioError, match="no setting of type duration `pool_size`"):
        plan_with(on)


def test_without_hysteresis_nothing_is_appended(plan_with: Planner) -> None:
    assert plan_with(("load:\n", "hysteresis: off\nload:\n")).phases == plan_with().phases
    assert plan_with(("{recovery: 10s}", "{shed: 10s}")).phases[-1].name == "shed"


def test_secrets_stay_out_of_the_record(plan_with: Planner) -> None:
    plan = plan_with(("load:\n", "settings: {api_token: hunter2}\nload:\n"))
    assert plan.settings["API_TOKEN"] == "hunter2"
    assert "hunter2" not in json.dumps(plan.scenario)
    assert plan.scenario["settings"]["api_token"] == "***"


REFUSED = [
    ("hypothesis: It holds.\n", "", 1, "hypothesis: is missing"),
    ("hypothesis: It holds.", "hypothesis:", 2, "hypothesis: is empty"),
    ("timeout: 1s", "timeuot: 1s", 8, "load.timeuot: unknown key\n  did you mean `timeout`"),
    ("timeout: 1s", "timeout: 1", 8, "without a unit"),
    ("timeout: 1s", "timeout: 0s", 8, "must be above 0"),
    ("timeout: 1s", "timeout: [1s]", 8, "got a list"),
    ("timeout: 1s", "pool: many", 8, "expected a whole number, got `many`"),
    ("timeout: 1s", "arrivals: poison", 8, "did you mean `poisson`"),
    ("rate: 100/s", "rate: 100", 7, "allowed: /h, /min, /s"),
    ("target: shop", "target: shopp", 3, "target: no target `shopp`\n  did you mean `shop`"),
    ("variant: hardened", "variant: hardend", 4, "did you mean `hardened`"),
    ("users: users.py", "users: nobody.py", 6, "no locustfile"),
    ("load:\n", "settings: {pool_siez: 3}\nload:\n", 5, "did you mean `pool_size`"),
    ("load:\n", "settings: {pool_size: three}\nload:\n", 5, "expected a whole number"),
    ("load:\n", "variants: {fragile: {preset: fragil}}\nload:\n", 5, "did you mean `fragile`"),
    ("load:\n", "variants: {fragile: {preset: fragile}}\nload:\n", 4, "unknown variant `hardened`"),
    ("load:\n", "variants: {hardened: {ends-as: fine}}\nload:\n", 5, "allowed: cascading, contained"),
    ("timeout: 1s", "retries: {chekout: {policy: none}}", 8, "did you mean `checkout`"),
    ("timeout: 1s", "retries: {checkout: {policy: immediate}}", 8, "needs a limit"),
    ("timeout: 1s", "retries: {checkout: {policy: immediate, limit: 2, cap: 2s}}", 8, "`exponential`"),
    ("timeout: 1s", "retries: {checkout: {policy: naive}}", 8, "allowed: exponential, immediate, none"),
    ("{warm-up: 5s}, ", "", 9, "start with `warm-up"),
    ("{steady: 10s}", "{warm-up: 10s}", 9, "two phases"),
    ("rate: +30%", "rate: 30%", 9, "expected a signed percentage such as `+30%`"),
    ("rate: +30%", "rate: -100%", 9, "above zero"),
    ("rate: +30%", "rat: +30%", 9, "did you mean `rate`"),
    ("{steady: 10s}", "{steady: soon}", 9, "load.phases[1].steady: expected a duration"),
    ("{steady: 10s}", "steady", 9, "expected a phase"),
    ("ramp: 2s", "ramp: 21s", 9, "longer than its phase"),
    ("redis-down:", "redis-dwon:", 11, "faults[0].redis-dwon: unknown fault\n  did you mean `redis-down`"),
    ("at: spike + 5s", "at: spik + 5s", 11, "faults[0].redis-down.at: no phase `spik`; did you mean `spike`"),
    ("at: spike + 5s", "at: spike + 20s", 11, "outside its phase, which lasts 20s"),
    ("at: spike + 5s", "at: spike - 5s", 11, "expected an instant"),
    ("at: spike + 5s", "at: warm-up", 11, "in the warm-up"),
    ("at: spike + 5s", "at: 45s", 11, "past the end"),
    ("at: spike + 5s, ", "", 11, "faults[0].redis-down.at: is missing"),
    ("for: 10s", "for: 26s", 11, "after the arm"),
    ("for: 10s", "for: 0s", 11, "must be above 0"),
    ("for: 10s", "for: 10s, on: app", 11, "is for redis, not for http\n  allowed: redis"),
    ("redis-down: {", "kill: {on: redis, ", 11, "two replicas or more, which `redis` is not\n  allowed: app, app-1"),
    ("redis-down: {", "kill: {on: app-3, ", 11, "no component `app-3`\n  did you mean `app-2`"),
    ("redis-down: {", "kill: {on: [app-1, app-1], ", 11, "`app-1` is there twice"),
    ("for: 10s", "for: 10s, on: [redis, redis]", 11, "hits one component at a time"),
    ("redis-down: {", "line: {on: app->redis, rate: 1KB/s, ", 11, "too little; 2KB/s at least"),
    ("for: 10s", "for: 10s, on: postgres", 11, "is for redis, not for postgres"),
    ("for: 10s", "for: 10s, on: reddis", 11, "did you mean `redis`"),
    ("for: 10s", "for: 10s, fro: 3s", 11, "unknown parameter\n  did you mean `for`"),
    ("for: 10s}", "for: 10s}\n  - redis-down: {at: spike + 14s, for: 1s}", 12, "overlaps `redis-down` on redis"),
    (
        "for: 10s}",
        "for: 10s}\n  - latency: {on: app->redis, latency: 1s, at: spike, for: 6s}",
        12,
        "overlaps `redis-down` on redis",
    ),
    ("redis-down: {at: spike + 5s, for: 10s}", "redis-down", 11, "expected a fault"),
    ("redis-down: {at: spike + 5s, for: 10s}", "redis-down: 10s", 11, "expected `redis-down: {at"),
    ("redis-down: {", "latency: {latency: 1s, ", 11, "`on` is missing: which edge\n  allowed: app->auth"),
    ("redis-down: {", "latency: {on: app->redis, ", 11, "`latency` is missing\n  how much"),
    ("redis-down: {", "latency: {on: app->redi, latency: 1s, ", 11, "no edge `app->redi`\n  did you mean"),
    ("redis-down: {", "latency: {on: app->redis, latency: 1, ", 11, "faults[0].latency.latency: expected a duration"),
    ("redis-down: {", "latency: {on: app->redis, latency: 1s, stream: up, ", 11, "allowed: downstream, upstream"),
    ("no cascade", "no cascad", 14, "expect[1]: expected `cascade`"),
    (
        "of catalog",
        "of catalogue",
        13,
        "expect[0]: the target declares no endpoint `catalogue`\n  did you mean `catalog`",
    ),
    ("- no cascade", "- no cascade\nabort-when: [error-rate > 50%]", 15, "abort-when[0]: expected `for`"),
    ("- no cascade", "- no cascade\nabort-when: [p99 of chekout > 1s for 5s]", 15, "did you mean `checkout`"),
    ("load:\n", "hysteresis: perhaps\nload:\n", 5, "expected `on`, `off` or `{shed: 60s, return: 30s}`"),
    ("load:\n", "hysteresis: {shde: 60s}\nload:\n", 5, "did you mean `shed`"),
    ("{recovery: 10s}]", "{return: 10s}]\nhysteresis: on", 9, "`hysteresis` appends a phase `return`"),
    ("- no cascade", "- no cascade\nabort_when: []", 15, "did you mean `abort-when`"),
]


@pytest.mark.parametrize(("old", "new", "line", "said"), REFUSED)
def test_what_is_wrong_is_said_with_its_line(plan_with: Planner, old: str, new: str, line: int, said: str) -> None:
    with pytest.raises(ScenarioError, match=rf"outage\.yaml:{line}:\d+") as caught:
        plan_with((old, new))
    assert caught.value.line == line
    assert said in str(caught.value)


CLOSED_REFUSED = [
    ((CLOSED,), "outage.yaml:10:55: load.phases[2].rate: belongs to the open model\n  give a `concurrency`"),
    ((CLOSED, ("timeout: 1s", "pool: 9")), "outage.yaml:9:3: load.pool: belongs to the open model"),
    ((CLOSED, ("timeout: 1s", "arrivals: uniform")), "outage.yaml:9:3: load.arrivals: belongs to the open model"),
    ((("rate: 100/s", "model: closed\n  rate: 9/s"),), "outage.yaml:8:3: load.rate: belongs to the open model"),
    ((("rate: 100/s", "model: closed"),), "load.concurrency: is missing\n  closed model: how many users"),
    ((("rate: 100/s", "timeout: 2s"), ("timeout: 1s", "pool: 9")), "load.rate: is missing\n  open model: the steady"),
    ((("timeout: 1s", "concurrency: 9"),), "outage.yaml:8:3: load.concurrency: belongs to the closed model"),
    ((("rate: +30%", "concurrency: 9"),), "load.phases[2].concurrency: belongs to the closed model\n  give a `rate`"),
    ((CLOSED, ("rate: +30%, ramp: 2s", "sine: 30%, period: 2s")), "phases[2].sine: belongs to the open model"),
    ((CLOSED, ("rate: +30%, ramp: 2s", "trace: friday.csv")), "phases[2].trace: belongs to the open model"),
    ((("rate: +30%", "concurrency: 9.5"),), "expected a number of users such as `+30%` or `65`, got `9.5`"),
    ((("rate: 100/s", "model: close"),), "did you mean `closed`"),
]


@pytest.mark.parametrize(("changes", "said"), CLOSED_REFUSED)
def test_the_words_of_one_model_are_refused_in_the_other(
    plan_with: Planner, changes: tuple[tuple[str, str], ...], said: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_with(*changes)
    assert said in str(caught.value)


def test_all_simple_errors_are_said_at_once_what_is_missing_last(plan_with: Planner) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_with(("timeout: 1s", "timeout: 1"), ("no cascade", "no cascad"), ("hypothesis", "hypothesys"))
    lines = [int(line) for line in re.findall(r"outage\.yaml:(\d+):", str(caught.value))]
    assert lines == [2, 8, 14, 1]
    assert caught.value.line == 2


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"overrides": ["load.raet=200/s"]}, "--set load.raet=200/s: load.raet: unknown key\n  did you mean `rate`"),
        ({"overrides": ["load.rate=fast"]}, "--set load.rate=fast: load.rate: expected a rate"),
        ({"overrides": ["load"]}, "expected `path=value`"),
        ({"overrides": ["load.rate.x=1"]}, "`load.rate` has nothing called `x` in it"),
        ({"overrides": ["faults[3].redis-down.for=1s"]}, "`faults` is a list"),
        ({"overrides": ["faults[x=1"]}, "can't read the path"),
        ({"overrides": ["expect=[no cascade"]}, "--set expect=[no cascade"),
        ({"overrides": ["settings.pool_siez=1"]}, "did you mean `pool_size`"),
        ({"variant": "hardend"}, "--variant hardend: variant: unknown variant `hardend`\n  did you mean `hardened`"),
        ({"repeat": 0}, "--repeat 0"),
        ({"seed": -1}, "--seed -1"),
        ({"only": "faults"}, "--only faults"),
    ],
)
def test_errors_on_the_command_line_name_the_option(plan_with: Planner, choices: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        plan_with(**choices)
    assert said in str(caught.value)


def test_a_2x2_design_has_both_arms_at_the_expected_load_too(plan_with: Planner) -> None:
    design = ("variant: hardened", "variant: hardened\ndesign: 2x2")
    plan = plan_with(design)
    assert [arm.name for arm in plan.arms] == ["baseline-1", "fault-1", "expected-baseline-1", "expected-fault-1"]
    peaks = [max(piece.peak for piece in plan.load_of(arm).segments) for arm in plan.arms]
    assert peaks == [130.0, 130.0, 100.0, 100.0]
    assert plan.load_of(plan.arms[2]).duration_s == plan.load.duration_s
    four = [arm.name for arm in plan_with(design, repeat=2, seed=1).arms]
    assert [name.replace("-1", "") for name in four[:4]] == [name.replace("-2", "") for name in four[:3:-1]]


def test_a_2x2_design_needs_a_fault_in_a_spike(plan_with: Planner) -> None:
    with pytest.raises(ScenarioError, match="no fault is in a phase above the steady rate"):
        plan_with(("variant: hardened", "variant: hardened\ndesign: 2x2"), ("at: spike + 5s", "at: steady"))


def test_faults_of_different_layers_share_an_edge(plan_with: Planner) -> None:
    plan = plan_with(
        ("redis-down: {at: spike + 5s, for: 10s}", "latency: {on: app->redis, latency: 1s, at: spike, for: 9s}"),
        ("for: 9s}", "for: 9s}\n  - line: {on: [app->redis, app->auth], rate: 9KB/s, at: spike, for: 9s}"),
    )
    narrow = plan.faults[1]
    assert (narrow.edge, narrow.component) == ("app->redis", "redis")
    assert narrow.where == ("app->redis", "app->auth")
    assert narrow.params == {"rate": 9000.0}


def test_a_replica_is_a_place_of_its_own(plan_with: Planner) -> None:
    one, other = "kill: {on: app-1, at: spike, for: 9s}", "kill: {on: app-2, at: spike, for: 9s}"
    plan = plan_with(("redis-down: {at: spike + 5s, for: 10s}", f"{one}\n  - {other}"))
    assert [(fault.component, fault.where) for fault in plan.faults] == [("app", ("app-1",)), ("app", ("app-2",))]
    with pytest.raises(ScenarioError, match="overlaps `kill` on app-1"):
        plan_with(("redis-down: {at: spike + 5s, for: 10s}", f"{one}\n  - kill: {{on: app, at: spike, for: 9s}}"))
