// Numbers, lengths of time and moments in words. The server has the same rules for the page that it sends.

/** The texts, and Intl's formats, of the page's language. */
export function wordsOf({ texts: json, intl }) {
  const texts = JSON.parse(json);
  const plurals = new Intl.PluralRules(intl);
  const numbers = new Intl.NumberFormat(intl);
  const twoDigits = new Intl.NumberFormat(intl, { minimumIntegerDigits: 2 });
  const days = new Intl.NumberFormat(intl, { style: "unit", unit: "day", unitDisplay: "long" });
  const moments = new Intl.DateTimeFormat(intl, { dateStyle: "full", timeStyle: "short" });

  const number = (value) => numbers.format(value);

  /** The text of that name with its values; `count` chooses the plural. */
  function text(name, values = {}, count) {
    const found = texts[name];
    const chosen = typeof found === "string" ? found : (found[plurals.select(count)] ?? found.other);
    return chosen.replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all);
  }

  function wait({ estimatedWaitRange: range, paused }) {
    if (paused || !range) return text(paused ? "wait.paused" : "wait.unknown");
    const [low, high] = range;
    if (high < 60) return text("wait.soon");
    const [unit, seconds] = high > 90 * 60 ? ["hours", 3600] : ["minutes", 60];
    const least = Math.max(1, Math.floor(low / seconds));
    const most = Math.ceil(high / seconds);
    if (least >= most) return text(`wait.${unit}`, { count: number(most) }, most);
    return text(`wait.${unit}.range`, { low: number(least), high: number(most) }, most);
  }

  /** Such as 1:05, 2:03:00 or 3 days 1:00:00. */
  function clock(milliseconds) {
    const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
    const day = Math.floor(seconds / 86400);
    const hour = Math.floor(seconds / 3600) % 24;
    const minute = Math.floor(seconds / 60) % 60;
    const parts = hour || day ? [number(hour), twoDigits.format(minute)] : [number(minute)];
    const time = [...parts, twoDigits.format(seconds % 60)].join(":");
    return day ? `${days.format(day)} ${time}` : time;
  }

  return { text, number, wait, clock, moment: (at) => moments.format(at) };
}
