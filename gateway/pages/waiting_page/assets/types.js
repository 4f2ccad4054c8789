/**
 * The types of the client. No browser loads this file.
 *
 * Times that end in `At` or `By`, `serverTime` and `opensAt` are epoch milliseconds by the server's clock: compare them
 * with `place.now()`, not with `Date.now()`.
 *
 * @typedef {object} Common
 * @property {boolean} connected Whether the gateway answers. While it does not, the place is safe, and the client tries on.
 * @property {string} [notice] What the operators have to say.
 *
 * @typedef {object} InLine
 * @property {"WAITING"} state
 * @property {string} room
 * @property {number} ticket Only grows; a new one after lining up again.
 * @property {number} userQueuePosition 1 is next.
 * @property {number} totalQueueSize
 * @property {number} usersBehind
 * @property {number} [estimatedWaitSeconds]
 * @property {[number, number]} [estimatedWaitRange] Half of such waits do not exceed the first number of seconds, nine in
 *   ten do not exceed the second.
 * @property {true} [paused] No one is admitted at the moment.
 * @property {string} [lane]
 * @property {true} [unlikely] What is left will probably be gone before this user's turn.
 * @property {"RETURNED" | "OPERATOR"} [reason] Why the position rose.
 * @typedef {Common & InLine} Waiting
 *
 * @typedef {object} InPreQueue
 * @property {"REGISTERED"} state
 * @property {string} room
 * @property {number} opensAt 0 while no moment is set.
 * @property {number} serverTime
 * @property {number} registered How many users are registered.
 * @property {string} [receipt] For the draw.
 * @typedef {Common & InPreQueue} Registered
 *
 * @typedef {object} Inside
 * @property {"ALLOWED_IN"} state
 * @property {string} room
 * @property {number} expiresInSeconds
 * @property {number} [claimBy] Until when a gated call or `claim()` must come.
 * @property {string} [pass] The signed pass.
 * @typedef {Common & Inside} AllowedIn
 *
 * @typedef {object} NotYet
 * @property {"RETRYING"} state No place yet. The client goes on trying.
 * @property {string} code Why: `ROOM_CLOSED`, `ROOM_FULL`, `TOO_MANY_PLACES`, …, or `UNREACHABLE`.
 * @property {string} [message] For people, in the language asked for. Only the gateway's answers have one.
 * @property {number} retryAt
 * @property {number} [opensAt]
 * @property {number} [registersAt] When the pre-queue begins.
 * @typedef {Common & NotYet} Retrying
 *
 * @typedef {object} NoPlace
 * @property {"ENDED"} state There is no place, or none any more.
 * @property {string} code `REMOVED`, `SOLD_OUT`, `MOVED`, `NOT_IN_QUEUE`, `NOT_ELIGIBLE`, `COOKIE_REQUIRED`,
 *   `TOKEN_EXPIRED`, …
 * @property {string} [message] For people, in the language asked for. `leave()` and other servers bring none.
 * @property {string} [reason] Of `REMOVED`: `LEFT`, `ABSENT`, `UNCLAIMED`, `OPERATOR`.
 * @property {number} [status] Of the answer that said so.
 * @typedef {Common & NoPlace} Ended
 *
 * @typedef {Waiting | Registered | AllowedIn | Retrying | Ended} QueueState
 *
 * @typedef {object} QueueOptions
 * @property {string} [base] Where the gateway is, such as `https://shop.example`. Without it: the page's own origin.
 * @property {string} [room] Without it: `default`.
 * @property {string | (() => string | undefined | Promise<string | undefined>)} [token] The user's token, or a function
 *   that has a good one. Without it the browser's cookies say who waits.
 * @property {string} [invite] An invitation.
 * @property {typeof fetch} [fetch] Makes the calls in place of the global one, with headers and credentials of its own.
 *
 * @typedef {object} JoinOnly
 * @property {AbortSignal} [signal] Ends the connection. It does not give up the place.
 * @property {boolean} [lineup] False: only shows a place that exists already.
 * @property {boolean | string} [share] Whether the tabs of this browser share one stream. Without it they do where cookies
 *   say who waits. With a token give the user's id here, since other tabs may belong to other users.
 * @typedef {QueueOptions & JoinOnly} JoinOptions
 *
 * @typedef {object} Answer
 * @property {number} status 0 if there was none.
 * @property {any} body The JSON, or an empty object.
 * @property {string} [code] The error's code.
 * @property {number} retryAfter Milliseconds; 0 if the answer does not say.
 *
 * @typedef {object} OnePlace A user's place in a room. `for await` gives its states; the last one is `ALLOWED_IN` or `ENDED`.
 * @property {QueueState | undefined} state The last state.
 * @property {() => number} now Epoch milliseconds by the server's clock.
 * @property {() => Promise<QueueState | undefined>} claim Claims the slot, and renews the session. Fails without one.
 * @property {() => Promise<void>} leave Gives up place or slot. Fails if the gateway does not say that it is done.
 * @property {() => void} close Ends the connection. It does not give up the place. So does leaving the loop.
 * @typedef {OnePlace & { [Symbol.asyncIterator](): AsyncGenerator<QueueState, void> }} Place
 *
 * @callback Join
 * @param {JoinOptions} [options]
 * @returns {Place}
 *
 * @callback WithQueue
 * @param {typeof fetch} [send]
 * @param {QueueOptions & { onState?: (state: QueueState) => void }} [options]
 * @returns {typeof fetch}
 *
 * @callback ReadEvents Reads server-sent events to the end of the stream, or until `event` says true.
 * @param {ReadableStream<Uint8Array>} body
 * @param {AbortSignal} signal Ends it, without an error.
 * @param {{ heard: () => void, retry: (ms: number) => void, event: (name: string, data: any) => unknown }} on `heard`:
 *   something has come, be it a comment. `data` was JSON.
 * @returns {Promise<unknown>}
 *
 * @callback ShareAmongTabs Lets one tab of a browser lead at a time, and the others hear what it says.
 * @param {string} name Of lock and channel.
 * @param {AbortSignal} signal Ends it for this tab.
 * @param {{ hear: (said: Said) => void, latest: () => Said, changed: () => void }} on `latest` is what a leading tab says,
 *   `changed` is called when this tab begins or ceases to lead.
 * @returns {{ leading: boolean, say: () => void }}
 *
 * @typedef {{ state?: any, now: number }} Said
 */
export {};
