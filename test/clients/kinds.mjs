// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// The published TypeScript clients with their transports, by kind.
import {Client as V1Client} from '@modelcontextprotocol/sdk/client/index.js';
import {SSEClientTransport as V1SSE} from '@modelcontextprotocol/sdk/client/sse.js';
import {StreamableHTTPClientTransport as V1Streamable} from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {Client as V2Client, StreamableHTTPClientTransport as V2Streamable} from '@modelcontextprotocol/client';

const info = (name) => ({name: `fairlead-test-${name}`, version: '1.0.0'});
// With a fetch of one's own it must be left out where there is none.
const init = ({key, fetch}) => ({requestInit: {headers: key ? {Authorization: `Bearer ${key}`} : {}}, ...(fetch && {fetch})});

/** Each takes {name, base, key, fetch} and returns a client and its transport, not yet connected. */
export const kinds = {
  'v1-sse': (o) => ({client: new V1Client(info(o.name)), transport: new V1SSE(new URL(`${o.base}/sse`), init(o))}),
  'v1-streamable': (o) => ({client: new V1Client(info(o.name)), transport: new V1Streamable(new URL(`${o.base}/mcp`), init(o))}),
  'v2-legacy': (o) => ({client: new V2Client(info(o.name)), transport: new V2Streamable(new URL(`${o.base}/mcp`), init(o))}),
  'v2-modern': (o) => ({
    client: new V2Client(info(o.name), {versionNegotiation: {mode: {pin: '2026-07-28'}}}),
    transport: new V2Streamable(new URL(`${o.base}/mcp`), init(o)),
  }),
};
