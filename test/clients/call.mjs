// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Lists the tools of an MCP server and calls one, with a published TypeScript
// client: node call.mjs KIND URL TOOL ARGUMENTS-JSON [API-KEY].
// Prints one line of JSON: {tools: [names], text, isError, version}.
import {kinds} from './kinds.mjs';

const [kind, base, tool, args, key] = process.argv.slice(2);
if (!kinds[kind]) {
  console.error(`unknown kind ${kind}: use one of ${Object.keys(kinds).join(', ')}`);
  process.exit(2);
}
const {client, transport} = kinds[kind]({name: kind, base, key});
await client.connect(transport);
const {tools} = await client.listTools();
const result = await client.callTool({name: tool, arguments: JSON.parse(args)});
console.log(JSON.stringify({
  tools: tools.map((t) => t.name),
  text: result.content.map((c) => c.text ?? '').join('\n'),
  isError: result.isError ?? false,
  server: client.getServerVersion()?.name,
}));
await client.close();
process.exit(0);
