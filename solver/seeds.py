"""Seeds that are the same on every machine and in every process: no salted hashes."""

import hashlib


def stable_seed(*parts: object) -> int:
    """A seed in 0..2^63-1 from any values with a stable `str`, such as the run's seed, a task id, a copy."""
    text = "\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
