// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Lists the tools of an MCP server and calls one, with a published TypeScript
// client: node call.mjs KIND URL TOOL ARGUMENTS-JSON [API-KEY].
// Prints one line of JSON: {tools: [names], text, isError, version}.
import {Client as V1Client} from '@modelcontextprotocol/sdk/client/index.js';
import {SSEClientTransport as V1SSE} from '@modelcontextprotocol/sdk/client/sse.js';
import {StreamableHTTPClientTransport as V1Streamable} from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {Client as V2Client, StreamableHTTPClientTransport as V2Streamable} from '@modelcontextprotocol/client';

const [kind, base, tool, args, apiKey] = process.argv.slice(2);
const headers = apiKey ? {Authorization: `Bearer ${apiKey}`} : {};
const requestInit = {headers};
const info = {name: `fairlead-test-${kind}`, version: '1.0.0'};

const kinds = {
  'v1-sse': () => [new V1Client(info), new V1SSE(new URL(`${base}/sse`), {
    requestInit,
    eventSourceInit: {fetch: (url, init) => fetch(url, {...init, headers: {...init?.headers, ...headers}})},
  })],
  'v1-streamable': () => [new V1Client(info), new V1Streamable(new URL(`${base}/mcp`), {requestInit})],
  'v2-legacy': () => [new V2Client(info), new V2Streamable(new URL(`${base}/mcp`), {requestInit})],
  'v2-modern': () => [
    new V2Client(info, {versionNegotiation: {mode: {pin: '2026-07-28'}}}),
    new V2Streamable(new URL(`${base}/mcp`), {requestInit}),
  ],
};

if (!kinds[kind]) {
  console.error(`unknown kind ${kind}: use one of ${Object.keys(kinds).join(', ')}`);
  process.exit(2);
}
const [client, transport] = kinds[kind]();
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
