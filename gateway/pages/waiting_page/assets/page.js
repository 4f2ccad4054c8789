// The waiting page at work: follows the place, shows where the person stands, and enters when it is the person's turn.
// It writes texts by textContent alone, and goes to no address but the page's own.
import { alertsOf } from "./alerts.js";
import { join } from "./join.js";
import { wordsOf } from "./words.js";

const FOLLOWED = ["waiting", "registered", "closed", "full", "cookies", "error"];
const BY_CODE = {
  ROOM_CLOSED: "closed",
  ROOM_FULL: "full",
  SOLD_OUT: "sold-out",
  MOVED: "moved",
  COOKIE_REQUIRED: "cookies-blocked",
  REMOVED: "removed",
  NOT_IN_QUEUE: "removed",
};
const MOST_ENTRIES = 3;
const ENTRIES_WITHIN = 60_000;

const queue = document.getElementById("queue");
const { room, texts, intl, title, now: servedAt, opens } = queue.dataset;
const refused = "refused" in queue.dataset;
const words = wordsOf({ texts, intl });
const find = (selector) => queue.querySelector(selector);
const ahead = Number(servedAt) - Date.now();
const alertPerson = alertsOf(find("#notify"), find("#sound"));

let place;
/** The last state, shown or held back by the pause. */
let latest;
let shown;
let paused = false;
let ticking;
let alerted = false;

const serverNow = () => (place?.state ? place.now() : Date.now() + ahead);

/** What a tab keeps over reloads; nothing where the browser keeps nothing. */
const kept = {
  get(name) {
    try {
      return JSON.parse(sessionStorage.getItem(`queue:${room}:${name}`));
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      sessionStorage.setItem(`queue:${room}:${name}`, JSON.stringify(value));
    } catch {
      // Then it begins anew with the next page.
    }
  },
};

function fill(name, text) {
  for (const element of queue.querySelectorAll(`[data-fill="${name}"]`)) {
    if (element.textContent !== text) element.textContent = text;
    if (name === "reason") element.hidden = !text;
  }
}

function say(text) {
  find("#live").textContent = text;
}

/** Calls `show` each second until it says false, or until the next call. */
function tick(show) {
  clearInterval(ticking);
  if (show() !== false) ticking = setInterval(() => show() === false && clearInterval(ticking), 1000);
}

// --- The states

/** The name of the page's state for a state of the place. */
function nameOf(state) {
  if (state.state === "ALLOWED_IN") return "turn";
  if (state.state === "WAITING" || state.state === "REGISTERED") {
    return state.connected ? state.state.toLowerCase() : "offline";
  }
  // The page itself says that there is a place, even if the script has not got through yet.
  if (!state.connected && queue.dataset.status) return "offline";
  return BY_CODE[state.code] ?? "error";
}

/** Shows a state of the place, unless changes are paused: then it is shown once they go on. The turn is always shown. */
function show(state) {
  latest = state;
  const name = nameOf(state);
  if (paused && name !== "turn") return;
  // A page has the texts of the states only that it may come to without the server.
  if (!hasTexts(name) && !refused) return void reload();
  const before = shown;
  shown = state;
  queue.dataset.state = name;
  if (state.message) fill("message", state.message);
  showNotice(state.notice);
  showLane(state.lane);
  if (name === "waiting") showWaiting(state, before);
  else if (state.state === "REGISTERED") showRegistered(state);
  if (name === "closed") showOpening(state.opensAt);
  if (name !== "waiting" && name !== "turn") document.title = `${heading(name)} – ${title}`;
  if (before && before.connected !== state.connected) say(words.text(state.connected ? "live.online" : "live.offline"));
}

const hasTexts = (name) => find(`[data-show="${name}"] :is(h1, h2)`) !== null;
const heading = (name) => find(`[data-show="${name}"] :is(h1, h2)`)?.textContent ?? "";

function showNotice(notice = "") {
  fill("notice", notice);
  find("#notice").hidden = !notice;
}

function showLane(lane = "") {
  fill("lane", lane === "default" ? words.text("lane.default") : lane);
  for (const element of queue.querySelectorAll("[data-lane]")) element.hidden = !lane;
}

function showWaiting(state, before) {
  const { userQueuePosition: position, usersBehind } = state;
  const estimate = words.wait(state);
  fill("position", words.number(position));
  fill("behind", words.number(usersBehind));
  fill("estimate", estimate);
  fill("next", words.text(position === 1 ? "next.first" : "next.waiting"));
  if (!refused) document.title = words.text("title.waiting", { position: words.number(position), title });
  showProgress(state);
  find("#unlikely").hidden = !state.unlikely;
  const reason = state.reason && words.text(`reason.${state.reason}`);
  // It stays until the next step forward.
  if (reason || position < (before?.userQueuePosition ?? Infinity)) fill("reason", reason ?? "");
  if (reason) say(reason);
  else if (state.unlikely && before && !before.unlikely) say(find("#unlikely").textContent);
  else if (isMilestone(position, before?.userQueuePosition)) {
    say(words.text("live.position", { position: words.number(position), estimate }));
  }
}

/** Whether a screen reader announces this position: the user has passed 1, 2, 3, 5, 10, 20, 50, 100 and so on. */
function isMilestone(position, before) {
  if (before === undefined || position >= before) return false;
  const steps = [1, 2, 3];
  for (let power = 1; power <= before; power *= 10) steps.push(5 * power, 10 * power, 20 * power);
  return steps.some((step) => position <= step && step < before);
}

/** The share of the way since the ticket was first seen. It goes back only with a reason, which is then said in words. */
function showProgress({ ticket, userQueuePosition: position, reason }) {
  const known = kept.get("way");
  const start = known?.ticket === ticket ? Math.max(known.start, position) : position;
  const way = (start - position + 1) / (start + 1);
  const value = known?.ticket === ticket && !reason ? Math.max(known.value, way) : way;
  kept.set("way", { ticket, start, value });
  const bar = find("#progress");
  bar.value = value;
  bar.hidden = false;
}

function showRegistered({ opensAt, registered }) {
  fill("registered", words.number(registered));
  showOpening(opensAt);
}

function showOpening(opensAt) {
  const box = find("#countdown");
  box.hidden = !opensAt;
  if (!opensAt) return;
  fill("opens", words.moment(opensAt));
  tick(() => {
    if (paused) return true;
    const left = opensAt - serverNow();
    fill("countdown", words.clock(left));
    return left > 0;
  });
}

// --- The turn

/** Loads the page's own address anew, which is the way in. Not in a hidden tab, and never what was refused. */
function reload() {
  if (refused || document.hidden) return false;
  const entries = (kept.get("entries") ?? []).filter((at) => Math.abs(Date.now() - at) < ENTRIES_WITHIN);
  // A gate that goes on refusing must not make the page load for ever.
  if (entries.length >= MOST_ENTRIES) return false;
  kept.set("entries", [...entries, Date.now()]);
  location.reload();
  return true;
}

/** Enters, or says that it is the person's turn. Resolves when the time to claim the slot is over. */
function takeTurn(state) {
  if (!paused && reload()) return new Promise(() => {});
  show(state);
  say(words.text("live.turn"));
  find("#enter").hidden = refused;
  let until = endOf(state);
  const left = () => until - serverNow();
  const leftInWords = () => {
    const seconds = Math.max(0, Math.ceil(left() / 1000));
    return words.text("turn.left", { count: words.number(seconds) }, seconds);
  };
  if (document.hidden && !alerted) alertPerson(words.text("turn.title"), `${words.text("notify.body")} ${leftInWords()}`);
  alerted = true;
  find("#claim").onclick = async () => {
    // If the call fails, the page learns the state from the status when the time is over.
    const claimed = await place.claim().catch(() => undefined);
    if (claimed?.state === "ALLOWED_IN") until = endOf(claimed);
  };
  return new Promise((resolve) => {
    tick(() => {
      fill("turn-left", leftInWords());
      document.title = `${words.clock(left())} ${words.text("title.turn", { title })}`;
      if (left() > 0) return true;
      resolve();
      return false;
    });
  });
}

const endOf = ({ claimBy, expiresInSeconds }) => claimBy ?? serverNow() + 1000 * expiresInSeconds;

// --- What the person does

function enter() {
  kept.set("entries", []);
  reload();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden || paused) return;
  if (queue.dataset.state === "turn" || !hasTexts(nameOf(latest ?? { state: "WAITING", connected: true }))) reload();
});
find("#enter")?.addEventListener("click", enter);
find("#leave")?.addEventListener("submit", (event) => {
  if (!confirm(words.text("leave.ask"))) event.preventDefault();
});
find("#pause")?.addEventListener("click", ({ currentTarget: button }) => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  button.textContent = words.text(paused ? "pause.off" : "button.pause");
  if (!paused && latest) show(latest);
});

// --- The loop

const inLanguage = (url, init) => {
  const headers = { ...init?.headers, "Accept-Language": document.documentElement.lang };
  return fetch(url, { ...init, headers });
};

async function follow() {
  let lineup = true;
  for (;;) {
    place = join({ room, fetch: inLanguage, lineup });
    for await (const state of place) if (state.state !== "ALLOWED_IN") show(state);
    if (place.state?.state !== "ALLOWED_IN") return;
    await takeTurn(place.state);
    // The slot has gone to the next one, and this person is back in line, or has lost the place.
    lineup = false;
  }
}

for (const time of queue.querySelectorAll("time[data-fill]")) {
  if (time.dateTime) time.textContent = words.moment(Date.parse(time.dateTime));
}
if (opens) showOpening(Number(opens));
queue.classList.add("js");
if (FOLLOWED.includes(queue.dataset.state)) follow();
