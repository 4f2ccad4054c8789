import { join } from "./join.js";

/** @import * as Types from "./types.js" */

/** Makes a refused call again, once the user is let in. @type {Types.WithQueue} */
export const withQueue = (send = fetch, options = {}) => {
  /** @type {Map<string, { place: Types.Place, end: Promise<Types.QueueState | undefined>, calls: number }>} */
  const waits = new Map();

  function wait(room = "") {
    const place = join({ ...options, room });
    const end = (async () => {
      for await (const state of place) options.onState?.(state);
      return place.state;
    })();
    const made = { place, end, calls: 0 };
    waits.set(room, made);
    return made;
  }

  async function letIn(/** @type {AbortSignal} */ signal, room = "") {
    signal.throwIfAborted();
    const waiting = waits.get(room) ?? wait(room);
    waiting.calls++;
    const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    try {
      return (await Promise.race([waiting.end, aborted]))?.state === "ALLOWED_IN";
    } finally {
      if (!--waiting.calls) {
        waits.delete(room);
        waiting.place.close();
      }
    }
  }

  return async (input, init) => {
    const request = new Request(input, init);
    // The gate of another room would refuse it for ever.
    for (let tries = 3; ; tries--) {
      const response = await send(request.clone());
      const refused = tries && [403, 429].includes(response.status);
      const body = refused && (await response.clone().json().catch(() => 0));
      if (!/^(QUEUE_WAITING|NOT_IN_QUEUE)$/.test(body?.error?.code)) return response;
      // Another site does not say where to wait.
      const page = globalThis.document?.baseURI;
      const home = options.base || page;
      if (home && new URL(home, page).origin !== new URL(response.url || request.url).origin) return response;
      if (!(await letIn(request.signal, body.data?.room ?? options.room ?? "default"))) return response;
      // Frees the connection.
      response.body?.cancel();
    }
  };
};
