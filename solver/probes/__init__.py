"""Probes: what this field claims about small recursive networks, as experiments that anyone can run again.

`catalogue` names them; `command.run_probe` runs one. `bench` fine-tunes and casts in worker processes, where no
test output is known; `measured` scores in the parent.
"""
