/** @type {import("./types.js").ShareAmongTabs} */
export const shareAmongTabs = (name, signal, { hear, latest, changed }) => {
  const channel = new BroadcastChannel(name);
  const greet = () => channel.postMessage({ visible: !document.hidden });
  let turn = new AbortController();
  const tabs = {
    leading: false,
    say: () => tabs.leading && channel.postMessage({ said: latest(), hidden: document.hidden }),
  };
  const lead = (leading = true) => {
    tabs.leading = leading;
    changed();
  };

  channel.onmessage = ({ data }) => {
    // A hidden tab yields to a visible one, also if it only waits for its turn.
    if (data.visible && document.hidden) turn.abort();
    else if (data.said) hear(data.said);
    else tabs.say();
    if (data.hidden && !document.hidden) greet();
  };
  document.addEventListener("visibilitychange", () => document.hidden || greet(), { signal });
  signal.addEventListener("abort", () => {
    turn.abort();
    tabs.leading = false;
    channel.close();
  });

  (async () => {
    while (!signal.aborted) {
      turn = new AbortController();
      const { signal: until } = turn;
      const held = navigator.locks.request(name, { signal: until }, async () => {
        lead();
        await new Promise((resolve) => until.addEventListener("abort", resolve));
        lead(false);
      });
      // After the request: this tab is the next one if another yields.
      greet();
      try {
        await held;
      } catch (error) {
        // A frame without an origin gets no locks.
        if (!until.aborted) return lead();
      }
    }
  })();
  return tabs;
};
