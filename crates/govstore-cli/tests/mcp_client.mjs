// The MCP server as the official TypeScript client meets it (package @modelcontextprotocol/sdk from npm).
//
//     node tests/mcp_client.mjs path/to/govstore [folder that has the package in its node_modules]
//
// Makes every call of mcp_calls.json and the refusal of each, reads the resources, hears of a change that another process
// makes, completes an id and gets the prompts. Exits with 77 where the package is absent, which means: skipped.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const [govstore, packages = process.cwd()] = process.argv.slice(2);
const require = createRequire(join(packages, "anything.js"));

let sdk;
try {
  sdk = {
    ...require("@modelcontextprotocol/sdk/client/index.js"),
    ...require("@modelcontextprotocol/sdk/client/stdio.js"),
    ...require("@modelcontextprotocol/sdk/types.js"),
  };
} catch (absent) {
  console.error(`skipped: ${absent.message.split("\n")[0]}; to run it, npm install @modelcontextprotocol/sdk`);
  process.exit(77);
}

const CALLS = JSON.parse(readFileSync(new URL("mcp_calls.json", import.meta.url), "utf8"));

/** By when a change of another process must be announced. */
const SOON_MS = 1_000;

const folder = mkdtempSync(join(tmpdir(), "govstore-"));
const database = join(folder, "governance.db");
let checks = 0;

/** Another process on the same database: the command line. */
async function other(...command) {
  const { stdout } = await promisify(execFile)(govstore, ["--json", "--db", database, ...command]);
  return JSON.parse(stdout);
}

async function converse(client) {
  assert.equal(client.getServerVersion().name, "govstore");
  const { tools } = await client.listTools();
  assert.deepEqual(tools.map((tool) => tool.name).sort(), CALLS.map((call) => call.tool).sort());

  const uris = ["govstore://agents/watched", "govstore://fleet"];
  const told = [];
  const all = new Promise((resolve) => {
    client.setNotificationHandler(sdk.ResourceUpdatedNotificationSchema, ({ params }) => {
      told.push(params.uri);
      if (told.length === uris.length) resolve();
    });
  });
  for (const uri of uris) await client.subscribeResource({ uri });
  await other("update", "watched");
  const late = new Promise((_, reject) => setTimeout(reject, SOON_MS, new Error(`only told of ${told}`)));
  await Promise.race([all, late]);
  assert.deepEqual(told.sort(), uris);
  for (const uri of uris) await client.unsubscribeResource({ uri });
  checks += uris.length;

  for (const { tool, good, refused } of CALLS) {
    const result = await client.callTool({ name: tool, arguments: good }); // which checks it against the schema
    assert.ok(!result.isError && result.structuredContent.success === true, `${tool}: ${JSON.stringify(result)}`);
    checks += 1;
    if (refused === null) continue;
    const refusal = await client.callTool({ name: tool, arguments: refused });
    assert.ok(refusal.isError && refusal.structuredContent.error, `${tool}: ${JSON.stringify(refusal)}`);
    checks += 1;
  }
  await assert.rejects(client.callTool({ name: "destroy_everything" }), { code: -32602 });

  const { resources } = await client.listResources();
  assert.deepEqual(resources.map((resource) => resource.uri), ["govstore://agents", "govstore://fleet"]);
  for (const uri of [...resources.map((resource) => resource.uri), "govstore://agents/watched"]) {
    const { contents } = await client.readResource({ uri });
    assert.equal(typeof JSON.parse(contents[0].text), "object");
    checks += 1;
  }
  const { resourceTemplates } = await client.listResourceTemplates();
  for (const ref of [
    { type: "ref/resource", uri: resourceTemplates[0].uriTemplate },
    { type: "ref/prompt", name: "review_agent" },
  ]) {
    const { completion } = await client.complete({ ref, argument: { name: "id", value: "wat" } });
    assert.deepEqual(completion, { values: ["watched"], total: 1, hasMore: false });
    checks += 1;
  }
  const { prompts } = await client.listPrompts();
  assert.deepEqual(prompts.map((prompt) => prompt.name), ["review_agent", "review_fleet"]);
  for (const prompt of [{ name: "review_agent", arguments: { id: "watched" } }, { name: "review_fleet" }]) {
    const { messages } = await client.getPrompt(prompt);
    assert.ok(messages[0].content.text.includes('"watched"'), prompt.name);
    checks += 1;
  }
  const { processes } = await other("ps");
  assert.deepEqual(
    processes.map((row) => [row.client_name, row.client_version]),
    [["official-typescript", "1"]],
  );
  assert.ok(processes[0].protocol_version);
  checks += 1;
}

const client = new sdk.Client({ name: "official-typescript", version: "1" });
try {
  const server = { command: govstore, args: ["--db", database, "serve"], env: { RUST_LOG: "off" } };
  await client.connect(new sdk.StdioClientTransport(server));
  await converse(client);
  await client.close();
  console.log(`${checks} checks passed`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0);
