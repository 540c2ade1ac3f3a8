"""Generated requests to every operation of a server's OpenAPI document; extra `fuzz` (schemathesis).

    python -m scripts.fuzz BUNDLE [--examples 400]

Starts a server on BUNDLE with a state in memory and lets schemathesis send it requests, right and wrong ones,
up to so many for each operation in each phase. The exit code is 1 after any answer with a status of 500 or
above, with a status or content type that the document does not name, or with a body that its schema refuses.
"""

import argparse
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from scripts.soak import wait_for

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--examples", type=int, default=400)
    args = parser.parse_args()
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    if program is None:
        sys.exit("schemathesis is not installed; install the extra 'fuzz'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = [sys.executable, "-m", "recsys.cli", "serve", str(args.bundle), "--port", str(port)]
    with subprocess.Popen([*serve, "--state", ":memory:"], stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(server, port)
            fuzz = [program, "run", f"http://127.0.0.1:{port}/openapi.json", "-n", str(args.examples)]
            fuzz += ["--checks", ",".join(CHECKS), "--continue-on-failure"]
            ended = subprocess.run(fuzz, check=False)
        finally:
            server.terminate()
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
