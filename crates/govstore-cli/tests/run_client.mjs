// Everything that a client can ask of an MCP server, with the official TypeScript client, as one JSON document on stdout.
//
//     node tests/run_client.mjs FOLDER COMMAND ARGS…
//
// FOLDER has the package in its node_modules. For tests/run/official.rs, which compares a server with the same one wrapped.
// Exits with 77 where the package is absent, which means: skipped. Numbers become 0, since times and random ones differ from
// run to run.

import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, command, ...args] = process.argv.slice(2);
const require = createRequire(join(packages, "anything.js"));

let sdk;
try {
  sdk = {
    ...require("@modelcontextprotocol/sdk/client/index.js"),
    ...require("@modelcontextprotocol/sdk/client/stdio.js"),
  };
} catch (absent) {
  console.error(`skipped: ${absent.message.split("\n")[0]}; to run it, npm install @modelcontextprotocol/sdk`);
  process.exit(77);
}

// What is called with the arguments that the schema asks for would wait for a person, a model or a minute.
const LEFT_OUT = /elicit|sampling|long-running|simulate|toggle|roots|research/;

const SAMPLES = { string: "UTC", number: 1, integer: 1, boolean: false, array: [], object: {} };
const ARGUMENTS = {
  convert_time: { source_timezone: "UTC", time: "12:00", target_timezone: "UTC" },
  "get-annotated-message": { messageType: "error", includeImage: true },
  "get-structured-content": { location: "New York" },
};

/** What stays the same from run to run: of a text its words, and of an environment what isn't the wrapper's own. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === "number") return 0;
  if (typeof value === "string") {
    return value
      .replace(/\s*"GOVSTORE_RUN_ID": "[0-9a-f]+",?/g, "")
      .replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d+/g, "0")
      .slice(0, 2000);
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, plain(value[key])]));
}

/** The answer, or the error that came in its place. */
async function ask(what) {
  try {
    return plain(await what);
  } catch (error) {
    return plain({ refused: String(error.message) });
  }
}

function sample({ inputSchema = {}, name }) {
  if (ARGUMENTS[name]) return ARGUMENTS[name];
  const { properties = {}, required = [] } = inputSchema;
  const of = (property = {}) => property.enum?.[0] ?? SAMPLES[property.type] ?? "x";
  return Object.fromEntries(required.map((key) => [key, of(properties[key])]));
}

const client = new sdk.Client({ name: "run-client", version: "1" }, { capabilities: {} });
await client.connect(new sdk.StdioClientTransport({ command, args, stderr: "ignore" }));
const asked = { server: plain(client.getServerVersion()), capabilities: plain(client.getServerCapabilities()) };
asked.ping = await ask(client.ping());
const { tools } = await client.listTools();
asked.tools = plain(tools);
for (const tool of tools.filter((tool) => !LEFT_OUT.test(tool.name))) {
  asked[`call ${tool.name}`] = await ask(client.callTool({ name: tool.name, arguments: sample(tool) }));
  asked[`call ${tool.name} wrongly`] = await ask(client.callTool({ name: tool.name, arguments: { x: [1] } }));
}
asked["call nothing"] = await ask(client.callTool({ name: "no-such-tool", arguments: {} }));
asked.templates = await ask(client.listResourceTemplates());
asked.resources = await ask(client.listResources());
for (const { uri } of (asked.resources.resources ?? []).slice(0, 5)) {
  asked[`read ${uri}`] = await ask(client.readResource({ uri }));
}
asked.prompts = await ask(client.listPrompts());
for (const prompt of asked.prompts.prompts ?? []) {
  const given = Object.fromEntries((prompt.arguments ?? []).map((argument) => [argument.name, "x"]));
  asked[`get ${prompt.name}`] = await ask(client.getPrompt({ name: prompt.name, arguments: given }));
}
asked.level = await ask(client.setLoggingLevel("error"));
await client.close();
console.log(JSON.stringify(asked));
