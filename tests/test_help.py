"""What a command takes, its help says: every option of every command."""

import argparse
import importlib

import pytest

from solver.cli import COMMANDS, main


def _unexplained(parser: argparse.ArgumentParser) -> list[str]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                found += _unexplained(child)
        elif not action.help:
            found.append(action.option_strings[-1] if action.option_strings else action.dest)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_explained(name, capsys):
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[name][0]).COMMANDS[name].add_options(parser)
    assert _unexplained(parser) == []
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"tinyarc {name}" in capsys.readouterr().out
