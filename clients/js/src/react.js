import { useEffect, useReducer, useRef, useState } from "react";
import { join } from "./join.js";

/** @import { JoinOptions, QueueState } from "./types.js" */

/**
 * Takes a place in a room for as long as the component is there, and shows its state. Another room, gateway or sharing
 * means another place; other options are those of the moment in which a call is made.
 *
 * @param {JoinOptions & { enabled?: boolean }} [options] With `enabled: false` it asks nothing.
 */
export function useQueue(options = {}) {
  const { base, enabled = true, room, share } = options;
  /** @type {ReturnType<typeof useState<QueueState>>} */
  const [state, setState] = useState();
  const [round, rejoin] = useReducer((/** @type {number} */ count) => count + 1, 0);
  const latest = useRef(options);
  const place = useRef(/** @type {ReturnType<typeof join> | undefined} */ (undefined));

  useEffect(() => {
    latest.current = options;
  });
  useEffect(() => {
    if (!enabled) return undefined;
    const { token } = latest.current;
    const joined = join({
      ...latest.current,
      // The component may have got a new one since.
      token: typeof token === "function" ? () => current(latest.current.token) : token,
    });
    place.current = joined;
    (async () => {
      for await (const each of joined) if (place.current === joined) setState(each);
    })();
    return () => {
      place.current = undefined;
      joined.close();
      setState(undefined);
    };
  }, [base, enabled, room, share, round]);

  return {
    state,
    /** Gives up the place or the slot. */
    leave: async () => {
      const left = place.current;
      await left?.leave();
      if (left && left === place.current) setState(left.state);
    },
    /** Claims the slot, and renews the session. */
    claim: async () => {
      const claimed = await place.current?.claim();
      setState(claimed);
      return claimed;
    },
    /** Takes a place again after the last one ended. */
    rejoin: () => rejoin(),
    /** Epoch milliseconds by the server's clock. */
    now: () => place.current?.now() ?? Date.now(),
  };
}

/** @param {JoinOptions["token"]} token */
const current = (token) => (typeof token === "function" ? token() : token);
