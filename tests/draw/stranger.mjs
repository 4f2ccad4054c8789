// A stranger's check of a published draw, written from docs/reference/draw.md alone: node stranger.mjs FILE
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const hmac = (key, message) => createHmac("sha256", key).update(message).digest();

function treeHash(entries, from = 0, to = entries.length) {
  if (to === from) return sha256(Buffer.alloc(0));
  if (to - from === 1) return sha256(Buffer.from([0]), entries[from]);
  let k = 1;
  while (2 * k < to - from) k *= 2;
  return sha256(Buffer.from([1]), treeHash(entries, from, from + k), treeHash(entries, from + k, to));
}

const draw = JSON.parse(readFileSync(process.argv[2], "utf8"));
const secret = Buffer.from(draw.secret, "hex");
const root = Buffer.from(draw.root, "hex");
const value = Buffer.from(draw.beacon ? draw.beacon.value : "", "utf8");
const seed = hmac(secret, Buffer.concat([root, value]));
const entries = draw.entries.map((entry) => Buffer.from(entry, "hex"));
const faults = [];
if (sha256(secret).toString("hex") !== draw.commitment) faults.push("commitment");
if (!treeHash([...entries].sort(Buffer.compare)).equals(root)) faults.push("root");
const keys = entries.map((entry) => hmac(seed, entry));
if (keys.some((key, rank) => rank > 0 && Buffer.compare(keys[rank - 1], key) >= 0)) faults.push("order");
console.log(JSON.stringify(faults));
process.exit(faults.length ? 1 : 0);
