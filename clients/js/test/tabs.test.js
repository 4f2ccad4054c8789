import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { join } from "../src/index.js";
import { event, fakeGateway, inside, refused, stream, waiting } from "./fake-gateway.js";

// What the client uses of a browser, as far as Node has it not.
let listeners = [];
const addListener = (name, listener, { signal } = {}) => {
  listeners.push({ name, listener, signal });
};
const fire = (type) => listeners.forEach(({ name, listener, signal }) => name === type && !signal?.aborted && listener());
const locks = {
  held: new Map(),
  async request(name, { signal }, callback) {
    const before = this.held.get(name);
    let free;
    const turn = new Promise((resolve) => (free = resolve));
    this.held.set(name, Promise.all([before, turn]));
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    try {
      await Promise.race([before, aborted]);
      return await callback();
    } finally {
      free();
    }
  },
};
globalThis.document = { hidden: false, addEventListener: addListener };
globalThis.addEventListener = addListener;
const browser = (given) => Object.defineProperty(globalThis, "navigator", { value: given, configurable: true });

const open = [];
beforeEach(() => {
  listeners = [];
  browser({ locks });
});
after(() => open.forEach((each) => each.close()));

async function gatewayWith(answers) {
  const gateway = await fakeGateway(answers);
  open.push(gateway);
  return gateway;
}

function joined(options) {
  const place = join(options);
  open.push(place);
  return place;
}

const update = event("STATUS_UPDATE", { room: "default", userQueuePosition: 1 });

/** The first state of a place. */
async function first(place) {
  const { value } = await place[Symbol.asyncIterator]().next();
  return value;
}

test("what another tab was answered with its own token does not end the place of this one", async () => {
  const answers = { old: refused(401, "TOKEN_EXPIRED"), new: waiting(1) };
  const gateway = await gatewayWith({
    "GET status": [({ headers }, response) => {
      const { status, body } = answers[headers.authorization.replace("Bearer ", "")];
      response.writeHead(status).end(JSON.stringify(body));
    }],
    "GET stream": [stream(update)],
  });
  const old = joined({ base: gateway.base, token: "old", share: "u" });
  const other = joined({ base: gateway.base, token: "new", share: "u" });
  assert.equal((await first(old)).code, "TOKEN_EXPIRED");
  assert.equal((await first(other)).state, "WAITING");
});

test("a tab that follows hears what the room says, the end too, and has no stream of its own", async () => {
  const removed = event("ERROR", { code: "REMOVED", reason: "OPERATOR", message: "gone" });
  const end = {};
  const gateway = await gatewayWith({
    "GET status": [waiting(1)],
    "GET stream": [(request, response) => {
      stream(update)(request, response);
      end.now = () => response.write(removed);
    }],
  });
  const [one, two] = [joined({ base: gateway.base }), joined({ base: gateway.base })];
  assert.equal((await first(two)).state, "WAITING");
  assert.equal((await first(one)).state, "WAITING");
  while (!end.now) await new Promise(setImmediate);
  end.now();
  for (const place of [one, two]) {
    let last;
    for await (const state of place) last = state;
    assert.deepEqual([last.state, last.reason], ["ENDED", "OPERATOR"]);
  }
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream"]);
});

test("rooms of one name at two gateways share nothing", async () => {
  const [one, two] = [1, 7].map((position) =>
    gatewayWith({ "GET status": [waiting(position)], "GET stream": [stream(": hello\n\n")] }),
  );
  const places = [joined({ base: (await one).base }), joined({ base: (await two).base })];
  const states = await Promise.all(places.map(first));
  assert.deepEqual(states.map((each) => each.userQueuePosition), [1, 7]);
});

test("a page that goes and comes back while it waits for a token has one stream", async () => {
  const gateway = await gatewayWith({ "GET status": [waiting(1)], "GET stream": [stream(update)] });
  const tokens = [];
  const place = joined({ base: gateway.base, token: () => new Promise((resolve) => tokens.push(resolve)) });
  const asked = async () => {
    while (!tokens.length) await new Promise(setImmediate);
  };
  await asked();
  fire("pagehide");
  fire("pageshow");
  // The first token is for the call before; then there are status and stream.
  for (let call = 0; call < 3; call++) {
    await asked();
    assert.equal(tokens.length, 1);
    tokens.shift()("t");
  }
  while (gateway.calls().length < 2) await new Promise(setImmediate);
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream"]);
  assert.equal(place.state.userQueuePosition, 1);
});

test("a frame that gets no locks claims its slot like any other", async () => {
  browser({ locks: { request: () => Promise.reject(new Error("SecurityError")) } });
  const gateway = await gatewayWith({ "GET status": [inside], "POST claim": [inside] });
  const place = joined({ base: gateway.base });
  assert.equal((await first(place)).state, "ALLOWED_IN");
  assert.equal((await place.claim()).state, "ALLOWED_IN");
});
