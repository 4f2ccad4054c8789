// The operator's desk: signs in, listens to the events of one room, and shows what they say.

import { ACTS, openAct } from "./acts.js";
import { Chart, niceTime } from "./charts.js";
import { apart, clock, currentLanguage, duration, element, inWords, moment, nameOf, number, percent, setLanguage, text } from "./texts.js";

const $ = (id) => document.getElementById(id);
const LIVE_MS = 20 * 60000;
const TREND_MS = 20000;
const RANGES = { range15: 15, range60: 60, range360: 360 };
const FAILING = 0.05, SLOW_MS = 2000, LAGGING_MS = 250, WRONG = 0.5;
/** Estimates of shorter waits may be off by any share: it is a matter of seconds. */
const WORTH_A_WARNING_S = 60;

const state = { session: null, room: null, name: "", routes: [], services: { services: [], breakers: [] }, history: [], samples: [], trouble: null, heard: 0, range: 360, found: null, audit: [] };
let events = null;

// ---- calls -------------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, code, message) { super(message); this.status = status; this.code = code; }
}

async function request(method, path, body) {
  const headers = { Accept: "application/json", "Accept-Language": currentLanguage() };
  if (method !== "GET" && state.session) headers["X-CSRF-Token"] = state.session.csrfToken;
  if (body !== undefined && body !== null) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body ? JSON.stringify(body) : undefined });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const fields = (answer.error?.fields ?? []).map((each) => `${each.field}: ${each.reason}`).join("; ");
  const refused = new Refused(response.status, answer.error?.code, [answer.error?.message ?? response.statusText, fields].filter(Boolean).join(" "));
  if (refused.code === "SESSION_REQUIRED") showSignIn(state.session ? text("signedOut") : "");
  throw refused;
}

const call = (method, path, body) => request(method, `/desk/api/rooms/${encodeURIComponent(state.name)}${path}`, body);

// ---- signing in --------------------------------------------------------------------------------------------------

function showSignIn(message) {
  events?.close();
  events = null;
  state.session = null;
  $("desk").hidden = true;
  $("live").hidden = true;
  $("room-pick").hidden = true;
  $("sign-out").hidden = true;
  $("operator").textContent = "";
  if ($("dialog").open) $("dialog").close();
  $("sign-in").hidden = false;
  $("sign-in-fault").textContent = message;
  $("token").focus();
}

function begin(session) {
  state.session = session;
  $("sign-in").hidden = true;
  $("desk").hidden = false;
  $("sign-out").hidden = false;
  $("room-pick").hidden = false;
  $("application").textContent = session.application;
  const select = $("room");
  select.replaceChildren(...session.rooms.map((name) => element("option", { value: name }, name)));
  let wanted = "";
  try { wanted = decodeURIComponent(location.hash.slice(1)); } catch { /* no room has such a name */ }
  select.value = session.rooms.includes(wanted) ? wanted : session.rooms.includes("default") ? "default" : session.rooms[0];
  const [states, languages] = $("preview-form").querySelectorAll("select");
  states.replaceChildren(...session.pageStates.map((each) => element("option", { value: each }, each)));
  languages.replaceChildren(...session.pageLanguages.map((each) => element("option", { value: each, lang: each }, nameOf(each))));
  languages.value = currentLanguage();
  relabel();
  watch(select.value);
}

// ---- events ------------------------------------------------------------------------------------------------------

function watch(name) {
  events?.close();
  Object.assign(state, { name, room: null, history: [], samples: [], trouble: null, found: null, audit: [] });
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  $("found").replaceChildren();
  $("preview").hidden = !state.session.pages.includes(name);
  const source = new EventSource(`/desk/api/rooms/${encodeURIComponent(name)}/events`);
  events = source;
  const on = (kind, take) => source.addEventListener(kind, (event) => { state.heard = Date.now(); take(JSON.parse(event.data)); });
  on("room", (room) => { state.room = room; state.trouble = null; sample(room); showRoom(); });
  on("history", (minutes) => { state.history = minutes; });
  on("routes", (routes) => { state.routes = routes; showRoutes(); });
  on("services", (services) => { state.services = services; showServices(); });
  on("trouble", (trouble) => { state.trouble = trouble; showVerdict(); });
  on("ended", () => showSignIn(text("signedOut")));
  source.addEventListener("error", async () => {
    if (source.readyState !== EventSource.CLOSED || events !== source) return;
    // The browser has given up: the session has ended, or the gateway is away for now.
    try { await request("GET", "/desk/session"); } catch (error) { if (error.code === "SESSION_REQUIRED") return; }
    setTimeout(() => { if (events === source) watch(name); }, 3000);
  });
  readAudit();
}

function sample(room) {
  const now = room.now;
  state.samples.push({
    at: now.at, waiting: room.waiting, allowedIn: room.allowedIn, arrivals: now.arrivalsPerMinute, admissions: now.admissionsPerMinute,
    waitP50: now.waitP50, waitP95: now.waitP95,
  });
  state.samples = state.samples.filter((each) => each.at > now.at - LIVE_MS);
}

setInterval(() => {
  if (!state.session || !state.heard) return;
  const stale = Date.now() - state.heard > 5000;
  $("live").hidden = false;
  $("live").classList.toggle("stale", stale);
  const said = stale ? text("stale", { at: clock(state.heard) }) : text("live");
  if ($("live").textContent !== said) $("live").textContent = said;
}, 1000);

// ---- what is to be said first ------------------------------------------------------------------------------------

/**
 * Whether the sale is healthy, why not, and what may help: {level, title, detail, acts}.
 * earlier: how many users waited some seconds ago; undefined while that is not known.
 */
export function verdict(room, routes, trouble, services = [], earlier) {
  const say = (level, title, values = {}, ...acts) => ({ level, title: text(title, values), detail: text(`${title}D`, values), acts });
  const troubles = { QUEUE_UNAVAILABLE: "tRedis", ROOM_NOT_FOUND: "tGone" };
  if (trouble) return say("bad", troubles[trouble.code] ?? "tUnread", { at: clock(room?.now.at ?? trouble.at) });
  const { waiting, allowedIn, capacity, now } = room;
  const values = {
    waiting: number(waiting), inside: number(allowedIn), capacity: number(capacity), free: number(capacity - allowedIn),
    arrivals: number(now.arrivalsPerMinute), admissions: number(now.admissionsPerMinute), registered: number(room.registered),
    wait: aboutWait(now.lastInLineWaits),
  };
  if (room.soldOut) return say("info", "tSoldOut", values, "reopen");
  if (room.settings?.mode?.value === "off") return say("warn", "tOff", values, "set");
  if (room.paused) return say("warn", "tPaused", values, "resume");
  const down = services.find((each) => each.instances.length && !each.instances.some((one) => one.state === "healthy" || one.state === "unknown"));
  if (down) return say("bad", "tDown", { service: down.service }, "pause");
  const busy = routes.filter((route) => route.requestsPerMinute >= 5);
  const failing = busy.find((route) => route.errorsPerMinute / route.requestsPerMinute > FAILING);
  if (failing) {
    const share = percent(failing.errorsPerMinute / failing.requestsPerMinute);
    return say("bad", "tFailing", { route: failing.route, share }, "set", "pause");
  }
  if (capacity === 0) return say("bad", "tNoSlots", values, "set");
  if (waiting > 0 && now.admissionsPerMinute === 0 && allowedIn < capacity) return say("bad", "tStill", values, "set");
  const slow = busy.find((route) => route.latencyP95 > SLOW_MS);
  if (slow) return say("warn", "tSlow", { route: slow.route, time: duration(slow.latencyP95 / 1000) }, "set");
  const late = (room.instances ?? []).find((each) => each.lagMs > LAGGING_MS);
  if (late) return say("warn", "tLag", { instance: late.instance, time: `${number(late.lagMs)} ms` });
  if (room.closed) return say("info", "tClosed", values, "reopen");
  if (waiting > 0 && now.admissionsPerMinute === 0) return say("warn", "tFull", values, "set");
  if (room.registered > 0) return say("info", "tPrequeue", { ...values, at: room.opensAt ? moment(room.opensAt) : text("unknown") });
  if (waiting > 0 && now.estimateError > WRONG && now.waitP95 > WORTH_A_WARNING_S) return say("warn", "tEstimate", { share: percent(now.estimateError) }, "notice");
  // The arrivals of the last minute may be over.
  const shorter = waiting < earlier;
  if (waiting > 0 && !shorter && now.arrivalsPerMinute > 1.2 * now.admissionsPerMinute) return say("info", "tGrows", values, "set");
  if (waiting > 0) {
    const found = say("good", "tMoves", values);
    return now.lastInLineWaits === null ? { ...found, detail: text("tMovesUnknown") } : found;
  }
  return say("good", "tFree", values);
}

function actButton(name, options = {}) {
  const act = ACTS[name];
  const kind = [options.main ? "main" : "", act.grave ? "danger" : ""].filter(Boolean).join(" ");
  return element("button", { type: "button", class: kind || null, "data-act": name, onclick: () => start(name, options.user) }, text(name));
}

const may = (name) => state.session?.acts.includes(name) && name in ACTS;

function start(name, user) {
  openAct(name, {
    dialog: $("dialog"), call, room: () => state.room, user,
    done: (message) => {
      $("done").textContent = message;
      setTimeout(() => { $("done").textContent = ""; }, 4000);
      readAudit();
      if (user) find(user);
    },
  });
}

/** How many users waited TREND_MS ago; undefined if this page was not open then. */
function waitedBefore() {
  return state.samples.findLast((each) => each.at <= state.room?.now.at - TREND_MS)?.waiting;
}

function showVerdict() {
  if (!state.room && !state.trouble) return;
  const found = verdict(state.room, state.routes, state.trouble, state.services.services, waitedBefore());
  $("verdict").className = `verdict ${found.level}`;
  change($("verdict-title"), found.title);
  change($("verdict-detail"), found.detail);
  const acts = found.acts.filter(may);
  if ($("verdict-acts").dataset.acts !== `${acts} ${currentLanguage()}`) {
    $("verdict-acts").dataset.acts = `${acts} ${currentLanguage()}`;
    $("verdict-acts").replaceChildren(...acts.map((name, at) => actButton(name, { main: at === 0 })));
  }
}

/** A wait of the future in words; a user who waits is never told 0 seconds. */
const aboutWait = (seconds) => `${text("aboutWait")} ${duration(seconds === null ? null : Math.max(1, seconds))}`;

function change(node, said) { if (node.textContent !== said) node.textContent = said; }

// ---- the room ----------------------------------------------------------------------------------------------------

const CHARTS = [
  { title: "chartLine", series: [{ key: "waiting", label: "inLineS" }, { key: "allowedIn", label: "insideS" }], format: (value) => number(value), area: true },
  { title: "chartFlow", series: [{ key: "arrivals", label: "arrivalsS" }, { key: "admissions", label: "admissionsS" }], format: (value) => number(value, 1) },
  { title: "chartWaits", series: [{ key: "waitP50", label: "p50" }, { key: "waitP95", label: "p95" }], format: duration, scale: niceTime },
  { title: "chartLost", series: [{ key: "left", label: "left" }, { key: "parked", label: "parkedA" }, { key: "evicted", label: "evicted" }], format: (value) => number(value), minutesOnly: true },
].map((each) => ({ ...each, chart: new Chart(each.title, each.series, each.format, each.area, each.scale) }));
$("charts").append(...CHARTS.map(({ chart }) => chart.figure));

function showRoom() {
  showVerdict();
  showNumbers();
  showCharts();
  showInstances();
  showSettings();
  document.title = `${number(state.room.waiting)} · ${state.name} · ${text("title")}`;
}

function showNumbers() {
  const room = state.room, now = room.now;
  const cards = [
    ["inLine", number(room.waiting), [
      now.lastInLineWaits === null ? "" : `${text("waitNow")}: ${aboutWait(now.lastInLineWaits)}`,
      ...(room.lanes ?? []).map((lane) => `${lane.name} ${number(lane.waiting)}`),
    ].filter(Boolean).join(" · ")],
    ["inside", number(room.allowedIn), text("ofSlots", { n: number(room.capacity) }), [room.allowedIn, Math.max(1, room.capacity)]],
    ["arrivals", number(now.arrivalsPerMinute), ""],
    ["admissions", number(now.admissionsPerMinute), ""],
    ["waits", duration(now.waitP50), text("behindP95", { n: duration(now.waitP95) })],
    ["estimate", now.estimateError === null ? text("unknown") : percent(now.estimateError), text("median")],
    ["parked", number(room.parked), text("keepTicket")],
  ];
  if (room.registered) cards.push(["registered", number(room.registered), text("inPrequeue")]);
  const list = $("numbers");
  if (list.children.length !== cards.length) {
    list.replaceChildren(...cards.map(([name, , , meter]) => element("div", { class: "number", "data-number": name },
      element("dt"), element("dd"), element("dd", { class: "note" }, meter ? element("span") : null, meter ? element("meter", { min: 0 }) : null))));
  }
  cards.forEach(([name, value, note, meter], at) => {
    const [title, main, small] = list.children[at].children;
    change(title, text(name));
    change(main, value);
    if (meter) {
      const [words, bar] = small.children;
      change(words, note);
      bar.max = meter[1];
      bar.value = Math.min(...meter);
      bar.setAttribute("aria-label", `${text("inside")}: ${value} ${note}`);
    } else change(small, note);
  });
}

function showCharts() {
  const to = state.room.now.at, live = state.samples;
  const since = live[0]?.at ?? to;
  // A minute is shown at its end; what was seen live is finer, and shown from then on.
  const ended = state.history.slice(0, -1).map((minute) => ({ ...minute, at: minute.minute + 60000 }));
  const points = [...ended.filter((minute) => minute.at < since), ...live];
  const begun = Math.min(points[0]?.at ?? to, to - 60000);
  const from = Math.max(begun, to - state.range * 60000);
  for (const { chart, minutesOnly } of CHARTS) chart.draw(minutesOnly ? ended : points, from, to);
}

function table(node, heads, rows, none) {
  const body = rows.length ? rows : [[none, ...heads.slice(1).map(() => "")]];
  node.replaceChildren(
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...body.map(([first, ...rest]) =>
      element("tr", {}, element("th", { scope: "row" }, first), ...rest.map((cell) => element("td", {}, cell))))));
}

function healthOf(route) {
  if (!route.requestsPerMinute) return ["idle", ""];
  if (route.errorsPerMinute / route.requestsPerMinute > FAILING) return ["failing", "bad"];
  return route.latencyP95 > SLOW_MS ? ["slow", "warn"] : ["healthy", "good"];
}

function showRoutes() {
  change($("routes-note"), text("routesNote"));
  const milliseconds = (value) => (value === null ? text("unknown") : `${number(value, value < 10 ? 1 : 0)} ms`);
  const idle = state.routes.filter((route) => !route.requestsPerMinute).map((route) => route.route);
  $("idle").hidden = !idle.length;
  change($("idle-count"), text("idleRoutes", { n: number(idle.length) }));
  change($("idle-routes"), idle.join(", "));
  const rows = state.routes.filter((route) => route.requestsPerMinute).sort((one, other) => other.requestsPerMinute - one.requestsPerMinute).map((route) => {
    const [health, level] = healthOf(route);
    return [
      element("span", { title: route.uri }, route.route), element("span", { class: `mark ${level}` }, text(health)), number(route.requestsPerMinute),
      number(route.errorsPerMinute, 1), milliseconds(route.latencyP50), milliseconds(route.latencyP95),
    ];
  });
  table($("routes"), ["route", "health", "requests", "errors", "latency50", "latency95"].map((key) => text(key)), rows, text("noData"));
  showVerdict();
}

const LEVELS = { healthy: "good", unknown: "", unhealthy: "bad", ejected: "warn", closed: "good", half_open: "warn", open: "bad" };
const SHOWN_WHOLE = 8;

function mark(name) {
  return element("span", { class: `mark ${LEVELS[name]}` }, text(`is_${name}`));
}

/** A row for each service, and one for each of its instances; of a service with many, for those that are not healthy. */
function showServices() {
  const { services, breakers } = state.services;
  $("services-card").hidden = !services.length && !breakers.length;
  const rows = services.flatMap((service) => {
    const some = service.instances.length > SHOWN_WHOLE ? service.instances.filter((each) => each.state !== "healthy") : service.instances;
    const requests = service.instances.reduce((sum, each) => sum + each.requests, 0);
    return [
      [service.service, text("ofInstances", { n: number(service.healthy), all: number(service.instances.length) }), number(requests), "", ""],
      ...some.map((each) => [
        element("span", { class: "of" }, [each.instance, each.address].filter(Boolean).join(" · ")), mark(each.state), number(each.requests),
        each.since ? moment(each.since) : text("unknown"), each.reason ?? (each.share ? text("warming", { share: percent(each.share) }) : ""),
      ]),
    ];
  });
  table($("services"), ["service", "state", "underWay", "since", "why"].map((key) => text(key)), rows, text("noData"));
  $("breakers-card").hidden = !breakers.length;
  const names = breakers.map((each) => [each.name, mark(each.state), moment(each.since)]);
  if (names.length) table($("breakers"), ["breaker", "state", "since"].map((key) => text(key)), names, "");
  showVerdict();
}

function showInstances() {
  const rows = (state.room.instances ?? []).map((each) => [
    each.instance, number(each.streams), each.lagMs === null ? text("unknown") : `${number(each.lagMs)} ms`, each.version,
  ]);
  const shown = JSON.stringify([rows, currentLanguage()]);
  if ($("instances").dataset.shown === shown) return;
  $("instances").dataset.shown = shown;
  table($("instances"), ["gateway", "streams", "lag", "version"].map((key) => text(key)), rows, text("noInstances"));
}

const SOURCES = { operator: "fromOperator", file: "fromFile", environment: "fromEnvironment", default: "fromDefault" };

function showSettings() {
  const room = state.room;
  const numbers = { capacity: number(room.capacity), duration: duration(room.durationSeconds) };
  const pairs = Object.entries(room.settings ?? {})
    .map(([name, { value, from }]) => [name, numbers[name] ?? value ?? text("unknown"), text(SOURCES[from] ?? from)]);
  const shown = JSON.stringify([pairs, currentLanguage()]);
  if ($("settings").dataset.shown === shown) return;
  $("settings").dataset.shown = shown;
  const usual = pairs.filter(([, , from]) => from === text("fromDefault"));
  const list = (some) => some.flatMap(([name, value, from]) => [
    element("dt", {}, name === "duration" || name === "capacity" ? text(name).split(",")[0] : name),
    element("dd", {}, String(value), from ? element("span", { class: "from" }, ` ${from}`) : null)]);
  $("settings").replaceChildren(...list(pairs.filter((pair) => !usual.includes(pair))));
  $("defaults").replaceChildren(...list(usual));
  change($("defaults-count"), text("defaults", { n: number(usual.length) }));
}

function showActs() {
  const groups = ["groupFlow", "groupDoors", "groupUsers", "groupEnd"];
  $("acts").hidden = !state.session?.acts.length;
  $("act-groups").replaceChildren(...groups.map((group) => {
    const names = Object.keys(ACTS).filter((name) => ACTS[name].group === group && may(name));
    return names.length
      ? element("div", { class: "act-group" }, element("h3", {}, text(group)), element("div", { class: "buttons" }, ...names.map((name) => actButton(name))))
      : null;
  }).filter(Boolean));
}

// ---- users and audit ---------------------------------------------------------------------------------------------

async function find(id) {
  const query = `?${new URLSearchParams({ id })}`;
  let user, entries;
  try {
    [user, entries] = (await Promise.all([call("GET", `/users${query}`), call("GET", `/history${query}`)])).map((answer) => answer.data);
  } catch (error) {
    $("found").replaceChildren(element("p", { class: "fault" }, error.message));
    return;
  }
  state.found = id;
  const streams = user.streams.map((each) => `${each.instance} (${each.count})`).join(", ");
  const pairs = [["state", inWords("state", user.state)], ["lane", user.lane], ["ticket", user.ticket], ["position", user.position], ["since", user.since && moment(user.since)],
    ["lastSeen", user.lastSeen && moment(user.lastSeen)], ["streamsOf", streams]].filter(([, value]) => value !== null && value !== undefined && value !== "");
  const log = [...entries].reverse().map((entry) => element("li", {},
    [moment(entry.at), inWords("event", entry.event, entry.event === "MOVED" && !entry.reason ? "_again" : ""), entry.reason && inWords("reason", entry.reason), entry.ticket && `${text("ticket")} ${entry.ticket}`].filter(Boolean).join(" · ")));
  const acts = ["front", "remove"].filter((name) => may(name) && user.state !== "NONE" && (name !== "front" || user.state !== "ALLOWED_IN"));
  $("found").replaceChildren(
    element("p", {}, element("strong", {}, apart(user.user))),
    element("dl", { class: "pairs" }, ...pairs.flatMap(([name, value]) => [element("dt", {}, text(name)), element("dd", {}, String(value))])),
    acts.length ? element("div", { class: "buttons" }, ...acts.map((name) => actButton(name, { user: id }))) : "",
    log.length ? element("ol", { class: "log", tabindex: 0, "aria-label": text("history") }, ...log) : element("p", { class: "quiet" }, text("noneFound")));
}

async function readAudit() {
  const name = state.name;
  const answer = await call("GET", "/audit?limit=50").catch(() => null);
  if (!answer || name !== state.name) return;
  state.audit = answer.data;
  showAudit();
}

function showAudit() {
  const entries = state.audit.map((entry) => {
    const changed = entry.from !== null || entry.to !== null ? [apart(entry.from ?? "–"), " → ", apart(entry.to ?? "–")] : null;
    const said = [[entry.act], [entry.setting], entry.user && [apart(entry.user)], changed].filter((each) => each?.[0]);
    return element("li", {},
      element("strong", {}, apart(entry.by)), " ", ...said.flatMap((each, at) => (at ? [" · ", ...each] : each)), " ",
      element("span", { class: "quiet" }, moment(entry.at)), entry.reason ? element("div", {}, "“", apart(entry.reason), "”") : null);
  });
  $("audit").replaceChildren(...(entries.length ? entries : [element("li", { class: "quiet" }, text("noChanges"))]));
  $("audit").toggleAttribute("tabindex", false);
  if (entries.length) $("audit").setAttribute("tabindex", "0");
}

// ---- the page ----------------------------------------------------------------------------------------------------

function relabel() {
  for (const node of document.querySelectorAll("[data-text]")) change(node, text(node.dataset.text));
  change($("desk-title"), `${text("title")}: ${state.name}`);
  $("language").value = currentLanguage();
  if (!state.session) { document.title = text("title"); return; }
  $("operator").textContent = `${state.session.operator} (${text(state.session.role === "act" ? "mayAct" : "mayLook")})`;
  $("ranges").replaceChildren(...Object.entries(RANGES).map(([key, minutes]) => element("button", {
    type: "button", "aria-pressed": String(state.range === minutes), onclick: () => { state.range = minutes; relabel(); if (state.room) showCharts(); },
  }, text(key))));
  showActs();
  showAudit();
  showRoutes();
  showServices();
  if (state.room) showRoom();
  if (state.found) find(state.found);
}

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("sign-in-fault").textContent = "";
  try {
    const { data } = await request("POST", "/desk/session", { token: $("token").value.trim() });
    $("token").value = "";
    begin(data);
    // The top of the page is what is to be seen, and not hidden by the bar above it.
    $("main").focus({ preventScroll: true });
    scrollTo(0, 0);
  } catch (error) {
    $("sign-in-fault").textContent = error.message;
  }
});
$("sign-out").addEventListener("click", async () => {
  await request("DELETE", "/desk/session").catch(() => null);
  showSignIn("");
});
$("preview-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const query = new URLSearchParams(new FormData(event.target));
  window.open(`/desk/api/rooms/${encodeURIComponent(state.name)}/page?${query}`, "_blank", "noopener");
});
$("room").addEventListener("change", () => watch($("room").value));
$("find-form").addEventListener("submit", (event) => { event.preventDefault(); find($("find-id").value.trim()); });
$("language").addEventListener("change", () => {
  setLanguage($("language").value);
  try { localStorage.setItem("desk-language", currentLanguage()); } catch { /* the choice is not kept */ }
  relabel();
});

let kept = null;
try { kept = localStorage.getItem("desk-language"); } catch { /* nothing is kept */ }
setLanguage(kept ?? (navigator.language.startsWith("ko") ? "ko" : "en"));
relabel();
try { begin((await request("GET", "/desk/session")).data); } catch { if ($("sign-in").hidden) showSignIn(""); }
