"""Run by the interpreter of an environment with Kaggle's client (test_kaggle_client.py): lets the client validate a
pack with its own code, and prints what it would have sent, as one JSON object. Nothing is sent.

Arguments: dataset folder, kernel folder, commands.txt.
"""

import contextlib
import io
import json
import shlex
import sys

import kaggle.cli
from kaggle.api.kaggle_api_extended import KaggleApi
from requests.exceptions import HTTPError


class Recorder:
    """Stands for every service of Kaggle: takes a request and keeps its fields."""

    def __init__(self):
        self.sent = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def __getattr__(self, name):
        return self

    def __call__(self, request):
        self.sent.append({key.lstrip("_"): value for key, value in vars(request).items()})
        return self


def main(dataset, kernel, commands):
    client = KaggleApi()
    client.config_values = {"username": "jane-doe"}
    recorder, uploaded = Recorder(), []
    client.build_kaggle_client = lambda: recorder
    client.with_retry = lambda function: function
    client.upload_files = lambda request, resources, folder, *rest: uploaded.append(str(folder))
    client.dataset_status = absent
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        client.kernels_push(kernel, acc=accelerator(commands))
        client.dataset_create_new(dataset)
    answer = {"sent": recorder.sent, "uploaded": uploaded, "said": said.getvalue(), "parsed": parsed(commands)}
    print(json.dumps(answer, default=str))


def absent(reference):
    raise HTTPError("404")


def accelerator(commands):
    words = next(line for line in lines(commands) if line.startswith("kaggle kernels push"))
    return shlex.split(words)[-1]


def lines(commands):
    with open(commands, encoding="utf-8") as file:
        return [line.strip() for line in file if line.startswith("kaggle ")]


def parsed(commands):
    """What the client's own command line makes of each line: the name of the function it would call."""
    names = []
    for line in lines(commands):
        calls: list[str] = []
        with called(calls):
            sys.argv = shlex.split(line)
            kaggle.cli.main()
        names += calls
    return names


@contextlib.contextmanager
def called(calls):
    """Every command of the client notes its name instead of doing its work."""
    methods = [name for name in dir(KaggleApi) if callable(getattr(KaggleApi, name)) and not name.startswith("_")]
    before = {name: KaggleApi.__dict__.get(name) for name in methods}
    for name in methods:
        setattr(kaggle.cli.api, name, lambda *_, _name=name, **__: calls.append(_name))
    kaggle.cli.api._authenticated = True
    try:
        yield
    finally:
        for name in before:
            delattr(kaggle.cli.api, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
