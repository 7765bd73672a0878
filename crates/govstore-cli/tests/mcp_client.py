"""The MCP server as the official Python client meets it (package `mcp` from PyPI, version 2).

    python tests/mcp_client.py path/to/govstore

Drives every tool, a refusal of each, and the resources, once as a client of today (server/discover) and once
as an older one (initialize). The client checks results against the tools' schemas; refusals are checked here.
Exits with 77 where the package is absent, which means: skipped.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

try:
    from jsonschema import Draft202012Validator
    from mcp import Client, MCPError, StdioServerParameters
except ImportError as absent:
    print(f"skipped: {absent}; to run it, pip install 'mcp>=2,<3'", file=sys.stderr)
    sys.exit(77)

# For each tool: arguments that do, and arguments that are refused. In this order they make sense.
CALLS = [
    (
        "process_agent_update",
        {
            "agent_id": "python",
            "parameters": [0.5, 0.4, 0.3],
            "ethical_drift": [0.0, 0.1, 0.0],
            "response_text": "Grüße, 世界 🚀",
            "complexity": 0.2,
        },
        {"agent_id": "python", "complexity": "high"},
    ),
    ("get_governance_metrics", {"agent_id": "python"}, {"agent_id": "nobody"}),
    ("list_agents", {}, {"limt": 3}),
    ("get_server_info", {}, {"random_string": ""}),
    (
        "update_agent_metadata",
        {"agent_id": "python", "tags": ["official"], "notes": "hello", "append_notes": True},
        {"agent_id": "nobody", "notes": ""},
    ),
    ("get_agent_metadata", {"agent_id": "python"}, {}),
    ("get_system_history", {"agent_id": "python", "format": "csv"}, {"agent_id": "python", "format": "xml"}),
    ("export_to_file", {"agent_id": "python", "filename": "report"}, {"agent_id": "python", "filename": "../up"}),
    ("pause_agent", {"agent_id": "python", "reason": "lunch"}, {"agent_id": "nobody"}),
    ("resume_agent", {"agent_id": "python"}, {"agent_id": "python"}),
    ("archive_agent", {"agent_id": "python", "reason": "done"}, {"agent_id": "nobody"}),
    ("reset_monitor", {"agent_id": "python"}, {"agent_id": ""}),
    ("delete_agent", {"agent_id": "python", "confirm": True}, {"agent_id": "python"}),
]


async def converse(govstore: str, database: Path, mode: str) -> int:
    """Makes every call once and returns how many checks passed."""
    server = StdioServerParameters(
        command=govstore, args=["--db", str(database), "serve"], env={"RUST_LOG": "off"}
    )
    checks = 0
    async with Client(server, mode=mode, read_timeout_seconds=30) as client:
        assert client.server_info.name == "govstore", client.server_info
        assert "process_agent_update" in client.instructions, client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == sorted(name for name, _, _ in CALLS), sorted(tools)
        for tool in tools.values():
            Draft202012Validator.check_schema(tool.input_schema)
            Draft202012Validator.check_schema(tool.output_schema)
        for name, good, bad in CALLS:
            Draft202012Validator(tools[name].input_schema).validate(good)
            result = await client.call_tool(name, good)
            assert not result.is_error, (name, result)
            assert result.structured_content["success"] is True, (name, result)
            assert json.loads(result.content[0].text) == result.structured_content, name
            described = set(tools[name].output_schema["properties"]) - {"error"}
            assert described <= set(result.structured_content), name
            checks += 1
            refusal = await client.call_tool(name, bad)
            assert refusal.is_error, (name, refusal)
            assert refusal.structured_content["success"] is False, (name, refusal)
            assert refusal.structured_content["error"], (name, refusal)
            Draft202012Validator(tools[name].output_schema).validate(refusal.structured_content)
            assert json.loads(refusal.content[0].text) == refusal.structured_content, name
            checks += 1
        try:
            await client.call_tool("destroy_everything", {})
            raise AssertionError("an unknown tool was called")
        except MCPError as error:
            assert error.code == -32602, error
        resources = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert resources == ["govstore://agents", "govstore://fleet"], resources
        for uri in [*resources, "govstore://agents/python"]:
            contents = (await client.read_resource(uri)).contents
            assert isinstance(json.loads(contents[0].text), dict), contents
            checks += 1
        try:
            await client.read_resource("govstore://agents/nobody")
            raise AssertionError("nobody was read")
        except MCPError:
            checks += 2
    return checks


async def main() -> None:
    govstore = sys.argv[1]
    for mode in ("auto", "legacy"):
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "governance.db"
            checks = await converse(govstore, database, mode)
            exports = sorted(path.name for path in (Path(folder) / "exports").iterdir())
            assert len(exports) == 2 and "report.json" in exports, exports
            print(f"{mode}: {checks} checks passed")


asyncio.run(main())
