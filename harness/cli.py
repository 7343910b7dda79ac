"""The verbs of the `harness` command: one small function each, no logic of their own."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from harness import __version__
from harness.exits import Exit, most_severe
from harness.paths import RunFolder, find_scenario

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on standard output.")
OUT = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"), show_default=True,
    help="Folder of the run records.",
)  # fmt: skip
RECORD = click.argument("folder", type=click.Path(path_type=Path))
SCENARIO_OPTIONS = (
    click.option("--variant", help="Variant of the scenario or preset of the target (default: the scenario's)."),
    click.option("--seed", type=int, help="Seed of everything random (default: a new one, which is printed)."),
    click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Pairs of arms."),
    click.option("--only", type=click.Choice(["baseline", "fault"]), help="Run only the arms of this kind."),
    click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Load worker processes."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, e.g. load.rate=200/s."),
)
EXISTING_OPTIONS = (
    click.option("--target", metavar="URL", help="Use the app that runs there instead of starting the target's."),
    click.option("--postgres", metavar="URL", help="Use this PostgreSQL: postgresql://user:password@host/database."),
    click.option("--redis", metavar="URL", help="Use this Redis: redis://host:port/0."),
    click.option("--toxiproxy", metavar="HOST:PORT", help="Use this Toxiproxy server."),
    click.option(
        "--data", type=click.Choice(["reset", "keep"]),
        help="With those: run the target's reset command on data that is not the harness's, or leave it.",
    ),
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Load plus faults against a real stack: does the damage stay where it started, and does it go away?

    \b
    Exit codes: 0 pass, 1 a hypothesis failed, 2 usage or scenario error, 3 cascading or metastable failure,
    4 inconclusive, 5 run invalid (the generator, not the system, was the limit), 6 stopped by an abort condition,
    70 a fault could not be reverted, 130 interrupted (everything reverted).
    """


def _scenario_options(function: Any) -> Any:
    for option in reversed(SCENARIO_OPTIONS):
        function = option(function)
    return function


def _existing_options(function: Any) -> Any:
    """The options of what runs already; the function gets them as one value, `existing`."""

    @functools.wraps(function)
    def gathered(**given: Any) -> Any:
        from harness.scenario.existing import Existing

        named = {option: given.pop(option) for option in ("target", "postgres", "redis", "toxiproxy", "data")}
        return function(existing=Existing.of(**named), **given)

    for option in reversed(EXISTING_OPTIONS):
        gathered = option(gathered)
    return gathered


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_scenario_options
@_existing_options
@OUT
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option(
    "--remote-workers",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Wait for N load hosts (`harness worker`) and send all load from there.",
)
@click.option("--bind", metavar="HOST[:PORT]", help="With --remote-workers: where load hosts find this one.")
@AS_JSON
def run(
    files: Sequence[str],
    out: Path,
    quiet: bool,
    remote_workers: int | None,
    bind: str | None,
    as_json: bool,
    **choices: Any,
) -> int:
    """Run experiments: baseline and fault arms, a record, a verdict, a report."""
    from harness import experiment

    load_hosts = experiment.load_hosts(remote_workers, bind)
    if remote_workers is not None:
        if click.get_current_context().get_parameter_source("workers") is not ParameterSource.DEFAULT:
            raise click.UsageError("--workers are on this host, --remote-workers on others: choose one of them")
        choices["workers"] = remote_workers
    plans = [experiment.plan(find_scenario(file), **choices) for file in files]
    experiment.refuse_bad_times(plans)
    codes = []
    for planned in plans:
        done = experiment.run(planned, results=out, quiet=quiet, load_hosts=load_hosts)
        codes.append(done.exit_code)
        click.echo(json.dumps(done.to_json()) if as_json else done.text(), nl=as_json)
        if done.exit_code in (Exit.INTERRUPTED, Exit.NOT_REVERTED):
            break
    return most_severe(*codes)


@cli.command()
@click.argument("file")
@_scenario_options
@click.option(
    "--scale",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="So many times the load, on so many times the stack.",
)
@click.option(
    "--fit",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Fit the model to the baseline arms of a measured run first.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Say how far the prediction is from a measured run.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results/simulated"),
    show_default=True,
    help="Folder of the simulated records; apart from the measured ones.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@AS_JSON
def simulate(
    file: str, scale: int, fit: Path | None, against: Path | None, out: Path, quiet: bool, as_json: bool, **choices: Any
) -> int:
    """Carry out a scenario on the model of its target, in seconds; same record, verdict and report as a run."""
    from harness import experiment, simulation

    planned = experiment.plan(find_scenario(file), **choices)
    done = simulation.simulate(planned, results=out, scale=scale, fit=fit, against=against, quiet=quiet)
    click.echo(json.dumps(done.to_json()) if as_json else done.text(), nl=as_json)
    return done.judged.exit_code


@cli.command()
@click.argument("file")
@_scenario_options
@_existing_options
@OUT
@AS_JSON
def plan(file: str, out: Path, as_json: bool, **choices: Any) -> None:
    """Check a scenario; show what would happen and when, and what it could tell. Touch nothing.

    How small an effect would be found is told from earlier runs of the scenario in the results folder, if there are.
    """
    from harness import experiment
    from harness.report.foresight import foresight_data, foresight_text
    from harness.scenario.describe import describe, timeline_text

    planned = experiment.plan(find_scenario(file), **choices)
    foresight = experiment.foretell(planned, out)
    if as_json:
        data = {**describe(planned.plan, planned.target), "power": foresight_data(foresight)}
        click.echo(json.dumps(data, indent=2))
    else:
        click.echo(f"{timeline_text(planned.plan, planned.target)}\n\n{foresight_text(foresight)}")


@cli.command()
@RECORD
@click.option("--no-integrity", is_flag=True, help="Go on although a digest is missing or wrong.")
@AS_JSON
def analyse(folder: Path, no_integrity: bool, as_json: bool) -> int:
    """Rebuild the verdict of a record, from the record alone."""
    return _judge(folder, no_integrity, as_json, reports=False)


@cli.command()
@RECORD
@click.option("--no-integrity", is_flag=True, help="Go on although a digest is missing or wrong.")
@AS_JSON
def report(folder: Path, no_integrity: bool, as_json: bool) -> int:
    """Rebuild verdict.json, report.html, junit.xml and summary.md of a record."""
    return _judge(folder, no_integrity, as_json, reports=True)


def _judge(folder: Path, no_integrity: bool, as_json: bool, *, reports: bool) -> int:
    from harness import experiment

    judged = experiment.judge(RunFolder(folder), integrity=not no_integrity, reports=reports)
    click.echo(json.dumps(judged.to_json()) if as_json else judged.text(), nl=as_json)
    return judged.exit_code if not reports else Exit.PASS


@cli.command()
@click.argument("file", metavar="[SCENARIO]", required=False)
@click.option(
    "--real", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Instead of a study: real pairs of arms of the scenario without any fault; DIR keeps their records.",
)  # fmt: skip
@click.option("--pairs", type=click.IntRange(1, 10_000), default=59, show_default=True, help="Valid real pairs wanted.")
@click.option("--variant", help="Variant of the scenario or preset of the target (default: the scenario's).")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, e.g. load.rate=200/s.")
@click.option(
    "--study", type=click.Choice(["numbers", "classes"]), default="numbers", show_default=True,
    help="numbers: decisions on made-up pairs; classes: simulated systems whose fate is known.",
)  # fmt: skip
@click.option("--seeds", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Records per system.")
@click.option("--times", type=click.IntRange(1, 100_000), help="Trials of each setting (default: 1000; 100 --quick).")
@click.option("--quick", is_flag=True, help="A few settings, with few trials: half a minute.")
@click.option(
    "--kept", type=click.Path(dir_okay=False, path_type=Path), default=Path("results/calibration.jsonl"),
    show_default=True, help="Finished settings; a study of numbers that was stopped goes on from there.",
)  # fmt: skip
@click.option(
    "--docs", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the page on numbers there."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@AS_JSON
def calibrate(file: str | None, folder: Path | None, quiet: bool, as_json: bool, **options: Any) -> int:
    """Measure how often the verdict is wrong: on made-up pairs of known truth, or on real ones without a fault."""
    from harness import calibration

    if (file is None) != (folder is None):
        raise click.UsageError("a SCENARIO and --real DIR belong together; without them a --study runs")
    if file is not None and folder is not None:
        return calibration.real(find_scenario(file), folder, quiet=quiet, as_json=as_json, **options)
    run = calibration.classes if options["study"] == "classes" else calibration.numbers
    return run(quiet=quiet, as_json=as_json, **options)


@cli.command()
@OUT
@AS_JSON
def rollback(out: Path, as_json: bool) -> None:
    """Take back what interrupted runs left: faults, processes, folders."""
    from harness.faults.restore import rollback_all

    done = rollback_all(out)
    if as_json:
        click.echo(json.dumps(done))
        return
    for run_id, actions in done.items():
        click.echo(f"{run_id}: " + ("; ".join(actions) or "nothing was left"))
    if not done:
        click.echo(f"nothing to take back in {out}")


@cli.command()
@click.option("--master", required=True, metavar="HOST:PORT", help="The --bind address of the run.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=1),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long to look for the run.",
)
@click.option(
    "--spool",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Empty folder for rows until the conductor has them (default: a temporary one).",
)
def worker(master: str, wait_s: float, spool: Path | None) -> None:
    """Send load from this host: take part in a run that was started with --remote-workers."""
    from harness.load.remote.fleet import Bind, become_worker

    become_worker(Bind.parse(master), wait_s, spool)


@cli.command()
@RECORD
@AS_JSON
def salvage(folder: Path, as_json: bool) -> None:
    """Make a record of what a killed run left: the rows of its load workers up to then."""
    from harness import experiment

    rows, judged = experiment.salvage(RunFolder(folder))
    if as_json:
        click.echo(json.dumps({"rows": rows, **judged.to_json()}))
        return
    click.echo("salvaged " + ", ".join(f"{count} rows of {arm}" for arm, count in rows.items()))
    click.echo(judged.text(), nl=False)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the API listens.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8474, show_default=True, help="Its port; 0 picks a free one."
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="JSON list of proxies to start with.",
)
@AS_JSON
def toxiproxy(host: str, port: int, config: Path | None, as_json: bool) -> None:
    """Serve Toxiproxy's HTTP API, and its proxies, until Ctrl-C; for any client and test, without a scenario."""
    from harness.proxy.process import for_people, for_programs, serve
    from harness.proxy.server import ServerConfig

    serve(ServerConfig(host, port, config), for_programs if as_json else for_people)


@cli.command()
@click.option("--markdown", is_flag=True, help="As the page docs/faults.md.")
@AS_JSON
def faults(markdown: bool, as_json: bool) -> None:
    """List the fault catalogue with parameters."""
    from harness.faults import listing
    from harness.faults.catalogue import catalogue

    if as_json:
        click.echo(json.dumps(listing.as_data(catalogue()), indent=2))
    else:
        click.echo((listing.as_markdown if markdown else listing.as_text)(catalogue()))


@cli.command()
@OUT
@AS_JSON
def doctor(out: Path, as_json: bool) -> int:
    """Say what this machine can do and what is missing, with the remedy."""
    from harness import doctor as surgery

    checks = surgery.examine(out)
    click.echo(json.dumps([check.to_json() for check in checks], indent=2) if as_json else surgery.as_text(checks))
    return Exit.PASS if all(check.ok for check in checks if check.needed) else Exit.USAGE


@cli.command()
@click.option("--record", "of_record", is_flag=True, help="The run record's schema instead of the scenario's.")
@AS_JSON
def schema(of_record: bool, as_json: bool) -> None:  # noqa: ARG001  (the schema is JSON either way)
    """Print the JSON Schema of scenarios, for an editor; or what a run record holds."""
    from harness.faults.catalogue import catalogue
    from harness.record.schema import json_schema
    from harness.scenario.schema import scenario_schema

    click.echo(json.dumps(json_schema() if of_record else scenario_schema(catalogue()), indent=2))


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
@click.option("--target", "url", metavar="URL", help="For an app that runs there already.")
@AS_JSON
def init(folder: Path, url: str | None, as_json: bool) -> None:
    """Write a commented scenario, target manifest and locustfile for your own app."""
    from harness.scenario.starter import SCENARIO, write_starter

    written = [str(path) for path in write_starter(folder, url)]
    if as_json:
        click.echo(json.dumps(written))
        return
    click.echo("\n".join(f"wrote {path}" for path in written))
    click.echo(f"next: edit them, then harness plan {folder / SCENARIO}")
