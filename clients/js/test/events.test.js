import assert from "node:assert/strict";
import { test } from "node:test";
import { readEvents } from "../src/events.js";

/** What is read of these pieces: events, times and how often something came. */
async function read(pieces, last) {
  const seen = [];
  let cancelled = false;
  const encoder = new TextEncoder();
  const body = new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(typeof piece === "string" ? encoder.encode(piece) : piece);
      if (!last) controller.close();
    },
    cancel() {
      cancelled = true;
    },
  });
  await readEvents(body, new AbortController().signal, {
    heard() {},
    retry: (ms) => seen.push(["retry", ms]),
    event: (name, data) => {
      seen.push([name, data]);
      return name === last;
    },
  });
  return { seen, cancelled };
}

test("events come with their names and data, and comments are passed over", async () => {
  const { seen } = await read(['retry: 4617\nevent: A\ndata: {"a":1}\n\n: hello\n\nevent: B\nid: end\ndata: {"b":2}\n\n']);
  assert.deepEqual(seen, [["retry", 4617], ["A", { a: 1 }], ["B", { b: 2 }]]);
});

test("a stream may be cut anywhere, and its lines may end in any way", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const bytes = new TextEncoder().encode(`event: A${end}data: {"text":"안녕"}${end}${end}data:[1,${end}data:2]${end}${end}`);
    for (let at = 1; at < bytes.length; at++) {
      const { seen } = await read([bytes.slice(0, at), bytes.slice(at), "\n"]);
      assert.deepEqual(seen, [["A", { text: "안녕" }], ["", [1, 2]]], `${JSON.stringify(end)} cut at ${at}`);
    }
  }
});

test("an event without data is none, and one without an end neither", async () => {
  assert.deepEqual((await read(["event: A\n\nevent: B\ndata: 1\n"])).seen, []);
});

test("the reader lets go of a stream whose last event has come", async () => {
  const { seen, cancelled } = await read(["event: END\ndata: 1\n\nevent: A\ndata: 2\n\n"], "END");
  assert.deepEqual([seen, cancelled], [[["END", 1]], true]);
});

test("an event that does not end is refused", async () => {
  await assert.rejects(read([`data: "${"x".repeat(40000)}`, "x".repeat(40000)]));
});

test("the signal ends it, and lets go of the stream", async () => {
  const controller = new AbortController();
  let cancelled;
  const body = new ReadableStream({ cancel: () => void (cancelled = true) });
  const reading = readEvents(body, controller.signal, { heard() {}, retry() {}, event() {} });
  controller.abort();
  await reading;
  assert.ok(cancelled);
});
