// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Keeps published TypeScript clients busy and writes down what they send and see, one line of JSON each:
// node record.mjs '{"tool":"work","key":"…","clients":[{"name":"a","kind":"v1-sse","via":"Service","base":"http://…"}]}'
// Kinds are those of kinds() below. The clients stop when standard input ends; calls under way are finished.
//
// The clients keep their own settings: how they open streams again is what is looked at. What they leave to their
// application is done here: a call that was refused is tried again, and a client that was told that its session is
// gone is replaced by a new one.
import {kinds} from './kinds.mjs';

const answerWithin = 15_000; // milliseconds
const patience = 20_000;
const paces = ['0s', '0s', '20ms', '100ms', '400ms', '900ms', '3s'];

const config = JSON.parse(process.argv[2]);
let stopping = false;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const short = (session) => (session ?? '').slice(-16);
const text = (error) => `${error?.name ?? 'Error'}: ${error?.message ?? error}${error?.cause ? ` (${error.cause.code ?? error.cause.message ?? error.cause})` : ''}`;

/** One client of the record and the connections that it has had. */
class Client {
  constructor(settings) {
    Object.assign(this, settings);
    this.calls = 0;
  }

  note(event) {
    console.log(JSON.stringify({at: new Date().toISOString(), client: this.name, kind: `ts-${this.kind}`, via: this.via, ...event}));
  }

  async run() {
    while (!stopping) {
      await this.call(`${this.name}-${this.calls++}`, paces[Math.floor(Math.random() * paces.length)]);
      await sleep(100 + Math.random() * 500);
    }
    const last = this.connection;
    this.connection = undefined;
    await last?.close();
  }

  /** Makes one call, again for as long as it is refused. */
  async call(id, pace) {
    if (!(await this.ready())) return;
    this.note({what: 'call', call: id, session: this.connection.session});
    for (const until = Date.now() + patience; ; ) {
      const connection = await this.ready();
      if (!connection) return this.note({what: 'lost', call: id, why: 'there was no session in the end'});
      const before = connection.answers.length;
      try {
        await connection.call(id, pace);
        return;
      } catch (error) {
        const verdict = judge(error);
        const entry = {call: id, why: text(error)};
        if (verdict === 'told') this.note({what: 'told', session: connection.session, why: text(error)});
        if (verdict === 'told' || verdict === 'gone') await this.drop(connection);
        if (verdict === 'lost') return this.note({what: 'lost', ...entry});
        if (verdict === 'failed') return connection.answers.length > before || this.note({what: 'lost', ...entry});
        this.note({what: 'refused', ...entry});
        if (Date.now() > until) return this.note({what: 'lost', call: id, why: `refused for too long: ${text(error)}`});
        await sleep(300);
      }
    }
  }

  /** Returns the connection, and opens one if there is none. */
  async ready() {
    for (const until = Date.now() + 2 * patience; Date.now() < until; ) {
      if (this.connection && !this.connection.broken) return this.connection;
      if (this.connection) await this.drop(this.connection);
      if (stopping) return undefined;
      const next = new Connection(this);
      try {
        await next.open();
        this.connection = next;
        if (next.session) this.note({what: 'session', session: next.session});
        return next;
      } catch (error) {
        this.note({what: 'status', method: 'CONNECT', why: text(error)});
        await next.close();
        await sleep(300);
      }
    }
    return undefined;
  }

  async drop(connection) {
    if (this.connection === connection) this.connection = undefined;
    await connection.close();
  }
}

/** Says what an error means for the call that it ended. */
function judge(error) {
  const status = error?.status ?? error?.data?.status ?? (error?.name !== 'McpError' ? error?.code : undefined) ?? Number(/HTTP (\d{3})/.exec(error?.message ?? '')?.[1]);
  if (status === 404) return 'gone';
  if (status === 429 || status === 503) return 'refused';
  const cause = error?.cause?.code;
  if (cause === 'ECONNREFUSED' || cause === 'EHOSTUNREACH' || cause === 'UND_ERR_CONNECT_TIMEOUT') return 'refused';
  if (/initialize/.test(error?.message ?? '')) return 'told';
  if (/not connected|connection closed/i.test(error?.message ?? '')) return 'lost';
  return typeof error?.code === 'number' && error.code !== -32001 && error.code <= -32000 ? 'failed' : 'lost';
}

/** One client of an SDK with its transport. */
class Connection {
  constructor(owner) {
    this.owner = owner;
    this.ids = new Map(); // JSON-RPC id -> id of the call
    this.answers = []; // calls that were answered
    this.seen = new Set(); // ids of events of the client's own stream
    this.closing = false;
    this.session = '';
    const make = kinds[owner.kind];
    const {client, transport} = make({
      name: owner.name, base: owner.base, key: config.key, fetch: (url, init) => this.fetch(url, init),
    });
    this.client = client;
    this.transport = transport;
    const send = transport.send.bind(transport);
    transport.send = (message, options) => {
      if (message.method === 'tools/call') this.ids.set(message.id, message.params.arguments.id);
      return send(message, options);
    };
    transport.onmessage = (message) => this.arrived(message);
  }

  async open() {
    await this.client.connect(this.transport, {timeout: answerWithin});
    const onError = this.client.onerror;
    this.client.onerror = (error) => {
      onError?.(error);
      // An EventSource that was answered with a status has given up for good.
      if (error?.name === 'Error' && /^SSE error/.test(error.message) && error.code !== undefined) this.broken = true;
    };
    if (this.client.listen && this.owner.kind === 'v2-modern') this.listening = this.listen();
  }

  /** Holds a listen stream open, which the SDK leaves to its application. */
  async listen() {
    while (!this.closing) {
      try {
        const subscription = await this.client.listen({toolsListChanged: true});
        await subscription.closed;
      } catch {
        // Whatever it was, it is tried again: the record has its status.
      }
      await sleep(300);
    }
  }

  async call(id, pace) {
    const params = {name: config.tool, arguments: {id, pace}};
    const options = {timeout: answerWithin};
    await (this.owner.kind.startsWith('v1') ? this.client.callTool(params, undefined, options) : this.client.callTool(params, options));
  }

  arrived(message) {
    const call = this.ids.get(message.id);
    if (call === undefined || message.method !== undefined) return;
    if (/initialize/.test(message.error?.message ?? '')) return; // The server does not know the client: no answer.
    let why = message.error ? `error ${message.error.code}: ${message.error.message}` : '';
    if (!why && (message.result?.isError || !JSON.stringify(message.result).includes(call))) {
      why = `the result does not hold the id: ${JSON.stringify(message.result).slice(0, 300)}`;
    }
    this.answers.push(call);
    this.owner.note({what: 'answered', call, why: why || undefined});
  }

  async fetch(url, init) {
    const method = init?.method ?? 'GET';
    const headers = new Headers(init?.headers);
    const session = short(headers.get('mcp-session-id') ?? new URL(url).searchParams.get('sessionId'));
    let body;
    try {
      body = typeof init?.body === 'string' ? JSON.parse(init.body) : undefined;
    } catch {
      body = undefined;
    }
    const call = body?.method === 'tools/call' ? body.params.arguments.id : undefined;
    let response;
    try {
      response = await fetch(url, init);
    } catch (error) {
      if (!this.closing) this.owner.note({what: 'status', method, call, session, why: text(error)});
      throw error;
    }
    const why = response.status >= 400 ? (await response.clone().text()).slice(0, 80) : undefined;
    this.owner.note({what: 'status', method, call, session, status: response.status, why});
    if (response.headers.get('mcp-session-id')) this.session = short(response.headers.get('mcp-session-id'));
    const stream = this.streamOf(method, body, headers);
    if (!stream || !response.ok || !/event-stream/.test(response.headers.get('content-type') ?? '')) return response;
    this.owner.note({what: 'open', stream, session: this.session});
    return this.watched(response, stream);
  }

  /** Names a long stream; the answer to a call is none, unless it is resumed. */
  streamOf(method, body, headers) {
    if (body?.method === 'subscriptions/listen') return 'listen';
    if (method !== 'GET') return undefined;
    const last = headers.get('last-event-id');
    return last && !this.seen.has(last) ? `answer after ${last}` : 'main';
  }

  /** Passes a response on, and notes when its body ends without the client wanting it. */
  watched(response, stream) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let line = '';
    let ended = false;
    const end = (why) => {
      if (ended) return;
      ended = true;
      if (why !== undefined && !this.closing && !stream.startsWith('answer')) this.owner.note({what: 'cut', stream, session: this.session, why});
    };
    const body = new ReadableStream({
      pull: async (controller) => {
        try {
          const {value, done} = await reader.read();
          if (done) {
            end('ended');
            controller.close();
            return;
          }
          const lines = (line + decoder.decode(value, {stream: true})).split(/\r?\n/);
          line = lines.pop();
          for (const complete of lines) this.read(complete, stream);
          controller.enqueue(value);
        } catch (error) {
          // A client that gives up connecting aborts what it has open.
          end(error?.name === 'AbortError' ? undefined : text(error));
          controller.error(error);
        }
      },
      cancel: (reason) => {
        end(undefined);
        return reader.cancel(reason);
      },
    });
    return new Response(body, {status: response.status, statusText: response.statusText, headers: response.headers});
  }

  /** Takes from a line of a stream which session it belongs to, and by which ids it is resumed. */
  read(line, stream) {
    const endpoint = /^data:.*sessionId=([^\s&]+)/.exec(line);
    if (endpoint) this.session = short(decodeURIComponent(endpoint[1]));
    if (stream === 'main' && line.startsWith('id:')) this.seen.add(line.slice(3).trim());
  }

  async close() {
    this.closing = true;
    try {
      await this.client.close();
    } catch {
      // It is given up anyway.
    }
  }
}

process.stdin.resume();
process.stdin.on('end', () => {
  stopping = true;
});
await Promise.all(config.clients.map((settings) => new Client(settings).run()));
process.exit(0);
