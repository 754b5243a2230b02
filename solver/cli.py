"""`tinyarc`: arguments and printing, nothing else; each command calls one function."""

from __future__ import annotations

import argparse
import functools
import os
import re
import signal
import sys
import threading
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit code. What the user got wrong is one line on stderr and code 2."""
    arguments = _parser().parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        code = arguments.run(arguments) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        print(f"tinyarc: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        print(f"tinyarc: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tinyarc: interrupted", file=sys.stderr)
        return 130


def _terminate(*_) -> None:
    """SIGTERM ends a command as control-C does: workers are stopped, the submission stays as it is."""
    raise KeyboardInterrupt


def seconds(text: str) -> float:
    """`90`, `90s`, `6m`, `11h40m` -> seconds."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if not text.strip() or match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 6m or 11h40m")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + rest


def fault(text: str) -> tuple[str, float]:
    """`worker@3h`, `worker2@90m`, `parent@5h` -> who dies, and after how many seconds."""
    match = re.fullmatch(r"(worker\d*|parent)@(.+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no fault; write worker@3h, worker2@90m or parent@5h")
    return match[1], seconds(match[2])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tinyarc", description="The offline ARC Prize solver.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    solve = commands.add_parser("solve", help="challenges.json in, submission.json out")
    solve.add_argument("challenges", type=Path, metavar="CHALLENGES.json")
    solve.add_argument("--out", type=Path, help="where the submission goes (always in the run folder too)")
    solve.add_argument("--tasks", help="only these ids, comma-separated; others keep a fallback answer")
    solve.add_argument("--limit", type=int, help="only the first so many tasks")
    solve.add_argument("--keep-going", action="store_true", help="report bad tasks and solve the others")
    _add_solving(solve)
    solve.set_defaults(run=_solve)

    dry = commands.add_parser("dry-run", help="what solve would do in a budget, on this machine or another")
    dry.add_argument("challenges", type=Path, metavar="CHALLENGES.json")
    dry.add_argument("--profile", default="here", help="l4x4, t4x2, p100, h100, cpu or here (default)")
    dry.add_argument("--weights", default="nano", help="a bundle's name, a .safetensors file or random:SIZE")
    limits = dry.add_mutually_exclusive_group()
    limits.add_argument("--budget", type=seconds, help="time for everything, e.g. 6m or 11h40m")
    limits.add_argument("--steps", type=int, help="fine-tuning steps a task, without a budget")
    dry.add_argument("--views", type=int, help="views of each test input")
    dry.add_argument("--leave-one-out", action="store_true", help="a copy per support, trained without it")
    dry.add_argument("--device", default="auto", help="the one to measure: auto, cpu, cuda, cuda:1 ...")
    dry.add_argument("--workers", type=int, help="processes (default: one per core or GPU)")
    dry.add_argument("--limit", type=int, help="only the first so many tasks")
    guess = dry.add_mutually_exclusive_group()
    guess.add_argument("--easy", type=float, default=0.15, help="share of tasks taken to settle early (default 0.15)")
    guess.add_argument("--like", dest="run_as", type=Path, metavar="RUN_DIR", help="tasks do as those of this run did")
    dry.add_argument("--fault", dest="faults", type=fault, action="append", default=[], metavar="WHO@TIME",
                     help="worker@3h, worker2@90m or parent@5h: it dies then; may be given again")  # fmt: skip
    dry.add_argument("--svg", type=Path, default=Path("dry-run.svg"), help="the picture (default dry-run.svg)")
    dry.set_defaults(run=_dry_run)

    demo = commands.add_parser("demo", help="solve and score 16 small ARC-AGI-1 evaluation tasks")
    demo.add_argument("--limit", type=int, default=16, help="how many of them")
    _add_solving(demo, budget=330.0)
    demo.set_defaults(run=_demo)

    trial = commands.add_parser("eval", help="export, solve, score and report on a named data set")
    trial.add_argument("name", metavar="SET", help="arc1-train, arc1-eval, arc2-train or arc2-eval")
    trial.add_argument("--limit", type=int, help="only the first so many tasks, smallest sha256(id) first")
    trial.add_argument("--seeds", type=int, default=1, help="so many runs, one seed after the other")
    trial.add_argument("--allow-overlap", action="store_true", help="score tasks the weights were trained on")
    _add_solving(trial)
    trial.set_defaults(run=_eval)

    compare = commands.add_parser("compare", help="two runs, task by task")
    compare.add_argument("first", type=Path, metavar="RUN_A")
    compare.add_argument("second", type=Path, metavar="RUN_B")
    compare.set_defaults(run=_compare)

    vote = commands.add_parser("vote", help="replay the vote from a run's candidate pool, without a model")
    vote.add_argument("directory", type=Path, metavar="RUN_DIR")
    vote.add_argument("--rule", default="all", help="all, count, confidence or product")
    vote.set_defaults(run=_vote)

    report = commands.add_parser("report", help="a run as one HTML page")
    report.add_argument("directory", type=Path, nargs="?", metavar="RUN_DIR", help="default: the newest in runs/")
    report.add_argument("-o", "--out", type=Path, help="default RUN_DIR/report.html")
    report.add_argument("--open", action="store_true", help="show it in the browser")
    report.set_defaults(run=_report)

    show = commands.add_parser("show", help="a task in the terminal, or as a picture")
    show.add_argument("task", metavar="TASK_OR_FILE", help="a task id of ARC, or a challenges file")
    show.add_argument("--run", dest="directory", type=Path, metavar="RUN_DIR", help="with this run's attempts")
    show.add_argument("--symbols", action="store_true", help="digits in the cells")
    show.add_argument("--svg", type=Path, help="write a picture here instead")
    show.set_defaults(run=_show)

    probe = commands.add_parser("probe", help="what a small recursive network does, as an experiment")
    probe.add_argument("name", metavar="NAME", help="loops, views, steps, identity or ablate")
    probe.add_argument("--weights", default="nano", help="a bundle's name, a .safetensors file or random:SIZE")
    probe.add_argument("--set", dest="sample", default="held-out", help="held-out (default) or arc1-eval")
    probe.add_argument("--limit", type=int, default=16, help="how many tasks, small ones first")
    effort = probe.add_mutually_exclusive_group()
    effort.add_argument("--seconds", type=seconds, help="time of one fine-tuning (default: the probe's own)")
    effort.add_argument("--steps", type=int, help="steps of one fine-tuning; the same seed then repeats exactly")
    probe.add_argument("--views", type=int, help="views of each test input")
    probe.add_argument("--loops", type=int, help="loop steps (default: as the weights were trained)")
    probe.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    probe.add_argument("--workers", type=int, help="processes (default: one per core or GPU)")
    probe.add_argument("--seed", type=int, default=0)
    probe.add_argument("--out", type=Path, metavar="DIR", help="default runs/<date-time>-probe-NAME")
    probe.set_defaults(run=_probe)

    pack = commands.add_parser("pack", help="make the Kaggle upload: dataset, notebook, commands")
    pack.add_argument("--user", required=True, metavar="NAME", help="your Kaggle user name")
    pack.add_argument("--competition", default="arc-prize-2026-arc-agi-2", metavar="SLUG")
    pack.add_argument("--machine", default="NvidiaL4", metavar="SHAPE", help="machine_shape (default: four L4)")
    pack.add_argument("--out", type=Path, default=Path("dist/kaggle"))
    pack.set_defaults(run=_pack)

    score = commands.add_parser("score", help="score a submission as Kaggle does")
    score.add_argument("submission", type=Path)
    score.add_argument("solutions", type=Path)
    score.set_defaults(run=_score)

    export = commands.add_parser("export", help="write a named data set in Kaggle's format")
    export.add_argument("name", metavar="NAME", help="arc1-train, arc1-eval, arc2-train or arc2-eval")
    export.add_argument("directory", type=Path)
    export.set_defaults(run=_export)

    weights = commands.add_parser("weights", help="list bundled weights, or check what they were trained on")
    weights.set_defaults(run=_weights)
    actions = weights.add_subparsers(metavar="verify")
    verify = actions.add_parser("verify", help="prove that weights never saw a pair of a data set")
    verify.add_argument("weights", metavar="NAME")
    verify.add_argument("--against", required=True, metavar="SET", help="for example arc1-eval")
    verify.set_defaults(run=_verify)

    train = commands.add_parser("train", help="pretrain weights and leave a bundle")
    train.add_argument("--preset", default="nano")
    budget = train.add_mutually_exclusive_group(required=True)
    budget.add_argument("--budget", type=seconds, help="training time in all, e.g. 60m")
    budget.add_argument("--steps", type=int)
    train.add_argument("--piece", type=seconds, help="stop after this much of the budget; --resume goes on")
    train.add_argument("--out", type=Path, default=None, help="folder (default checkpoints/PRESET)")
    train.add_argument("--resume", type=Path, default=None, metavar="DIR", help="continue in this folder")
    train.add_argument("--continue", dest="go_on", action="store_true", help="resume if there is a checkpoint")
    train.add_argument("--init", metavar="BUNDLE", help="a new training begins with these weights")
    train.add_argument("--warm", action="store_true", help="with --resume: extend from the decayed weights")
    train.add_argument("--rearc", type=Path, default=Path("../shared/data/rearc.npz"))
    train.add_argument("--conceptarc", type=Path, default=Path("../shared/data/conceptarc.json"))
    train.add_argument("--device", default="auto")
    train.add_argument("--seed", type=int, default=0)
    train.set_defaults(run=_train)
    return parser


def _add_solving(parser: argparse.ArgumentParser, budget: float | None = None) -> None:
    parser.add_argument("--weights", default="nano", help="a bundle's name, a .safetensors file or random:SIZE")
    limits = parser.add_mutually_exclusive_group()
    limits.add_argument("--budget", type=seconds, default=budget, help="time for everything, e.g. 6m or 11h40m")
    limits.add_argument("--steps", type=int, help="fine-tuning steps a task; the same seed then repeats exactly")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    parser.add_argument("--workers", type=int, help="processes (default: one per core or GPU)")
    parser.add_argument("--views", type=int, help="views of each test input")
    parser.add_argument("--leave-one-out", action="store_true", help="a copy per support, trained without it")
    parser.add_argument("--rule", help="count, confidence or product")
    parser.add_argument("--seed", type=int, default=0)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--run-dir", type=Path, help="run folder (default runs/<date-time>)")
    where.add_argument("--resume", type=Path, metavar="RUN_DIR", help="go on with an interrupted run")


def _config(arguments):
    """The preset for the device with the user's wishes in it."""
    from dataclasses import replace

    from solver import presets
    from solver.device import pick_device
    from voting import RULES

    kind = pick_device(arguments.device).type
    if arguments.rule is not None and arguments.rule not in RULES:
        raise ValueError(f"no voting rule is called {arguments.rule!r}; choose from {', '.join(RULES)}")
    for name in ("steps", "views", "workers", "limit"):
        if (value := getattr(arguments, name, None)) is not None and value < 1:
            raise ValueError(f"--{name} {value}: must be at least 1")
    wishes = {name: getattr(arguments, name) for name in ("steps", "views", "leave_one_out")}
    config = presets.chosen(kind, arguments.weights, **wishes)
    return replace(config, rule=arguments.rule or config.rule)


def _run_directory(arguments) -> Path:
    from solver.run.folder import new_directory

    if arguments.resume is not None:
        return arguments.resume
    if arguments.run_dir is None:
        return new_directory(Path("runs"))
    if (arguments.run_dir / "config.json").exists():
        raise ValueError(f"{arguments.run_dir}: already holds a run")
    arguments.run_dir.mkdir(parents=True, exist_ok=True)
    return arguments.run_dir


def _begin(arguments, config, tasks):
    """The run folder, and the team of this process; (None, team) where it only lent its device to the team's leader,
    and is done. After a restart by torchrun, the folder is the one from before."""
    from solver.run.pipeline import lend
    from solver.run.team import Team

    team = Team.join()
    if team is not None and not team.leads:
        lend(team, config, tasks, seed=arguments.seed, device=arguments.device)
        return None, team
    if team is None or not team.began:
        directory = _run_directory(arguments)
    if team is not None:
        directory = team.remember(None if team.began else directory)
    return directory, team


def _run(arguments, config, challenges, source: Path, directory: Path, tasks, *, team, out=None, **known):
    """Solves with a progress bar; `known`: `hits` for it, and `dataset` and `seen` for the record. Returns the
    submission's path."""
    from solver.results.printing import ProgressBar
    from solver.run.pipeline import solve

    budget = None if arguments.steps is not None else arguments.budget
    again = team is not None and (directory / "config.json").exists()
    with ProgressBar(len(tasks), budget, known.pop("hits", None)) as bar:
        return solve(
            challenges,
            source,
            directory,
            config,
            tasks=tasks,
            out=out,
            budget=budget,
            seed=arguments.seed,
            device=arguments.device,
            workers=arguments.workers,
            **known,
            resume=again or arguments.resume is not None,
            listen=bar.update,
            team=team,
            spent=team.spent if team else 0.0,
        )


def _solve(arguments) -> int:
    from solver.arc.tasks import load_challenges
    from solver.results.printing import run_table

    challenges = load_challenges(arguments.challenges, keep_going=arguments.keep_going)
    for error in challenges.errors.values():
        print(f"tinyarc: {error}", file=sys.stderr)
    tasks = challenges.tasks
    if arguments.tasks:
        wanted = arguments.tasks.split(",")
        if missing := set(wanted) - set(challenges.test_inputs):
            raise ValueError(f"{arguments.challenges}: has no task {', '.join(sorted(missing))}")
        tasks = [task for task in tasks if task.id in wanted]
    tasks = tasks[: arguments.limit]
    if arguments.out is not None and arguments.out.resolve() == arguments.challenges.resolve():
        raise ValueError(f"{arguments.out}: is the challenges file, which --out would overwrite")
    config = _config(arguments)
    directory, team = _begin(arguments, config, tasks)
    if directory is None:
        return 0
    path = _run(arguments, config, challenges, arguments.challenges, directory, tasks, team=team, out=arguments.out)
    print(run_table(directory))
    _try_report(directory)
    print(f"{path}: {len(challenges.test_inputs)} tasks, run folder {directory}")
    return 0


def _dry_run(arguments) -> int:
    from solver.run.dryrun.command import dry_run

    names = ("profile", "budget", "weights", "steps", "views", "leave_one_out", "device", "workers", "limit")
    names += ("easy", "run_as", "faults", "svg")
    print(dry_run(arguments.challenges, **{name: getattr(arguments, name) for name in names}))
    return 0


def _demo(arguments) -> int:
    from solver.arc import datasets

    data = datasets.load("arc1-eval")
    _trial(arguments, data, datasets.demo_tasks(data, arguments.limit))
    return 0


def _eval(arguments) -> int:
    from solver.arc import datasets
    from solver.results.printing import spread

    data = datasets.load(arguments.name)
    tasks = datasets.demo_tasks(data, arguments.limit, largest_side=30)
    if arguments.seeds > 1 and "TORCHELASTIC_RUN_ID" in os.environ:
        raise ValueError("--seeds is for one process; under torchrun, run one --seed after the other")
    if arguments.seeds > 1 and arguments.resume is not None:
        raise ValueError("--resume goes on with one run; leave --seeds away")
    scores = []
    for seed in range(arguments.seed, arguments.seed + max(1, arguments.seeds)):
        own = argparse.Namespace(**vars(arguments) | {"seed": seed})
        if arguments.seeds > 1 and arguments.run_dir is not None:
            own.run_dir = arguments.run_dir / f"seed-{seed}"
        scores.append(_trial(own, data, tasks))
    if len(scores) > 1 and None not in scores:
        print(f"{len(scores)} seeds: " + spread(scores))
    return 0


def _trial(arguments, data, tasks) -> float | None:
    """Solves, scores and reports; returns Kaggle's score, 0 to 1, or None where another process of a team does."""
    from solver.arc.tasks import load_challenges
    from solver.results.evaluate import evaluate, format_evaluation
    from solver.results.printing import run_table
    from solver.results.trial import solved_so_far, trained_on, write_challenges, write_solutions
    from solver.run.read import read_run

    config = _config(arguments)
    if seen := trained_on(arguments.weights, data, tasks):
        warning = f"{arguments.weights} was trained on pairs of {len(seen)} of these {len(tasks)} tasks"
        if not getattr(arguments, "allow_overlap", False):
            raise ValueError(f"{warning}, {seen[0]} for one; --allow-overlap scores them all the same")
        print(f"NOT A FAIR SCORE: {warning}")
    directory, team = _begin(arguments, config, tasks)
    if directory is None:
        return None
    source = write_challenges(directory, tasks)
    challenges = load_challenges(source)
    print(f"{len(tasks)} tasks of {data.name} (content sha256 {data.content_hash[:16]}), run folder {directory}")
    hits = functools.partial(solved_so_far, directory, {task.id: data.solutions[task.id] for task in tasks})
    _run(
        arguments,
        config,
        challenges,
        source,
        directory,
        challenges.tasks,
        team=team,
        hits=hits,
        dataset=data.name,
        seen=seen,
    )
    write_solutions(directory, data, tasks)
    print(run_table(directory))
    evaluation = evaluate(read_run(directory))
    print(format_evaluation(evaluation))
    _try_report(directory)
    return evaluation.score.value


def _try_report(directory: Path) -> None:
    """The report beside a run; solving does not need it, so what keeps it from being written is only said."""
    from solver.results.report import write_report
    from solver.run.read import read_run

    try:
        print(f"report: {write_report(read_run(directory), directory / 'report.html')}")
    except (ValueError, OSError) as error:
        print(f"no report: {error}")


def _compare(arguments) -> int:
    from solver.results.evaluate import compare, format_comparison
    from solver.run.read import read_run

    print(format_comparison(compare(read_run(arguments.first), read_run(arguments.second))))
    return 0


def _vote(arguments) -> int:
    from solver.results.replay import format_replay, replay
    from solver.run.read import read_run
    from voting import RULES

    if arguments.rule != "all" and arguments.rule not in RULES:
        raise ValueError(f"no voting rule is called {arguments.rule!r}; choose from all, {', '.join(RULES)}")
    run = read_run(arguments.directory)
    print(format_replay(run, replay(run, tuple(RULES) if arguments.rule == "all" else (arguments.rule,))))
    return 0


def _report(arguments) -> int:
    from solver.results.report import write_report
    from solver.run.folder import newest
    from solver.run.read import read_run

    directory = arguments.directory or newest(Path("runs"))
    path = write_report(read_run(directory), arguments.out or directory / "report.html")
    print(path)
    if arguments.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return 0


def _show(arguments) -> int:
    import shutil

    from solver.results import show
    from solver.run.read import read_run

    if arguments.directory is None:
        exhibits = show.find(arguments.task)
    else:
        exhibits = [show.from_run(read_run(arguments.directory), arguments.task)]
    if arguments.svg is not None:
        if len(exhibits) != 1:
            raise ValueError(f"{arguments.task}: holds {len(exhibits)} tasks; --svg draws one, name it by its id")
        arguments.svg.write_text(show.svg(exhibits[0]), encoding="utf-8")
        return 0
    width = shutil.get_terminal_size().columns
    for exhibit in exhibits:
        print(show.text(exhibit, width=width, colours=_terminal_colours(), symbols=arguments.symbols))
    return 0


def _terminal_colours() -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return "none"
    return "full" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256"


def _probe(arguments) -> int:
    from solver.probes.command import run_probe

    names = ("weights", "sample", "limit", "seconds", "steps", "views", "loops", "device", "workers", "seed", "out")
    print(run_probe(arguments.name, **{name: getattr(arguments, name) for name in names}))
    return 0


def _pack(arguments) -> int:
    from solver.pack import pack

    print(pack(arguments.user, arguments.competition, arguments.out, arguments.machine).commands, end="")
    return 0


def _score(arguments) -> int:
    from solver.results.printing import score_lines

    print(score_lines(arguments.submission, arguments.solutions))
    return 0


def _export(arguments) -> int:
    from solver.arc.datasets import export

    data = export(arguments.name, arguments.directory)
    print(f"{data.name}: {len(data.tasks)} tasks into {arguments.directory}, content sha256 {data.content_hash}")
    return 0


def _weights(arguments) -> int:
    from solver.results.printing import weights_table

    print(weights_table())
    return 0


def _verify(arguments) -> int:
    from solver.arc import datasets
    from solver.weights import checkpoint

    bundle, data = checkpoint.find(arguments.weights), datasets.load(arguments.against)
    found = checkpoint.overlaps(bundle, data)
    for task_id, count in found.items():
        print(f"{task_id}: {count} pairs trained on")
    verdict = f"overlap with {len(found)} of {len(data.tasks)} tasks" if found else "no pair in common"
    print(f"{bundle.name} ({bundle.card['pairs_trained_on']} pairs) against {data.name}: {verdict}")
    return 1 if found else 0


def _train(arguments) -> int:
    from solver.training.command import log_table, train_bundle
    from solver.training.presets import TRAIN_PRESETS
    from solver.training.pretrain import Limit

    if arguments.preset not in TRAIN_PRESETS:
        raise ValueError(f"no preset is called {arguments.preset!r}; choose from {', '.join(TRAIN_PRESETS)}")
    bundle = train_bundle(
        TRAIN_PRESETS[arguments.preset](),
        Limit(arguments.budget, arguments.steps),
        arguments.resume or arguments.out or Path("checkpoints") / arguments.preset,
        resume=arguments.resume is not None,
        go_on=arguments.go_on,
        warm=arguments.warm,
        init=arguments.init,
        rearc=arguments.rearc,
        conceptarc=arguments.conceptarc,
        device=arguments.device,
        seed=arguments.seed,
        piece=arguments.piece,
    )
    if bundle is None:  # paused, or not the first of several processes
        return 0
    print(f"{bundle.path}: {bundle.card['parameters']:,} parameters, sha256 {bundle.card['sha256'][:16]}")
    print(log_table(bundle.card["log"]))
    return 0
