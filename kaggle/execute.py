"""Executes a notebook as Kaggle does: cell after cell, in a process of its own, no network. Run by rehearse.py.

Arguments: notebook, where to write it executed, its working folder, the folder of the guard, seconds allowed a
cell, and `cut` or `uncut`: whether this process was started in a network namespace of its own. It needs nbclient
and ipykernel, which Kaggle's image has.
"""

import fcntl
import os
import socket
import struct
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1


class Loud(NotebookClient):
    """Shows what the cells print, while they print it."""

    def output(self, outs: Any, msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        if msg["msg_type"] == "stream":
            print(msg["content"]["text"], end="", flush=True)
        return super().output(outs, msg, display_id, cell_index)


def main(notebook: str, executed: str, folder: str, guard: str, seconds: str, network: str) -> None:
    if network == "cut":
        raise_loopback()
        if reaches_outside():
            sys.exit("the network is not cut: there is a route to the outside")
    document = nbformat.read(notebook, as_version=4)
    client = Loud(
        document,
        timeout=int(seconds),
        kernel_name="python3",
        resources={"metadata": {"path": folder}},
        extra_arguments=["--log-level=ERROR"],
    )
    try:
        client.execute(env=os.environ | {"PYTHONPATH": guard})
    except CellExecutionError as error:
        sys.exit(f"the notebook failed: {error.ename}: {error.evalue}")
    finally:
        nbformat.write(document, executed)


def raise_loopback() -> None:
    """A fresh namespace has its loopback interface down; the notebook's client and its kernel talk over it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def reaches_outside() -> bool:
    """Whether there is a route to a documentation address. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("192.0.2.1", 9)) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
