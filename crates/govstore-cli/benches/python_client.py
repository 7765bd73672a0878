"""What a call costs through the official Python client of version 1, which checks each result against the tool's output
schema, and over a bare pipe; of several servers in one run.

    TMPDIR=/dev/shm python benches/python_client.py path/to/govstore [-- COMMAND OF ANOTHER SERVER]

The Python is one with the package `mcp`, version 1. Another server is one with the same tools, such as v1.0.3's own. The
servers take turns, round by round, each with an agent of its own; medians are printed, in milliseconds.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

ROUNDS = 15
CALLS = 40
TEXT = "All tests pass; the migration is reversible. " * 8


def calls(agent: str):
    """The two that clients make most often."""
    update = {
        "agent_id": agent,
        "parameters": [0.5, 0.4, 0.3, 0.2],
        "ethical_drift": [0.0, 0.1, 0.0],
        "response_text": TEXT,
        "complexity": 0.4,
    }
    return {"process_agent_update": update, "get_governance_metrics": {"agent_id": agent}}


def milliseconds(began: int) -> float:
    return (time.perf_counter_ns() - began) / 1e6


async def through_client(command: list[str], agent: str, checked: bool) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}
    server = StdioServerParameters(command=command[0], args=command[1:])
    with open("/dev/null", "w") as nowhere:
        async with stdio_client(server, errlog=nowhere) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            await session.list_tools()
            if not checked:
                session._tool_output_schemas.clear()
                session._validate_tool_result = unchecked
            for tool, arguments in calls(agent).items():
                await session.call_tool(tool, arguments)
                for _ in range(CALLS):
                    began = time.perf_counter_ns()
                    result = await session.call_tool(tool, arguments)
                    took.setdefault(tool, []).append(milliseconds(began))
                    assert not result.isError, result
    return took


async def unchecked(name, result) -> None:
    """In place of the check against the schema."""


def over_pipe(command: list[str], agent: str) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdin and server.stdout

        def say(message: dict) -> None:
            server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            server.stdin.flush()

        client = {"name": "pipe", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        say({"id": 0, "method": "initialize", "params": hello})
        server.stdout.readline()
        say({"method": "notifications/initialized"})
        for tool, arguments in calls(agent).items():
            for number in range(CALLS + 1):
                began = time.perf_counter_ns()
                say({"id": number + 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
                answer = server.stdout.readline()
                if number > 0:
                    took.setdefault(tool, []).append(milliseconds(began))
            assert b'"isError":true' not in answer, answer
        server.stdin.close()
        server.wait(10)
    return took


async def main() -> None:
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    govstore, other = sys.argv[1:split], sys.argv[split + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        servers = {"govstore": [*govstore, "--db", str(Path(folder) / "governance.db"), "serve"]}
        if other:
            servers["the other"] = other
        took: dict[tuple[str, str, str], list[float]] = {}
        for number in range(ROUNDS):
            for name, command in servers.items():
                agent = f"bench-{time.time_ns()}"
                for way, measured in [
                    ("client", await through_client(command, agent, True)),
                    ("client, unchecked", await through_client(command, agent, False)),
                    ("pipe", over_pipe(command, agent)),
                ]:
                    for tool, times in measured.items():
                        took.setdefault((tool, way, name), []).extend(times)
            print(f"round {number + 1} of {ROUNDS}", end="\r", file=sys.stderr)
    print(f"\n{'ms':<46}" + "".join(f"{name:>12}" for name in servers))
    for tool in calls(""):
        for way in ["client", "client, unchecked", "pipe"]:
            medians = "".join(f"{median(took[tool, way, name]):>12.2f}" for name in servers)
            print(f"{tool + ', ' + way:<46}{medians}")


asyncio.run(main())
