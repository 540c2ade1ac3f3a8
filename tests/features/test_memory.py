"""The allocator of Polars."""

import os
import subprocess
import sys

SHOW = "import os, features.dataset; print(os.environ['_RJEM_MALLOC_CONF'])"


def test_polars_gives_freed_memory_back_at_once_unless_the_user_says_otherwise() -> None:
    def setting(**given: str) -> str:
        env = {name: value for name, value in os.environ.items() if name != "_RJEM_MALLOC_CONF"} | given
        done = subprocess.run([sys.executable, "-c", SHOW], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    default, own, chosen = "dirty_decay_ms:500", "dirty_decay_ms:10,muzzy_decay_ms:0", "dirty_decay_ms:700"
    found = setting()  # Polars puts its defaults before the setting when it is imported; the last one counts
    assert found.startswith(default)
    assert found.endswith(own)
    assert setting(_RJEM_MALLOC_CONF=chosen).endswith(chosen)
