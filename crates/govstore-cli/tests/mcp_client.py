"""The MCP server as the official Python client meets it (package `mcp` from PyPI, version 2).

    python tests/mcp_client.py path/to/govstore

Makes every call of mcp_calls.json and the refusal of each, reads the resources, hears of a change that another process
makes, completes an id and gets the prompts; once as a client of today (server/discover) and once as an older one
(initialize). The client checks results against the tools' schemas; refusals are checked here. Exits with 77 where the
package is absent, which means: skipped.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    from jsonschema import Draft202012Validator
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.types import Implementation, PromptReference, ResourceTemplateReference
except ImportError as absent:
    print(f"skipped: {absent}; to run it, pip install 'mcp>=2,<3'", file=sys.stderr)
    sys.exit(77)

CALLS = json.loads((Path(__file__).parent / "mcp_calls.json").read_text())

# By when a change of another process must be announced, in seconds.
SOON = 1


class Other:
    """Another process on the same database: the command line."""

    def __init__(self, govstore: str, database: Path):
        self.command = [govstore, "--json", "--db", str(database)]

    async def run(self, *arguments: str) -> dict:
        ran = await asyncio.to_thread(
            subprocess.run, [*self.command, *arguments], check=True, capture_output=True, text=True
        )
        return json.loads(ran.stdout)


async def hear(client: Client, heard: asyncio.Queue, other: Other) -> int:
    """Subscribes, has another process change what is subscribed to, and is told."""
    uris = ["govstore://agents/watched", "govstore://fleet"]
    if client.protocol_version >= "2026-07-28":
        async with client.listen(resource_subscriptions=uris) as subscription:
            assert subscription.honored.resource_subscriptions == uris, subscription.honored
            await other.run("update", "watched")
            told = [(await asyncio.wait_for(anext(subscription), SOON)).uri for _ in uris]
    else:
        for uri in uris:
            await client.subscribe_resource(uri)
        await other.run("update", "watched")
        told = [await asyncio.wait_for(heard.get(), SOON) for _ in uris]
        for uri in uris:
            await client.unsubscribe_resource(uri)
    assert sorted(map(str, told)) == uris, told
    return len(told)


async def converse(govstore: str, database: Path, mode: str) -> int:
    """Makes every call once and returns how many checks passed."""
    server = StdioServerParameters(
        command=govstore, args=["--db", str(database), "serve"], env={"RUST_LOG": "off"}
    )
    heard: asyncio.Queue = asyncio.Queue()
    other = Other(govstore, database)

    async def message_handler(message) -> None:
        if getattr(message, "method", "") == "notifications/resources/updated":
            heard.put_nowait(message.params.uri)

    checks = 0
    async with Client(
        server,
        mode=mode,
        read_timeout_seconds=30,
        message_handler=message_handler,
        client_info=Implementation(name="official-python", version="2"),
    ) as client:
        assert client.server_info.name == "govstore", client.server_info
        assert "process_agent_update" in client.instructions, client.instructions
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert sorted(tools) == sorted(call["tool"] for call in CALLS), sorted(tools)
        for tool in tools.values():
            Draft202012Validator.check_schema(tool.input_schema)
            Draft202012Validator.check_schema(tool.output_schema)
        checks += await hear(client, heard, other)
        for call in CALLS:
            name, good, bad = call["tool"], call["good"], call["refused"]
            Draft202012Validator(tools[name].input_schema).validate(good)
            result = await client.call_tool(name, good)
            assert not result.is_error, (name, result)
            assert result.structured_content["success"] is True, (name, result)
            assert json.loads(result.content[0].text) == result.structured_content, name
            described = set(tools[name].output_schema["properties"])
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
        for uri in [*resources, "govstore://agents/watched"]:
            contents = (await client.read_resource(uri)).contents
            assert isinstance(json.loads(contents[0].text), dict), contents
            checks += 1
        try:
            await client.read_resource("govstore://agents/nobody")
            raise AssertionError("nobody was read")
        except MCPError:
            checks += 2
        template = (await client.list_resource_templates()).resource_templates[0].uri_template
        refs = [
            ResourceTemplateReference(type="ref/resource", uri=template),
            PromptReference(type="ref/prompt", name="review_agent"),
        ]
        for ref in refs:
            completed = (await client.complete(ref, {"name": "id", "value": "wat"})).completion
            assert (completed.values, completed.total, completed.has_more) == (["watched"], 1, False), completed
            checks += 1
        prompts = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert prompts == ["review_agent", "review_fleet"], prompts
        for name, arguments in [("review_agent", {"id": "watched"}), ("review_fleet", None)]:
            prompt = await client.get_prompt(name, arguments)
            assert '"watched"' in prompt.messages[0].content.text, prompt
            checks += 1
        (process,) = (await other.run("ps"))["processes"]
        client_of_it = [process[key] for key in ("client_name", "client_version", "protocol_version")]
        assert client_of_it == ["official-python", "2", client.protocol_version], client_of_it
        checks += 1
    return checks


async def main() -> None:
    govstore = sys.argv[1]
    for mode in ("auto", "legacy"):
        with tempfile.TemporaryDirectory() as folder:
            database = Path(folder) / "governance.db"
            checks = await converse(govstore, database, mode)
            exports = sorted(path.name for path in (Path(folder) / "exports").iterdir())
            assert len(exports) == 2 and any("report" in name for name in exports), exports
            print(f"{mode}: {checks} checks passed")


asyncio.run(main())
