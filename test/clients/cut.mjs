// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Calls a tool with a published TypeScript client whose connections are cut meanwhile:
// node cut.mjs KIND HOST PORT TOOL [URL]. With a URL, the cut comes at the first progress of the call, and the URL is fetched
// after it; without, it comes between two calls. Prints one line of JSON: {text, progress}.
import net from 'node:net';
import {Client} from '@modelcontextprotocol/sdk/client/index.js';
import {SSEClientTransport} from '@modelcontextprotocol/sdk/client/sse.js';
import {StreamableHTTPClientTransport} from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const [kind, host, port, tool, url] = process.argv.slice(2);
const open = new Set();
const proxy = net.createServer((client) => {
  const server = net.connect(Number(port), host);
  const end = () => { client.destroy(); server.destroy(); open.delete(client); };
  for (const side of [client, server]) side.on('error', end).on('close', end);
  open.add(client);
  client.pipe(server).pipe(client);
});
await new Promise((resolve) => { proxy.listen(0, '127.0.0.1', resolve); });
const cut = () => { for (const client of open) client.destroy(); };

const base = `http://127.0.0.1:${proxy.address().port}`;
const client = new Client({name: 'fairlead-test-cut', version: '1.0.0'});
await client.connect(kind === 'sse' ? new SSEClientTransport(new URL(`${base}/sse`)) : new StreamableHTTPClientTransport(new URL(`${base}/mcp`)));
const progress = [];
let result;
if (url) {
  result = await client.callTool({name: tool, arguments: {}}, undefined, {
    timeout: 30_000,
    onprogress: async (p) => {
      progress.push(p.progress);
      if (progress.length === 1) { cut(); await fetch(url); }
    },
  });
} else {
  await client.callTool({name: tool, arguments: {}});
  cut();
  // The client connects again by itself, some time later.
  for (let i = 0; !result; i++) {
    result = await client.callTool({name: tool, arguments: {}}, undefined, {timeout: 1000}).catch((error) => {
      if (i > 100) throw error;
      return new Promise((resolve) => { setTimeout(resolve, 200); });
    });
  }
}
console.log(JSON.stringify({text: result.content.map((c) => c.text ?? '').join('\n'), progress}));
process.exit(0);
