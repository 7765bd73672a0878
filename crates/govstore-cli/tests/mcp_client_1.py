"""The MCP server as the official Python client of version 1 meets it (package `mcp` from PyPI, the newest 1.x).

    python tests/mcp_client_1.py path/to/govstore

Makes every call of mcp_calls.json and the refusal of each, reads the resources, hears of a change that another process
makes, completes an id and gets the prompts. Exits with 77 where the package is absent, which means: skipped.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

try:
    from mcp import ClientSession, McpError, StdioServerParameters, types
    from mcp.client.stdio import stdio_client
    from pydantic import AnyUrl
except ImportError as absent:
    print(f"skipped: {absent}; to run it, pip install 'mcp>=1,<2'", file=sys.stderr)
    sys.exit(77)

CALLS = json.loads((Path(__file__).parent / "mcp_calls.json").read_text())

# By when a change of another process must be announced, in seconds.
SOON = 1


async def converse(session: ClientSession, heard: asyncio.Queue, other) -> int:
    """Makes every call once and returns how many checks passed."""
    began = await session.initialize()
    assert began.serverInfo.name == "govstore", began
    assert began.capabilities.resources.subscribe, began.capabilities
    checks = 0
    tools = sorted(tool.name for tool in (await session.list_tools()).tools)
    assert tools == sorted(call["tool"] for call in CALLS), tools

    uris = ["govstore://agents/watched", "govstore://fleet"]
    for uri in uris:
        await session.subscribe_resource(AnyUrl(uri))
    await other("update", "watched")
    told = sorted([await asyncio.wait_for(heard.get(), SOON) for _ in uris])
    assert told == uris, told
    for uri in uris:
        await session.unsubscribe_resource(AnyUrl(uri))
    checks += len(told)

    for call in CALLS:
        result = await session.call_tool(call["tool"], call["good"])  # which checks it against the schema
        assert not result.isError and result.structuredContent["success"] is True, (call, result)
        checks += 1
        if call["refused"] is not None:
            refusal = await session.call_tool(call["tool"], call["refused"])
            assert refusal.isError and refusal.structuredContent["error"], (call, refusal)
            checks += 1
    try:
        await session.call_tool("destroy_everything", {})
        raise AssertionError("an unknown tool was called")
    except McpError as error:
        assert error.error.code == -32602, error
        checks += 1

    resources = [str(resource.uri) for resource in (await session.list_resources()).resources]
    assert resources == ["govstore://agents", "govstore://fleet"], resources
    for uri in [*resources, "govstore://agents/watched"]:
        contents = (await session.read_resource(AnyUrl(uri))).contents
        assert isinstance(json.loads(contents[0].text), dict), contents
        checks += 1
    template = (await session.list_resource_templates()).resourceTemplates[0].uriTemplate
    refs = [
        types.ResourceTemplateReference(type="ref/resource", uri=template),
        types.PromptReference(type="ref/prompt", name="review_agent"),
    ]
    for ref in refs:
        completed = (await session.complete(ref, {"name": "id", "value": "wat"})).completion
        assert (completed.values, completed.total, completed.hasMore) == (["watched"], 1, False), completed
        checks += 1
    prompts = [prompt.name for prompt in (await session.list_prompts()).prompts]
    assert prompts == ["review_agent", "review_fleet"], prompts
    for name, arguments in [("review_agent", {"id": "watched"}), ("review_fleet", None)]:
        prompt = await session.get_prompt(name, arguments)
        assert '"watched"' in prompt.messages[0].content.text, prompt
        checks += 1
    (process,) = (await other("ps"))["processes"]
    client_of_it = [process[key] for key in ("client_name", "client_version", "protocol_version")]
    assert client_of_it == ["official-python", "1", began.protocolVersion], client_of_it
    return checks + 1


async def main() -> None:
    govstore = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "governance.db")

        async def other(*arguments: str) -> dict:
            """Another process on the same database: the command line."""
            command = [govstore, "--json", "--db", database, *arguments]
            ran = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
            return json.loads(ran.stdout)

        heard: asyncio.Queue = asyncio.Queue()

        async def message_handler(message) -> None:
            notification = getattr(message, "root", message)
            if isinstance(notification, types.ResourceUpdatedNotification):
                heard.put_nowait(str(notification.params.uri))

        server = StdioServerParameters(command=govstore, args=["--db", database, "serve"], env={"RUST_LOG": "off"})
        async with stdio_client(server) as (read, write):
            async with ClientSession(
                read,
                write,
                read_timeout_seconds=timedelta(seconds=30),
                message_handler=message_handler,
                client_info=types.Implementation(name="official-python", version="1"),
            ) as session:
                print(f"{await converse(session, heard, other)} checks passed")


asyncio.run(main())
