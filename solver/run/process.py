"""What a worker process is to those who use it, and the plain kind: a process on this machine at the end of a pipe."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Protocol

from solver.arc.tasks import Task
from solver.device import compute_dtype, pick_device, prepare
from solver.model import Network
from solver.presets import SolveConfig
from solver.run.job import run_job, warm_up
from solver.run.schedule import Job
from solver.weights import checkpoint

READY = "ready"

LAST_WORDS = 2000
"""Bytes at the end of a process's stderr that are kept in case it dies."""


class Ending(NamedTuple):
    """How a process ended."""

    text: str  # in a few words, such as "exit code 1"
    killed: bool = False  # whether something outside of it did that, such as a lack of memory
    traceback: str | None = None  # where its exception was raised, or the last it had to say; None if it said nothing


class WorkerProcess(Protocol):
    """A process that does jobs. It says READY once its weights are loaded, and then answers each job with outcomes."""

    @property
    def channel(self) -> Any:
        """What becomes ready, for the `wait` of this kind of process, when there is something to receive."""

    def send(self, tasks: list[Any], job: Job) -> None:
        """Hands out a job. OSError if the process is gone; whoever waits then hears that too."""

    def receive(self) -> Any:
        """READY, or a list of outcomes. EOFError or OSError if the process is gone."""

    def stop(self, patience: float = 0.0) -> Ending:
        """Ends the process, after `patience` seconds if it does not end by itself."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process needs to know, once."""

    config: SolveConfig  # the recipe; names all weights
    seed: int  # of the run
    device: str  # auto, cpu, cuda:1 ...
    threads: int  # CPU threads of the process
    runner: Callable[..., Any] = run_job  # does a job, as `solver.run.job.run_job` does, and returns what is sent back


class _Crash(NamedTuple):
    """The last message of a process that an exception ends."""

    traceback: str


class LocalProcess:
    """A `WorkerProcess` on this machine. What it writes to stderr is passed on, its last words are kept."""

    def __init__(self, settings: WorkerSettings) -> None:
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        self.stderr, error_end = context.Pipe(duplex=False)
        self.crash: str | None = None
        self.last_words = b""
        self.process = context.Process(target=_serve, args=(theirs, error_end, settings), daemon=True)
        self.process.start()
        theirs.close()
        error_end.close()
        self.listener = threading.Thread(target=self._pass_on, daemon=True)
        self.listener.start()

    def send(self, tasks: list[Task], job: Job) -> None:
        self.channel.send((tasks, job))

    def receive(self) -> Any:
        message = self.channel.recv()
        if isinstance(message, _Crash):
            self.crash = message.traceback
            raise EOFError
        return message

    def stop(self, patience: float = 0.0) -> Ending:
        self.channel.close()
        self.process.join(patience)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(5)  # one that hangs in a driver may not even die of that
        self.listener.join(1)
        code, words = self.process.exitcode, self.last_words.decode(errors="replace").strip()
        how = _how(code) if self.crash is None else self.crash.splitlines()[-1]
        return Ending(how, killed=code is not None and code < 0, traceback=self.crash or words or None)

    def _pass_on(self) -> None:
        """Copies what the process writes to its stderr to ours."""
        with contextlib.suppress(EOFError, OSError, ValueError), self.stderr:
            while text := os.read(self.stderr.fileno(), 4096):
                self.last_words = (self.last_words + text)[-LAST_WORDS:]
                sys.stderr.write(text.decode(errors="replace"))
                sys.stderr.flush()


def _how(code: int | None) -> str:
    """An exit code in words: `exit code 1`, `killed by SIGSEGV`."""
    if code is None or code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def prepared(settings: WorkerSettings) -> dict[str, Any]:
    """Sets this process up for jobs; what `runner` is given by name with each."""
    device = pick_device(settings.device)
    prepare(device, settings.threads)
    return {"seed": settings.seed, "device": device, "dtype": compute_dtype(device)}


def loaded(settings: WorkerSettings) -> dict[str, Network]:
    """All networks of a run, on the CPU, float32: what a log row calls them -> network."""
    config = settings.config
    return {key: checkpoint.load(name, settings.seed, loops=config.loops) for key, name in config.networks.items()}


def _serve(pipe: Connection, stderr: Connection, settings: WorkerSettings) -> None:
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if os.name == "posix":
        os.dup2(stderr.fileno(), 2)
    stderr.close()
    faulthandler.enable()
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        with _last_message(pipe):
            by_name = prepared(settings)
            networks = loaded(settings)
            if settings.runner is run_job:
                warm_up(networks[""], settings.config, device=by_name["device"], dtype=by_name["dtype"])
        pipe.send(READY)
        while True:
            tasks, job = pipe.recv()
            with _last_message(pipe):
                outcomes = settings.runner(networks[job.weights], tasks, job, settings.config, **by_name)
            pipe.send(outcomes)


@contextlib.contextmanager
def _last_message(pipe: Connection) -> Iterator[None]:
    """Whatever is raised within ends this process, and its last message says what it was."""
    try:
        yield
    except Exception:  # all there are: whatever it is, this process ends, and the other end should know of what
        pipe.send(_Crash(traceback.format_exc()))
        sys.exit(1)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
