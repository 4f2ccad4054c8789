// Charts over time, drawn as SVG. Nothing here knows what the numbers mean.

import { clock, currentLanguage, element, text } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480, HEIGHT = 170, LEFT = 46, RIGHT = 8, TOP = 10, BOTTOM = 22;

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** The smallest of 1, 2, 2.5 and 5 times a power of ten that is not below value. */
export function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value - 1e-9);
}

const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200];

/** The like for seconds, so that a scale has whole minutes and hours. */
export function niceTime(value) {
  return TIMES.find((step) => step >= value - 1e-9) ?? nice(value / 3600) * 3600;
}

function timeSteps(from, to) {
  const minutes = (to - from) / 60000;
  const step = [0.5, 1, 2, 5, 10, 15, 30, 60, 120].find((each) => minutes / each <= 6) ?? 120;
  const found = [];
  for (let at = Math.ceil(from / (step * 60000)) * step * 60000; at <= to; at += step * 60000) found.push(at);
  return found;
}

/** One chart. series: [{key, label}], at most three; format: of values; area: whether the first has an area; scale: nice or niceTime. */
export class Chart {
  constructor(title, series, format, area = false, scale = nice) {
    this.scale = scale;
    this.series = series;
    this.format = format;
    this.area = area;
    this.points = [];
    this.title = title;
    this.caption = element("figcaption");
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.empty = element("p", { class: "empty" });
    this.figure = element("figure", {}, this.caption, this.svg, this.empty);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.cursor?.replaceChildren());
  }

  /** Draws points [{at, …}] between two moments. */
  draw(points, from, to) {
    this.points = points.filter((point) => point.at >= from);
    this.from = from;
    this.to = to;
    const names = ["one", "two", "three"];
    this.caption.replaceChildren(
      document.createTextNode(text(this.title)),
      ...this.series.map((each, at) => element("span", { class: `legend ${names[at]}` }, text(each.label))),
    );
    const values = this.points.flatMap((point) => this.series.map((each) => point[each.key])).filter((value) => value !== null && value !== undefined);
    this.empty.textContent = values.length ? "" : text("noData");
    this.empty.hidden = values.length > 0;
    this.svg.toggleAttribute("hidden", !values.length);
    this.svg.style.display = values.length ? "" : "none";
    const step = this.scale(Math.max(1, ...values) / 4);
    this.top = step * Math.max(1, Math.ceil(Math.max(1, ...values) / step - 1e-9));
    const parts = [];
    for (let value = 0; value <= this.top + step / 2; value += step) {
      const y = this.y(value);
      parts.push(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      const label = shape("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" });
      label.textContent = this.format(value);
      parts.push(label);
    }
    const hours = new Intl.DateTimeFormat(currentLanguage(), { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    for (const at of timeSteps(from, to)) {
      const label = shape("text", { x: this.x(at), y: HEIGHT - 6, "text-anchor": "middle" });
      label.textContent = to - from < 240000 ? clock(at) : hours.format(at);
      parts.push(label);
    }
    this.series.forEach((each, at) => {
      const [line, area] = this.path(each.key);
      if (at === 0 && this.area) parts.push(shape("path", { class: "area", d: area }));
      parts.push(shape("path", { class: names[at], d: line }));
    });
    this.cursor = shape("g", {});
    this.svg.replaceChildren(...parts, this.cursor);
    const last = this.points.at(-1);
    const said = last ? this.series.map((each) => `${text(each.label)} ${this.format(last[each.key])}`).join(", ") : text("noData");
    this.svg.setAttribute("aria-label", `${text(this.title)}: ${said}`);
  }

  x(at) { return LEFT + ((at - this.from) / Math.max(1, this.to - this.from)) * (WIDTH - LEFT - RIGHT); }
  y(value) { return TOP + (1 - value / this.top) * (HEIGHT - TOP - BOTTOM); }

  path(key) {
    let line = "", area = "", begun = null, last = null;
    const close = () => { if (begun !== null) area += `L${last} ${this.y(0)}L${begun} ${this.y(0)}Z`; begun = null; };
    for (const [at, point] of this.points.entries()) {
      const value = point[key];
      if (value === null || value === undefined) { close(); continue; }
      const x = this.x(point.at).toFixed(1), y = this.y(value).toFixed(1);
      const move = begun === null ? "M" : "L";
      if (begun === null) begun = x;
      // A point on its own would be no line.
      const alone = move === "M" && (this.points[at + 1]?.[key] ?? null) === null;
      line += alone ? `M${x - 3} ${y}h6` : `${move}${x} ${y}`;
      area += `${move}${x} ${y}`;
      last = x;
    }
    close();
    return [line, area];
  }

  point(event) {
    if (!this.points.length || !this.cursor) return;
    const box = this.svg.getBoundingClientRect();
    const at = this.from + (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (this.to - this.from);
    const near = this.points.reduce((best, each) => (Math.abs(each.at - at) < Math.abs(best.at - at) ? each : best));
    const x = this.x(near.at);
    const label = shape("text", { class: "tip", x: Math.min(Math.max(x, LEFT + 70), WIDTH - 90), y: TOP + 2, "text-anchor": "middle" });
    label.textContent = `${clock(near.at)}  ${this.series.map((each) => `${text(each.label)} ${this.format(near[each.key])}`).join("  ")}`;
    this.cursor.replaceChildren(shape("line", { class: "cursor", x1: x, x2: x, y1: TOP + 8, y2: HEIGHT - BOTTOM }), label);
  }
}
