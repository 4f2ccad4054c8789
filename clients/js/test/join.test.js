import assert from "node:assert/strict";
import { after, test } from "node:test";
import { join } from "../src/index.js";
import { pollInterval } from "../src/join.js";
import { event, fakeGateway, inside, refused, steps, stream, waiting } from "./fake-gateway.js";

const open = [];
after(() => open.forEach((each) => each.close()));

/** Joins a gateway with these answers. */
async function joined(answers, options = {}) {
  const gateway = await fakeGateway(answers);
  const place = join({ base: gateway.base, ...options });
  open.push(place, gateway);
  return { gateway, place };
}

/** All states of a place to its end. */
async function all(place) {
  const states = [];
  for await (const state of place) states.push(state);
  return states;
}

const letIn = event("ALLOWED_IN", { message: "You may enter.", room: "default", expiresInSeconds: 240, claimBy: 17 }, 240000);

test("a user without a place lines up, waits by stream, and is let in", async () => {
  const events = steps(event("STATUS_UPDATE", { room: "default", userQueuePosition: 1 }, 2000), letIn);
  const { gateway, place } = await joined(
    { "POST lineup": [waiting(2)], "GET stream": [events] },
    { room: "default", invite: "abc", token: "t" },
  );
  const seen = [];
  for await (const { state, userQueuePosition, claimBy, connected } of place) {
    seen.push([state, userQueuePosition, claimBy, connected]);
    if (userQueuePosition === 1) events.next();
  }
  const ends = [["WAITING", 2, undefined, true], ["WAITING", 1, undefined, true], ["ALLOWED_IN", undefined, 17, true]];
  assert.deepEqual(seen, ends);
  assert.deepEqual(gateway.calls(), ["GET status", "POST lineup", "GET stream"]);
  assert.deepEqual(gateway.seen.map((each) => each.query), ["?room=default", "?room=default&invite=abc", "?room=default"]);
  assert.ok(gateway.seen.every((each) => each.headers.authorization === "Bearer t"));
});

test("a state says the lane, and that there will probably be nothing left for as long as that holds", async () => {
  const events = steps(event("NOTICE", { notice: "n" }), event("STATUS_UPDATE", { userQueuePosition: 8, lane: "gold" }, 2000), letIn);
  const { place } = await joined({
    "GET status": [waiting(9, { lane: "gold", unlikely: true })],
    "GET stream": [events],
  });
  const seen = [];
  for await (const { lane, unlikely, notice } of place) {
    // The first state is the status, and the stream begins with the notice.
    if (seen.push([lane, unlikely, notice]) > 1) events.next();
  }
  // A notice alone says nothing about the rest.
  assert.deepEqual(seen.slice(0, 3), [["gold", true, undefined], ["gold", true, "n"], ["gold", undefined, undefined]]);
});

test("a user with a place does not line up again, and one who is inside needs no stream", async () => {
  const { gateway, place } = await joined({ "GET status": [inside] });
  assert.deepEqual((await all(place)).map((each) => each.state), ["ALLOWED_IN"]);
  assert.deepEqual(gateway.calls(), ["GET status"]);
});

test("a place that has ended is not taken anew", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(), {}],
    "GET stream": [refused(503, "OVERLOADED")],
  });
  const states = await all(place);
  assert.deepEqual([states.at(-1).state, states.at(-1).code], ["ENDED", "NOT_IN_QUEUE"]);
  assert.ok(!gateway.calls().includes("POST lineup"));
});

test("with `lineup: false` a place is only shown", async () => {
  const { gateway, place } = await joined({}, { lineup: false });
  assert.equal((await all(place)).at(-1).code, "NOT_IN_QUEUE");
  assert.deepEqual(gateway.calls(), ["GET status"]);
});

for (const [code, status] of [["NOT_ELIGIBLE", 403], ["SOLD_OUT", 410], ["ROOM_NOT_FOUND", 404]]) {
  test(`a lineup refused with ${code} is the end`, async () => {
    const { place } = await joined({ "POST lineup": [refused(status, code)] });
    assert.deepEqual(await all(place), [
      { state: "ENDED", code, message: code.toLowerCase(), status, connected: true },
    ]);
  });
}

test("a closed room is tried again after the time that it says, and its opening is told", async () => {
  const data = { room: "default", opensAt: 99, registersAt: 88 };
  const { gateway, place } = await joined({
    "POST lineup": [refused(503, "ROOM_CLOSED", { "Retry-After": "1" }, data), inside],
  });
  const [closed, last] = await all(place);
  const { retryAt, ...rest } = closed;
  assert.deepEqual(rest, { state: "RETRYING", code: "ROOM_CLOSED", message: "room_closed", ...data, connected: true });
  assert.equal(last.state, "ALLOWED_IN");
  const [first, second] = gateway.seen.filter((each) => each.call === "POST lineup");
  assert.ok(second.at - first.at >= 990, `${second.at - first.at}`);
  assert.ok(retryAt >= first.at + 1000 && retryAt <= first.at + 2500);
});

test("the first answer brings the cookie, and the call is made once more", async () => {
  const { gateway, place } = await joined({ "GET status": [refused(401, "COOKIE_REQUIRED"), inside] });
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.equal(gateway.seen.length, 2);
});

test("without cookies the place ends with that reason", async () => {
  const { gateway, place } = await joined({ "GET status": [refused(401, "COOKIE_REQUIRED")] });
  assert.equal((await all(place)).at(-1).code, "COOKIE_REQUIRED");
  assert.equal(gateway.seen.length, 2);
});

test("a function for tokens is asked for each call, and once more if the token has expired", async () => {
  const tokens = ["old", "new"];
  const { gateway, place } = await joined(
    { "GET status": [refused(401, "TOKEN_EXPIRED"), inside] },
    { token: async () => tokens.shift() },
  );
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.deepEqual(gateway.seen.map((each) => each.headers.authorization), ["Bearer old", "Bearer new"]);
});

test("a stream takes a token that has expired meanwhile", async () => {
  const { place } = await joined(
    {
      "GET status": [waiting(), refused(401, "TOKEN_EXPIRED")],
      // The first one breaks off, so that the status is asked for again.
      "GET stream": [(_request, response) => {
        stream(event("STATUS_UPDATE", { room: "default", userQueuePosition: 1 }, 10))(_request, response);
        setTimeout(() => response.destroy(), 20);
      }, stream(letIn)],
    },
    { token: "t" },
  );
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
});

/** How many milliseconds there were between one call and the next. */
const gaps = ({ seen }) => seen.slice(1).map((each, before) => each.at - seen[before].at);

test("a stream that ends is opened again at the time that it says, without asking for the status", async () => {
  const status = event("STATUS_UPDATE", { room: "default", userQueuePosition: 3 }, 200);
  const { gateway, place } = await joined({
    "GET status": [waiting(3)],
    "GET stream": [stream(status, true), stream(letIn)],
  });
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream", "GET stream"]);
  assert.ok(gaps(gateway)[1] >= 195, `${gaps(gateway)}`);
});

test("a stream that is refused without an event is no sighting, so the status is asked for before the next one", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(3)],
    "GET stream": [stream(": OVERLOADED\nretry: 100\n\n", true), stream(letIn)],
  });
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream", "GET status", "GET stream"]);
  assert.ok(gaps(gateway)[1] >= 95, `${gaps(gateway)}`);
});

test("a stream that breaks off is opened again at the time that it said, since others broke off with it", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(3)],
    "GET stream": [(request, response) => {
      stream(event("STATUS_UPDATE", { room: "default", userQueuePosition: 3 }, 1000))(request, response);
      setTimeout(() => response.destroy(), 20);
    }, stream(letIn)],
  });
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream", "GET status", "GET stream"]);
  assert.ok(gaps(gateway)[1] >= 1000, `${gaps(gateway)}`);
});

for (const [said, most] of [["Wed, 21 Oct 2099 07:28:00 GMT", 1500], ["9999999999", 5_400_000]]) {
  test(`Retry-After: ${said} is neither an overflow nor no time at all`, async () => {
    const { place } = await joined({ "POST lineup": [refused(503, "ROOM_CLOSED", { "Retry-After": said })] });
    for await (const { retryAt } of place) {
      const ahead = retryAt - place.now();
      assert.ok(ahead > most / 2 && ahead <= most, `${ahead}`);
      break;
    }
  });
}

test("an error that is not the gateway's does not end a place, but a place that there was none before", async () => {
  const notFound = (_request, response) => response.writeHead(404).end("<h1>404</h1>");
  const { place } = await joined({ "GET status": [waiting(3), notFound, inside], "GET stream": [notFound] });
  const seen = (await all(place)).map((each) => [each.state, each.connected]);
  assert.deepEqual(seen, [["WAITING", true], ["WAITING", false], ["ALLOWED_IN", true]]);
  const other = await joined({ "GET status": [notFound], "POST lineup": [notFound] });
  const [{ state, code, message }] = await all(other.place);
  assert.deepEqual([state, code, message], ["ENDED", "HTTP_404", undefined]);
});

test("JSON that is not the gateway's is no state", async () => {
  // As of a network that wants a login first.
  for (const body of [{}, { state: "" }, [], "x", 1]) {
    const { place } = await joined({ "GET status": [{ status: 200, body }, inside] });
    assert.deepEqual((await all(place)).map((each) => each.state), ["RETRYING", "ALLOWED_IN"], JSON.stringify(body));
  }
});

test("the receipt of a lineup stays, though later answers and events do not bring it again", async () => {
  const registered = { room: "default", opensAt: 50, serverTime: 40, registered: 2 };
  const body = { success: true, state: "REGISTERED", data: { ...registered, receipt: "jws" } };
  const events = steps(event("REGISTERED", { ...registered, registered: 3 }), letIn);
  const { place } = await joined({ "POST lineup": [{ status: 200, body }], "GET stream": [events] });
  const seen = [];
  for await (const state of place) {
    seen.push([state.state, state.registered, state.receipt]);
    if (state.registered === 3) events.next();
  }
  assert.deepEqual(seen, [
    ["REGISTERED", 2, "jws"],
    ["REGISTERED", 3, "jws"],
    ["ALLOWED_IN", undefined, undefined],
  ]);
});

test("while the gateway is away the last state stays, not connected, and the place goes on afterwards", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(7), refused(503, "QUEUE_UNAVAILABLE", { "Retry-After": "1" }), waiting(6)],
    "GET stream": [(_request, response) => response.destroy(), stream(letIn)],
  });
  const seen = [];
  for await (const { state, userQueuePosition, connected } of place) {
    seen.push([state, userQueuePosition, connected]);
    // The stream that broke off is tried again after a while only, so the status lets the user in.
    if (userQueuePosition === 6) place.close();
  }
  assert.deepEqual(seen, [["WAITING", 7, true], ["WAITING", 7, false], ["WAITING", 6, true]]);
  assert.equal(gateway.calls().filter((each) => each === "GET stream").length, 1);
});

test("where there is no stream the status is asked for, from 2 s at the head to 10 s far behind", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(1), inside],
    "GET stream": [refused(404, "ROUTE_NOT_FOUND")],
  });
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream", "GET status"]);
  const at = [1, 100, 400, 100000].map((userQueuePosition) => pollInterval({ userQueuePosition }));
  assert.deepEqual(at, [2020, 4000, 10000, 10000]);
  assert.equal(pollInterval({ state: "REGISTERED" }), 10000);
});

test("too many streams of a user mean polling, not the end", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(1), inside],
    "GET stream": [stream(event("ERROR", { code: "TOO_MANY_STREAMS", message: "" }, 600000))],
  });
  assert.equal((await all(place)).at(-1).state, "ALLOWED_IN");
  assert.deepEqual(gateway.calls(), ["GET status", "GET stream", "GET status"]);
});

test("a notice comes and goes, unknown events are passed over, and the opening is told", async () => {
  const registered = { room: "default", opensAt: 50, serverTime: 40, registered: 2 };
  const events = steps(
    event("NOTICE", { notice: "soon" }),
    event("LATER", { any: 1 }) + event("NOTICE", {}),
    event("REGISTERED", registered),
    letIn,
  );
  const { place } = await joined({ "GET status": [waiting(1)], "GET stream": [events] });
  const seen = [];
  for await (const state of place) {
    seen.push([state.state, state.notice ?? state.opensAt]);
    if (seen.length > 1) events.next();
  }
  assert.deepEqual(seen, [
    ["WAITING", undefined],
    ["WAITING", "soon"],
    ["WAITING", undefined],
    ["REGISTERED", 50],
    ["ALLOWED_IN", undefined],
  ]);
});

test("a reader that is slow gets the latest state, not all of them", async () => {
  const status = (userQueuePosition) => event("STATUS_UPDATE", { room: "default", userQueuePosition });
  const { place } = await joined({
    "GET status": [waiting(9)],
    "GET stream": [stream(status(8) + status(7) + status(6) + letIn)],
  });
  assert.deepEqual((await all(place)).map((each) => each.state), ["WAITING", "ALLOWED_IN"]);
});

test("an error of the stream is the end, with its reason", async () => {
  const { place } = await joined({
    "GET status": [waiting(1)],
    "GET stream": [stream(event("ERROR", { code: "REMOVED", reason: "OPERATOR", message: "gone" }, 600000))],
  });
  assert.deepEqual((await all(place)).at(-1), {
    state: "ENDED", code: "REMOVED", reason: "OPERATOR", message: "gone", connected: true,
  });
});

test("leaving ends the place, and an answer other than 204 is an error", async () => {
  const { gateway, place } = await joined({
    "GET status": [waiting(1)],
    "GET stream": [stream(": hello\n\n")],
    "POST leave": [refused(403, "CSRF_REJECTED"), { status: 204 }],
  });
  for await (const { state } of place) {
    if (state === "WAITING") {
      await assert.rejects(place.leave(), { code: "CSRF_REJECTED", status: 403 });
      await place.leave();
    } else assert.deepEqual([state, place.state.reason], ["ENDED", "LEFT"]);
  }
  assert.equal(gateway.calls().filter((each) => each === "POST leave").length, 2);
});

test("a slot is claimed, with a new end of its time", async () => {
  const claimed = { ...inside, body: { ...inside.body, expiresInSeconds: 300 } };
  const { place } = await joined({ "GET status": [inside], "POST claim": [claimed, refused(404, "NOT_ALLOWED_IN")] });
  await all(place);
  assert.equal((await place.claim()).expiresInSeconds, 300);
  await assert.rejects(place.claim(), { code: "NOT_ALLOWED_IN" });
});

test("the clock is the server's", async () => {
  const timestamp = new Date(Date.now() + 3_600_000).toISOString();
  const { place } = await joined({ "GET status": [{ status: 200, body: { ...inside.body, timestamp } }] });
  await all(place);
  assert.ok(Math.abs(place.now() - Date.now() - 3_600_000) < 5000);
});

test("leaving the loop, closing and the signal end the connection", async () => {
  const answers = { "GET status": [waiting(1)], "GET stream": [stream(": hello\n\n")] };
  const controller = new AbortController();
  const { place } = await joined({ ...answers }, { signal: controller.signal });
  for await (const _ of place) controller.abort();
  const other = (await joined({ ...answers })).place;
  for await (const _ of other) break;
  assert.deepEqual(await all(other), [other.state]);
  const closed = await joined({ ...answers });
  closed.place.close();
  assert.deepEqual(await all(closed.place), []);
  assert.deepEqual(closed.gateway.seen, []);
});
