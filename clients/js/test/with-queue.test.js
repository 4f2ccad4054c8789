import assert from "node:assert/strict";
import { after, test } from "node:test";
import { withQueue } from "../src/index.js";
import { fakeGateway, inside, refused, stream, waiting, event } from "./fake-gateway.js";

const open = [];
after(() => open.forEach((each) => each.close()));

async function shop(answers, options = {}) {
  const gateway = await fakeGateway(answers);
  open.push(gateway);
  return { gateway, send: withQueue(fetch, { base: gateway.base, ...options }), order: `${gateway.base}/api/v1/queue/order` };
}

const sold = (request, response) => {
  let body = "";
  request.on("data", (piece) => (body += piece));
  request.on("end", () => response.writeHead(200).end(body));
};
const wait = refused(429, "QUEUE_WAITING", {}, { room: "concert-7", userQueuePosition: 1 });
const letIn = event("ALLOWED_IN", { room: "concert-7", expiresInSeconds: 240 });

test("a refused call is made again, with its body, once the user is let in", async () => {
  const states = [];
  const { gateway, send, order } = await shop(
    { "POST order": [wait, sold], "GET status": [waiting(1)], "GET stream": [stream(letIn)] },
    { onState: (state) => states.push(state.state) },
  );
  const response = await send(order, { method: "POST", body: "two seats" });
  assert.equal(await response.text(), "two seats");
  assert.deepEqual(states, ["WAITING", "ALLOWED_IN"]);
  assert.deepEqual(gateway.calls(), ["POST order", "GET status", "GET stream", "POST order"]);
  assert.equal(gateway.seen[1].query, "?room=concert-7");
});

test("a user without a place lines up in the room that the option names", async () => {
  const { gateway, send, order } = await shop(
    { "GET order": [refused(403, "NOT_IN_QUEUE"), sold], "POST lineup": [inside] },
    { room: "vip" },
  );
  assert.equal((await send(order)).status, 200);
  assert.deepEqual(gateway.calls(), ["GET order", "GET status", "POST lineup", "GET order"]);
  assert.equal(gateway.seen[2].query, "?room=vip");
});

test("other answers pass as they are, refusals of a service too", async () => {
  const forbidden = { status: 403, body: { error: { code: "MINE" } } };
  const { gateway, send, order } = await shop({ "GET order": [{ status: 200, body: {} }, forbidden, { status: 429, body: "x" }] });
  for (const status of [200, 403, 429]) assert.equal((await send(order)).status, status);
  assert.deepEqual(gateway.calls(), ["GET order", "GET order", "GET order"]);
});

test("a refusal by another site than the gateway's is not waited for, nor one to which a call was sent on", async () => {
  const other = await fakeGateway({ "GET order": [wait] });
  open.push(other);
  const foreign = `${other.base}/api/v1/queue/order`;
  const away = (_request, response) => response.writeHead(302, { Location: foreign }).end();
  const { gateway, send, order } = await shop({ "GET order": [away], "GET status": [inside] });
  for (const each of [foreign, order]) assert.equal((await send(each)).status, 429);
  assert.deepEqual([gateway.calls(), other.calls()], [["GET order"], ["GET order", "GET order"]]);
});

test("if the place ends, the answer is the refusal, unread", async () => {
  const { send, order } = await shop({ "GET order": [wait], "GET status": [refused(410, "SOLD_OUT")] });
  const response = await send(order);
  assert.equal((await response.json()).error.code, "QUEUE_WAITING");
});

test("a gate that goes on refusing is not asked for ever", async () => {
  const { gateway, send, order } = await shop({ "GET order": [wait], "GET status": [inside] });
  assert.equal((await send(order)).status, 429);
  assert.equal(gateway.calls().filter((each) => each === "GET order").length, 4);
});

test("calls that wait at the same time share a place", async () => {
  const { gateway, send, order } = await shop({
    "GET order": [wait, wait, sold],
    "GET status": [waiting(1)],
    "GET stream": [(request, response) => setTimeout(() => stream(letIn)(request, response), 200)],
  });
  const both = await Promise.all([send(order), send(order)]);
  assert.deepEqual(both.map((each) => each.status), [200, 200]);
  assert.equal(gateway.calls().filter((each) => each === "GET stream").length, 1);
});

test("a program's own error fails the calls that wait, and no later ones", async () => {
  let failing = true;
  const { send, order } = await shop(
    { "GET order": [wait, wait, sold], "GET status": [inside] },
    {
      onState() {
        if (failing) throw new Error("mine");
      },
    },
  );
  await assert.rejects(send(order), /mine/);
  failing = false;
  assert.equal((await send(order)).status, 200);
});

test("a call that is broken off waits no longer, and the place is let go with the last one", async () => {
  const closed = {};
  closed.promise = new Promise((resolve) => (closed.resolve = resolve));
  const { send, order } = await shop({
    "GET order": [wait],
    "GET status": [waiting(1)],
    "GET stream": [
      (request, response) => {
        stream(": hello\n\n")(request, response);
        response.on("close", closed.resolve);
        controller.abort(new Error("no time"));
      },
    ],
  });
  const controller = new AbortController();
  await assert.rejects(send(order, { signal: controller.signal }), /no time/);
  await closed.promise;
});
