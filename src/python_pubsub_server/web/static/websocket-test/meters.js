import { byId, fill } from "../page/dom.js";
import { say } from "../page/language.js";
import { bytes, count, duration, milliseconds } from "../page/text.js";
import { plainTile, Tile } from "../page/tile.js";

const MOST_TIMES = 200;

/** The tiles: transport, round trip, what came and went, how long the connection has been open. */
export class Meters {
  #tiles = {
    transport: plainTile({ name: "transport", title: "Transport" }),
    came: plainTile({ name: "came", title: "Received" }),
    went: plainTile({ name: "went", title: "Sent" }),
    open: plainTile({ name: "open", title: "Open for" }),
  };
  #trip = new Tile({ name: "trip", title: "Round trip", unit: "ms", text: milliseconds });
  #transport = { now: "", upgrade: "" };
  #came = { number: 0, bytes: 0 };
  #went = { number: 0, bytes: 0 };
  #took = []; // newest last
  #openedAt = null;
  #losses = 0;

  constructor() {
    const { transport, came, went, open } = this.#tiles;
    byId("meters").append(transport, this.#trip.element, came, went, open);
    setInterval(() => document.hidden || this.#show(), 1_000);
    this.#show();
  }

  transport(name) {
    this.#transport.now = name;
    if (name === "") this.#transport.upgrade = "";
    this.#show();
  }

  upgraded({ isDone, ms, reason }) {
    this.#transport.upgrade = isDone
      ? say("upgraded after {ms} ms", { ms: milliseconds(ms) })
      : say("not upgraded: {reason}", { reason });
    this.#show();
  }

  heard({ isOwn, size, took, at }) {
    const sum = isOwn ? this.#went : this.#came;
    sum.number += 1;
    sum.bytes += size;
    if (took !== undefined) {
      this.#took = [...this.#took, took].slice(-MOST_TIMES);
      this.#trip.add(at, took);
    }
  }

  state({ name }) {
    if (name === "connected") this.#openedAt = Date.now() / 1000;
    else {
      if (name === "reconnecting" && this.#openedAt !== null) this.#losses += 1;
      this.#openedAt = null;
    }
    this.#show();
  }

  #show() {
    const { transport, came, went, open } = this.#tiles;
    const names = { websocket: "WebSocket", polling: say("Polling"), "": "–" };
    fill(transport, { value: names[this.#transport.now], also: this.#transport.upgrade });
    fill(came, { value: count(this.#came.number), also: bytes(this.#came.bytes) });
    fill(went, { value: count(this.#went.number), also: bytes(this.#went.bytes) });
    const since = this.#openedAt === null ? "–" : duration(Date.now() / 1000 - this.#openedAt);
    fill(open, { value: since, also: say("lost {number} times", { number: count(this.#losses) }) });
    this.#showTrip();
  }

  #showTrip() {
    if (!this.#took.length) return fill(this.#trip.element, { also: say("nothing was answered yet") });
    const sorted = this.#took.toSorted((one, two) => one - two);
    const middle = sorted[Math.floor(sorted.length / 2)];
    const numbers = { least: milliseconds(sorted[0]), middle: milliseconds(middle), most: milliseconds(sorted.at(-1)) };
    this.#trip.draw(this.#took.at(-1), Date.now() / 1000, say("median {middle}, {least} to {most}", numbers));
  }
}
