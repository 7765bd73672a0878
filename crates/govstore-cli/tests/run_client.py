"""Everything that a client can ask of an MCP server, with the official Python client, as one JSON document on stdout.

    python tests/run_client.py COMMAND ARGS…

For tests/run/official.rs, which compares a server with the same one wrapped. Exits with 77 where the client's package is
absent, which means: skipped. Numbers become 0, since times and random ones differ from run to run.
"""

import asyncio
import json
import re
import sys
import tempfile

try:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client
except ImportError as absent:
    print(f"skipped: {absent}; to run it, pip install mcp", file=sys.stderr)
    sys.exit(77)

# What is called with the arguments that the schema asks for would wait for a person, a model or a minute.
LEFT_OUT = re.compile("elicit|sampling|long-running|simulate|toggle|roots|research")

SAMPLES = {"string": "UTC", "number": 1, "integer": 1, "boolean": False, "array": [], "object": {}}
ARGUMENTS = {
    "convert_time": {"source_timezone": "UTC", "time": "12:00", "target_timezone": "UTC"},
    "get-annotated-message": {"messageType": "error", "includeImage": True},
    "get-structured-content": {"location": "New York"},
}


def plain(value):
    """What stays the same from run to run: of a text its words, and of an environment what isn't the wrapper's own."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        without = re.sub(r'\s*"GOVSTORE_RUN_ID": "[0-9a-f]+",?', "", value)
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+|Invalid Date|session-\S+", "0", without)[:2000]
    return value


def arguments(tool):
    if tool.name in ARGUMENTS:
        return ARGUMENTS[tool.name]
    schema = getattr(tool, "inputSchema", None) or getattr(tool, "input_schema", None) or {}
    properties = schema.get("properties", {})
    given = {}
    for name in schema.get("required", []):
        described = properties.get(name, {})
        given[name] = (described.get("enum") or [SAMPLES.get(described.get("type"), "x")])[0]
    return given


async def ask(what):
    """The answer, or the error that came in its place."""
    try:
        return plain((await asyncio.wait_for(what, 20)).model_dump(mode="json", exclude_none=True))
    except TimeoutError:
        raise
    except Exception as error:  # every kind of refusal is an answer, too
        return plain({"refused": str(error)})


async def main(command, args):
    asked = {}
    with tempfile.TemporaryFile("w+") as errors:
        async with stdio_client(StdioServerParameters(command=command, args=args), errlog=errors) as (read, write):
            async with ClientSession(read, write) as session:
                asked["initialize"] = await ask(session.initialize())
                asked["ping"] = await ask(session.send_ping())
                tools = await session.list_tools()
                asked["tools/list"] = plain(tools.model_dump(mode="json", exclude_none=True))
                for tool in tools.tools:
                    if not LEFT_OUT.search(tool.name):
                        asked[f"call {tool.name}"] = await ask(session.call_tool(tool.name, arguments(tool)))
                        asked[f"call {tool.name} wrongly"] = await ask(session.call_tool(tool.name, {"x": [1]}))
                asked["call nothing"] = await ask(session.call_tool("no-such-tool", {}))
                asked["resources/templates/list"] = await ask(session.list_resource_templates())
                asked["resources/list"] = await ask(session.list_resources())
                for resource in asked["resources/list"].get("resources", [])[:5]:
                    asked[f"read {resource['uri']}"] = await ask(session.read_resource(resource["uri"]))
                asked["prompts/list"] = await ask(session.list_prompts())
                for prompt in asked["prompts/list"].get("prompts", []):
                    given = {argument["name"]: "x" for argument in prompt.get("arguments", [])}
                    asked[f"get {prompt['name']}"] = await ask(session.get_prompt(prompt["name"], given))
                asked["logging/setLevel"] = await ask(session.set_logging_level("error"))
    print(json.dumps(asked, sort_keys=True))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
