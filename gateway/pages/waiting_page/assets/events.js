/** @type {import("./types.js").ReadEvents} */
export const readEvents = async (body, signal, on) => {
  const reader = body.getReader();
  // In Node the signal of a fetch does not always end its body.
  const cancel = () => reader.cancel().catch(() => {});
  signal.addEventListener("abort", cancel);
  const decoder = new TextDecoder();
  let rest = "";
  let name = "";
  let data = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    on.heard();
    // A last carriage return may be half of a line's end.
    const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, field, text = ""] = /^([^:]*):? ?(.*)/.exec(line) ?? [];
      if (field === "event") name = text;
      if (field === "data") data += text + "\n";
      if (field === "retry") on.retry(+text);
      if (line) continue;
      if (data && on.event(name, JSON.parse(data))) return cancel();
      name = data = "";
    }
    if (rest.length + data.length > 65536) throw cancel();
  }
};
