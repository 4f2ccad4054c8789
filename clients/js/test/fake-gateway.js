import { once } from "node:events";
import { createServer } from "node:http";

/**
 * A gateway that answers each call as the test says: `answers` has a list for each call, such as `"GET status"`, whose last
 * one is used again. An answer is `{status, body, headers}`, or a function that gets request and response.
 */
export async function fakeGateway(answers) {
  const seen = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://gateway");
    const call = `${request.method} ${url.pathname.replace("/api/v1/queue/", "")}`;
    seen.push({ call, query: url.search, at: Date.now(), headers: request.headers });
    const list = answers[call] ?? [];
    const answer = list.length > 1 ? list.shift() : list[0];
    if (typeof answer === "function") return answer(request, response);
    const { status = 404, body = { error: { code: "NOT_IN_QUEUE", message: "none" } }, headers = {} } = answer ?? {};
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(status === 204 ? undefined : JSON.stringify(body));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    seen,
    calls: () => seen.map((each) => each.call),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** The answer with which a user waits. */
export const waiting = (position = 1, more = {}) => ({
  status: 200,
  body: { success: true, message: "You are in line.", state: "WAITING", data: { room: "default", userQueuePosition: position, ...more } },
});

/** The answer with which a user is inside. */
export const inside = { status: 200, body: { success: true, state: "ALLOWED_IN", room: "default", expiresInSeconds: 240 } };

/** The answer with an error. */
export const refused = (status, code, headers = {}, data = undefined) => ({
  status,
  headers,
  body: { success: false, message: code.toLowerCase(), data, error: { code, message: code.toLowerCase(), status } },
});

/** A stream with this text; it stays open unless `end`. */
export const stream =
  (text, end = false) =>
  (_request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.write(text);
    if (end) response.end();
  };

/** An event as text. */
export const event = (name, data, retry) =>
  `${retry === undefined ? "" : `retry: ${retry}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;

/** A stream that writes one text after the other, each when `next()` is called. */
export function steps(...texts) {
  let made;
  const opened = new Promise((resolve) => (made = resolve));
  const answer = (request, response) => {
    stream(texts.shift())(request, response);
    made(response);
  };
  return Object.assign(answer, { next: async () => texts.length && (await opened).write(texts.shift()) });
}
