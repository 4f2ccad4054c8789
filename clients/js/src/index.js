export { join } from "./join.js";
export { withQueue } from "./with-queue.js";

/** @typedef {import("./types.js").JoinOptions} JoinOptions */
/** @typedef {import("./types.js").Place} Place */
/** @typedef {import("./types.js").QueueState} QueueState */
