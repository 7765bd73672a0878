"""Calls of tools over a bare pipe, of two builds of govstore in turns, as a ratio.

    TMPDIR=/dev/shm python3 crates/govstore-cli/benches/two_builds.py path/to/old/govstore path/to/new/govstore

120 turns of 25 calls each, who goes first taking turns too, so that what else the machine does is the same for both; the
median of their ratios. The same build twice gives 1.00 to 1.01.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TURNS, CALLS = 120, 25
UPDATE = {"agent_id": "w", "response_text": "All tests pass.", "complexity": 0.2}
TOOLS = {"process_agent_update": UPDATE, "get_governance_metrics": {"agent_id": "w"}}


class Server:
    """A server of one build, with a database of its own."""

    def __init__(self, govstore: str, database: Path):
        command = [govstore, "--db", str(database), "serve"]
        quiet = {**os.environ, "RUST_LOG": "off"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, env=quiet)
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        self.round_trip(self.message("initialize", client))
        self.process.stdin.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    @staticmethod
    def message(method: str, params: dict) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"

    def round_trip(self, message: bytes) -> None:
        os.write(self.process.stdin.fileno(), message)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += os.read(self.process.stdout.fileno(), 1 << 20)

    def calls(self, tool: str, number: int) -> float:
        """Makes calls, and returns how many microseconds one took."""
        message = self.message("tools/call", {"name": tool, "arguments": TOOLS[tool]})
        began = time.perf_counter()
        for _ in range(number):
            self.round_trip(message)
        return (time.perf_counter() - began) / number * 1e6

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main(old: str, new: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        servers = [Server(old, Path(folder) / "old.db"), Server(new, Path(folder) / "new.db")]
        for tool in TOOLS:
            for server in servers:
                server.calls(tool, 200)
            took = ([], [])
            for turn in range(TURNS):
                for which in (0, 1) if turn % 2 else (1, 0):
                    took[which].append(servers[which].calls(tool, CALLS))
            ratio = statistics.median(b / a for a, b in zip(*took))
            before, after = (statistics.median(times) for times in took)
            print(f"{tool}: {ratio:.3f} ({before:.0f} and {after:.0f} µs)", flush=True)
        for server in servers:
            server.end()


main(*sys.argv[1:])
