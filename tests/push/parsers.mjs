// Parsers of event streams from npm. Each line on standard input is a stream in pieces, as JSON of base64; each line on
// standard output is what both make of it. Of eventsource it is version 2, the last with a parser of its own.

import http from "node:http";
import { createInterface } from "node:readline";

import EventSource from "eventsource";
import { createParser } from "eventsource-parser";

/** Fed by hand: text, decoded as the pieces come. */
function byParser(pieces) {
  const found = [];
  let lastId = "";
  const parser = createParser({
    onId: (id) => (lastId = id),
    onEvent: ({ event, data }) => found.push([event, lastId, data]),
    onError: (error) => found.push(["error", "", String(error)]),
  });
  const decoder = new TextDecoder();
  for (const piece of pieces) parser.feed(decoder.decode(piece, { stream: true }));
  return found;
}

// Each piece is a chunk of the answer, and so comes to the client by itself.
let served = [];
const server = http.createServer((_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const piece of served) response.write(piece);
  response.end();
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const address = `http://127.0.0.1:${server.address().port}/`;

/** Over HTTP, until the answer ends. */
function bySource(pieces, events) {
  served = pieces;
  return new Promise((resolve) => {
    const found = [];
    const source = new EventSource(address);
    for (const event of events) {
      source.addEventListener(event, ({ type, lastEventId, data }) => found.push([type, lastEventId, data]));
    }
    source.onerror = () => {
      source.close();
      resolve(found);
    };
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { pieces, events } = JSON.parse(line);
  const bytes = pieces.map((piece) => Buffer.from(piece, "base64"));
  const found = { eventsource: await bySource(bytes, events), "eventsource-parser": byParser(bytes) };
  process.stdout.write(`${JSON.stringify(found)}\n`);
}
process.exit(0);
