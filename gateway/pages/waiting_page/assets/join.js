import { readEvents } from "./events.js";
import { shareAmongTabs } from "./tabs.js";

/** @import * as Types from "./types.js" */

// In milliseconds.
const FRESH = 5000;
const FIRST_EVENT = 15000;
const SILENT_TAB = 15000;
const SILENT_STREAM = 65000; // two heartbeats
const STREAM_AGAIN = 60000;

/** 2 s at the head of the line, 10 s from position 400 on. @param {any} [state] */
export const pollInterval = (state) => Math.min(10000, 2000 + 20 * (state?.userQueuePosition ?? 400));

/** Takes a place in a room, and follows it until the user is let in or the place ends. @type {Types.Join} */
export const join = (options = {}) => {
  const { base = "", room, token, invite, lineup = true, share = !token, signal: until } = options;
  const inBrowser = typeof document !== "undefined";
  const life = new AbortController();
  // While the page is shown; and what goes on.
  let session = new AbortController();
  let activity = session;
  /** @type {any} */
  let state;
  /** @type {(() => void)[]} */
  let readers = [];
  /** @type {ReturnType<typeof shareAmongTabs> | undefined} */
  let tabs;
  let runs = Promise.resolve();
  let loops = 0;
  let placed = false;
  let told = false;
  let retry = 3000;
  let failures = 0;
  let ahead = 0;
  let heardAt = 0;
  let streamAt = 0;

  const now = () => Date.now() + ahead;
  const setClock = (time = 0) => time && (ahead = time - Date.now());
  const follows = () => tabs && !tabs.leading;
  const tell = () => readers.splice(0).forEach((each) => each());
  const later = (ms = retry) => ms * (1 + Math.random() / 2);

  const sleep = (ms = later()) =>
    new Promise((resolve) => {
      const { signal } = activity;
      const timer = setTimeout(resolve, signal.aborted ? 0 : ms);
      signal.addEventListener("abort", () => resolve(clearTimeout(timer)));
    });

  function set(/** @type {any} */ next) {
    // Only a lineup brings the receipt.
    if (next.state === "REGISTERED") next = { receipt: state?.receipt, ...next };
    if (JSON.stringify(next) !== JSON.stringify(state)) {
      state = next;
      tell();
    }
    // A user gets no second place unasked.
    placed ||= next.state !== "RETRYING";
    tabs?.say();
    if (next.state === "ALLOWED_IN" || next.state === "ENDED") close();
  }

  async function send(call = "", init = {}) {
    const bearer = typeof token === "function" ? await token() : token;
    const query = new URLSearchParams({ ...(room && { room }), ...(call === "lineup" && invite && { invite }) });
    return (options.fetch ?? fetch)(`${base}/api/v1/queue/${call}?${query}`, {
      cache: "no-store",
      ...init,
      ...(bearer && { headers: { Authorization: `Bearer ${bearer}` } }),
    });
  }

  /** The status 0 means that there is no answer, or none of the gateway's. @returns {Promise<Types.Answer>} */
  async function ask(call = "", init = {}, again = true) {
    let status = 0;
    let body;
    let retryAfter = 0;
    try {
      const response = await send(call, init);
      retryAfter = 1000 * Math.min(3600, Number(response.headers.get("Retry-After")) || 0);
      if (response.status >= 400 || response.status === 204) ({ status } = response);
      body = await response.json();
      ({ status } = response);
    } catch {}
    const code = body?.error?.code;
    // The answer brought the cookie; a function may have a new token.
    const other = code === "COOKIE_REQUIRED" || typeof token === "function";
    return again && other && status === 401 ? ask(call, init, false) : { status, code, retryAfter, body: body ?? {} };
  }

  /** After how long to ask again, 0 if all is well. */
  function take(/** @type {Types.Answer} */ { status, code, retryAfter, body }) {
    const { success, message, timestamp, traceId, data, error, ...own } = body;
    setClock(Date.parse(timestamp) || 0);
    if (status === 200 && own.state) {
      failures = 0;
      set({ ...own, ...data, connected: true });
      return 0;
    }
    // Without a code the answer is another server's.
    if (status > 200 && status < 500 && status !== 429 && status !== 408 && (code || !placed)) {
      set({ state: "ENDED", code: code ?? `HTTP_${status}`, message, status, connected: true });
      return 0;
    }
    const pause = later(Math.max(retryAfter, Math.min(30000, 1000 * 2 ** failures++)));
    const why = { code: code ?? "UNREACHABLE", message, retryAt: now() + pause, ...data };
    set(placed ? { ...state, connected: false } : { state: "RETRYING", ...why, connected: status > 0 });
    return pause;
  }

  async function look() {
    const { signal } = activity;
    let answer = await ask("status", { signal });
    if (answer.status === 404 && !placed && lineup) {
      if (follows()) return SILENT_TAB;
      answer = await ask("lineup", { method: "POST", signal });
    }
    // A stream takes a token that has just expired.
    const late = answer.status === 401 && placed && !follows() && Date.now() >= streamAt;
    return late || signal.aborted ? 0 : take(answer);
  }

  /** Whether the stream is at its end. */
  function onEvent(name = "", /** @type {any} */ data) {
    const kind = { STATUS_UPDATE: "WAITING", ERROR: "ENDED" }[name] ?? name;
    failures = 0;
    told = true;
    setClock(data.timestamp ?? data.serverTime);
    if (data.code === "TOO_MANY_STREAMS") streamAt = Date.now() + STREAM_AGAIN;
    else if (name === "HEARTBEAT") tabs?.say();
    else if (name === "NOTICE") set({ ...state, notice: data.notice, connected: true });
    else if (/WAITING|REGISTERED|ALLOWED_IN|ENDED/.test(kind)) set({ state: kind, ...data, connected: true });
    return data.code;
  }

  async function listen() {
    const { signal } = activity;
    const stop = new AbortController();
    const end = () => stop.abort();
    signal.addEventListener("abort", end);
    let timer = setTimeout(end, FIRST_EVENT);
    told = false;
    // Behind a proxy that keeps events it polls.
    streamAt = Date.now() + STREAM_AGAIN;
    try {
      const { status, headers, body } = await send("stream", { signal: stop.signal });
      if (status === 401) return look();
      if (!body || !headers.get("Content-Type")?.includes("event-stream")) return 0;
      await readEvents(body, stop.signal, {
        heard() {
          streamAt = 0;
          heardAt = Date.now();
          clearTimeout(timer);
          timer = setTimeout(end, SILENT_STREAM);
        },
        retry: (ms) => (retry = ms),
        event: onEvent,
      });
      stop.signal.throwIfAborted();
    } finally {
      clearTimeout(timer);
      end();
      if (signal.aborted) streamAt = 0;
    }
    // A refused stream is no sighting.
    return streamAt ? 0 : told ? sleep() : later();
  }

  async function step() {
    const left = heardAt + SILENT_TAB - Date.now();
    if (follows() && left > 0) return sleep(left);
    let pause = await look();
    while (!pause && !follows() && !activity.signal.aborted && Date.now() >= streamAt) pause = await listen();
    return sleep(pause || pollInterval(state));
  }

  async function run() {
    const { signal } = session;
    while (!signal.aborted) {
      activity = new AbortController();
      // Others have lost theirs with it.
      await step().catch(() => sleep());
    }
  }

  function show() {
    if (life.signal.aborted || !session.signal.aborted) return;
    session = new AbortController();
    if (inBrowser && share && navigator.locks && globalThis.BroadcastChannel) {
      const name = `queue:${base && `${base}/`}${room ?? "default"}${share === true ? "" : `:${share}`}`;
      heardAt = Date.now();
      tabs = shareAmongTabs(name, session.signal, {
        latest: () => ({ state, now: now() }),
        hear(said) {
          heardAt = Date.now();
          setClock(said.now);
          // Another tab may have another token.
          if (said.state && !said.state.status) set(said.state);
        },
        changed: () => activity.abort(),
      });
    } else if (inBrowser && share) streamAt = Infinity;
    // The last one may wait for a token.
    runs = runs.then(run);
  }

  function hide() {
    session.abort();
    activity.abort();
  }

  function close() {
    life.abort();
    hide();
    tell();
  }

  function wake() {
    const early = state?.state === "RETRYING" && state.connected;
    if (!document.hidden && !early && Date.now() - heardAt > FRESH) activity.abort();
  }

  const { signal } = life;
  session.abort();
  if (until?.aborted) close();
  until?.addEventListener("abort", close, { signal });
  if (inBrowser) {
    addEventListener("pagehide", hide, { signal });
    addEventListener("pageshow", show, { signal });
    addEventListener("online", wake, { signal });
    addEventListener("offline", () => activity.abort(), { signal });
    document.addEventListener("visibilitychange", wake, { signal });
  }
  // Closed at once, as by React, it asks nothing.
  queueMicrotask(show);

  async function post(call = "") {
    const answer = await ask(call, { method: "POST", keepalive: true });
    const { status, code, body } = answer;
    if (status >= 200 && status < 300) return answer;
    throw Object.assign(new Error(body.message ?? "The gateway does not answer."), { code, status });
  }

  return {
    get state() {
      return state;
    },
    now,
    close,
    async claim() {
      take(await post("claim"));
      return state;
    },
    async leave() {
      await post("leave");
      set({ state: "ENDED", code: "REMOVED", reason: "LEFT", connected: true });
    },
    async *[Symbol.asyncIterator]() {
      let seen;
      loops++;
      try {
        for (;;) {
          if (state && state !== seen) yield (seen = state);
          else if (life.signal.aborted) return;
          else await new Promise((resolve) => readers.push(() => resolve(0)));
        }
      } finally {
        if (!--loops) close();
      }
    },
  };
};
