// The acts of operators: what each asks for, what it will do, and the call that carries it out.

import { apart, duration, element, number, text } from "./texts.js";

const optional = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));

/** group: where its control stands; fields: what it asks for; body: of the call; grave: users lose something for good. */
export const ACTS = {
  pause: { group: "groupFlow", foretold: true },
  resume: { group: "groupFlow", foretold: true, main: true },
  set: {
    group: "groupFlow", foretold: true, path: "",
    fields: (room) => [
      { name: "capacity", label: "capacity", type: "number", min: 0, max: 10000000, value: room.capacity },
      { name: "duration", label: "duration", type: "number", min: 0.001, max: 604800, step: "any", value: room.durationSeconds },
      { name: "rate", label: "rate", value: room.settings?.rate?.value ?? "", help: "rateHelp" },
      ...Object.entries(room.settings ?? {})
        .filter(([name]) => !["rate", "capacity", "duration"].includes(name))
        .map(([name, { value }]) => ({ name, label: name, value: value ?? "", more: true })),
      { name: "lift", label: "lift", type: "checkbox", more: true },
    ],
    body: (values, room) => {
      const found = {};
      if (values.lift) return { override: false };
      for (const [name, before] of [["capacity", room.capacity], ["duration", room.durationSeconds]]) {
        if (values[name] !== String(before)) found[name] = values[name] === "" ? null : Number(values[name]);
      }
      for (const [name, { value }] of Object.entries(room.settings ?? {})) {
        if (name in { capacity: 0, duration: 0 }) continue;
        if (values[name] !== undefined && values[name] !== String(value ?? "")) {
          const number = typeof value === "number" && /^\d+$/.test(values[name]);
          found[name] = values[name] === "" ? null : number ? Number(values[name]) : values[name];
        }
      }
      return found;
    },
    forecast: ({ capacity, duration: seconds, rate, lift }) => (lift ? {} : optional({ capacity, duration: seconds, rate })),
  },
  close: {
    group: "groupDoors", fields: () => [{ name: "until", label: "until", type: "datetime-local", help: "untilHelp" }],
    body: ({ until }) => (until ? { until: new Date(until).getTime() } : {}),
  },
  reopen: { group: "groupDoors" },
  notice: {
    group: "groupDoors",
    fields: () => [{ name: "text", label: "text", max: 500 }, { name: "lang", label: "lang", help: "langHelp" }],
    body: ({ text: words, lang }) => (words === "" ? { clear: true } : optional({ text: words, lang })),
  },
  invite: {
    group: "groupUsers",
    fields: () => [
      { name: "user", label: "user" }, { name: "uses", label: "uses", type: "number", min: 1, max: 1000000 },
      { name: "expires", label: "expires", value: "1h", help: "expiresHelp" },
    ],
    body: ({ user, uses, expires }) => optional({ user, uses: user || uses === "" ? "" : Number(uses), expires }),
    result: (data) => data?.invite,
  },
  beacon: {
    group: "groupUsers", fields: () => [{ name: "value", label: "value", required: true, max: 1000 }], body: ({ value }) => ({ value }),
  },
  front: { user: true, body: (values, room, user) => ({ user }) },
  remove: { user: true, grave: true, method: "DELETE" },
  empty: { group: "groupEnd", foretold: true, grave: true },
  "sold-out": { group: "groupEnd", foretold: true, grave: true },
};

/** The address of the call, below that of the room. */
function address(name, act, user, reason) {
  if (act.method === "DELETE") return `/users?${new URLSearchParams({ id: user, ...(reason ? { reason } : {}) })}`;
  return act.path ?? `/${name}`;
}

function fieldOf(field) {
  const id = `field-${field.name}`;
  const input = element("input", {
    id, name: field.name, type: field.type ?? "text", min: field.min, max: field.type === "number" ? field.max : null, step: field.step,
    maxlength: field.type ? null : field.max ?? 200, value: field.type === "checkbox" ? null : String(field.value ?? ""), required: field.required, autocomplete: "off",
    "aria-describedby": field.help ? `${id}-help` : null,
  });
  return element("div", { class: "field" },
    element("label", { for: id }, field.label === field.name && field.more ? field.name : text(field.label)), input,
    field.help ? element("small", { id: `${id}-help` }, text(field.help)) : null);
}

function valuesOf(form) {
  const found = {};
  for (const input of form.elements) if (input.name) found[input.name] = input.type === "checkbox" ? input.checked : input.value.trim();
  return found;
}

/** What a forecast says, in words. */
export function forecastText(found) {
  const wait = (seconds, unmeasured) => (seconds === null ? text(unmeasured) : seconds === 0 ? text("forecastNow") : duration(seconds));
  return found.waiting === 0 && found.lose === 0 ? null : [wait(found.before, "forecastUnknown"), wait(found.after, found.stopped ? "forecastStopped" : "forecastUnknown")];
}

function showForecast(box, found, name) {
  box.replaceChildren();
  box.hidden = false;
  box.classList.toggle("bad", found.lose > 0);
  const stopped = ["pause", "empty", "sold-out"].includes(name);
  const parts = forecastText({ ...found, stopped });
  if (found.lose > 0) box.append(element("p", {}, element("strong", {}, text("forecastLose", { n: number(found.lose) }))));
  else if (!parts) box.append(element("p", {}, text("forecastNone")));
  else box.append(element("p", {}, text("forecastWait"), element("strong", {}, `${parts[0]} → ${parts[1]}`)));
  if (found.atOnce > 0) box.append(element("p", {}, text("forecastAtOnce", { n: number(found.atOnce) })));
}

/** Opens the dialog of an act. call(method, path, body): carries it out; room(): as it is now; done(message). */
export function openAct(name, { dialog, call, room, done, user = "" }) {
  const act = ACTS[name];
  const before = room();
  const fields = act.fields ? act.fields(before) : [];
  const fault = element("p", { class: "fault", role: "alert" });
  const forecast = element("div", { class: "forecast", role: "status", hidden: true });
  const confirm = element("button", { type: "submit", class: act.grave ? "danger main" : "main", "data-confirm": name }, text(name));
  const more = fields.filter((field) => field.more);
  const form = element("form", { method: "dialog", novalidate: true },
    element("h2", { id: "dialog-title" }, text(name)),
    element("p", {}, ...text(`${name}What`, { user: "\0" }).split("\0").flatMap((part, at) => (at ? [apart(user), part] : part))),
    forecast,
    fields.length ? element("div", { class: "fields" }, ...fields.filter((field) => !field.more).map(fieldOf)) : null,
    more.length ? element("details", {}, element("summary", {}, text("more")), element("div", { class: "fields" }, ...more.map(fieldOf))) : null,
    element("div", { class: "field" }, element("label", { for: "field-reason" }, text("reason")),
      element("input", { id: "field-reason", name: "reason", maxlength: 200, autocomplete: "off" })),
    fault,
    element("div", { class: "buttons" }, confirm, element("button", { type: "button", onclick: () => dialog.close() }, text("cancel"))),
  );
  dialog.replaceChildren(form);

  let asked = 0;
  const foretell = async () => {
    if (!act.foretold) return;
    const turn = ++asked;
    const values = valuesOf(form);
    const query = new URLSearchParams({ act: name, ...(act.forecast ? act.forecast(values) : {}) });
    const answer = await call("GET", `/forecast?${query}`).catch(() => null);
    if (turn !== asked || !dialog.open) return;
    if (answer) showForecast(forecast, answer.data, name);
  };
  let timer;
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(foretell, 200); });
  const again = setInterval(() => { if (document.visibilityState === "visible") foretell(); }, 3000);
  dialog.addEventListener("close", () => { clearInterval(again); clearTimeout(timer); }, { once: true });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!form.reportValidity()) return;
    fault.textContent = "";
    confirm.disabled = true;
    const { reason, ...values } = valuesOf(form);
    const given = act.body ? act.body(values, before, user) : {};
    const body = act.method === "DELETE" ? null : { ...given, ...(reason ? { reason } : {}) };
    try {
      const answer = await call(act.method ?? "POST", address(name, act, user, reason), body);
      const result = act.result?.(answer.data);
      if (result) {
        form.replaceChildren(
          element("h2", { id: "dialog-title" }, text(name)), element("p", {}, text("invited")),
          element("textarea", { readonly: true, rows: 4, "aria-labelledby": "dialog-title" }, result),
          element("button", { type: "button", class: "main", onclick: () => dialog.close() }, text("confirm")));
      } else {
        dialog.close();
      }
      done(text("done", { act: text(name) }), answer);
    } catch (error) {
      fault.textContent = error.message;
      confirm.disabled = false;
    }
  });
  dialog.showModal();
  foretell();
}

