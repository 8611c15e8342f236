import { copyText } from "../page/copy.js";
import { byId, fill, instantiate, setText } from "../page/dom.js";
import { language, say } from "../page/language.js";
import { bytes, count, milliseconds, oneLine, pretty } from "../page/text.js";

const MOST_SHOWN = 200;
const MOST_KEPT = 1_000;
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false };

/**
 * Every frame in and out, newest first: of the last 1,000 those that pass the filter. While paused
 * the list stands still, and the newest wait.
 */
export class Log {
  #list = byId("frames");
  #filter = byId("frames-filter");
  #ways = byId("frames-way");
  #small = byId("frames-small");
  #records = []; // newest first
  #shown = [];
  #waiting = []; // oldest first
  #isPaused = false;
  #frame = 0;

  constructor() {
    byId("frames-pause").onclick = () => this.#pause(!this.#isPaused);
    byId("frames-clear").onclick = () => {
      this.#records = [];
      this.#waiting = [];
      this.#showAnew();
    };
    byId("frames-copy").onclick = ({ target }) => copyText(this.#passing().reverse().map(line).join("\n"), target);
    this.#filter.oninput = () => this.#showAnew();
    this.#ways.onchange = () => this.#showAnew();
    this.#small.onchange = () => this.#showAnew();
    this.#showAnew();
  }

  /** Hears of a frame, or of what the page itself notes: `{at, kind: "note", event, value}`. */
  add(frame) {
    this.#waiting.push({ frame });
    if (this.#waiting.length > 2 * MOST_KEPT) this.#waiting.splice(0, MOST_KEPT);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#frame = 0;
    if (!this.#isPaused && this.#waiting.length) {
      const fresh = this.#waiting.slice(-MOST_KEPT).reverse();
      this.#waiting = [];
      this.#records = [...fresh, ...this.#records].slice(0, MOST_KEPT);
      this.#add(fresh);
    }
    this.#showCounts();
  }

  #add(fresh) {
    const accepts = this.#accepts();
    const passing = fresh.filter(accepts).slice(0, MOST_SHOWN);
    this.#list.prepend(...passing.map(elementOf));
    const shown = [...passing, ...this.#shown];
    for (const record of shown.slice(MOST_SHOWN)) {
      record.element.remove();
      record.element = undefined;
    }
    this.#shown = shown.slice(0, MOST_SHOWN);
  }

  #showAnew() {
    this.#shown = this.#passing().slice(0, MOST_SHOWN);
    this.#list.replaceChildren(...this.#shown.map(elementOf));
    this.#showCounts();
  }

  #passing() {
    return this.#records.filter(this.#accepts());
  }

  #accepts() {
    const words = this.#filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const way = this.#ways.value;
    const withSmall = this.#small.checked;
    return ({ frame }) => {
      if (!withSmall && (frame.isPing || frame.kind === "engine")) return false;
      if (way && frame.kind !== "note" && frame.isOwn !== (way === "sent")) return false;
      const text = `${frame.event}\n${frame.kind}\n${frame.raw ?? ""}`.toLowerCase();
      return words.every((word) => text.includes(word));
    };
  }

  #pause(isPaused) {
    this.#isPaused = isPaused;
    this.#draw();
  }

  #showCounts() {
    const pause = byId("frames-pause");
    const missed = this.#waiting.length;
    const goOn = missed ? say("Go on ({number} new)", { number: count(missed) }) : say("Go on");
    pause.setAttribute("aria-pressed", String(this.#isPaused));
    setText(pause, this.#isPaused ? goOn : say("Pause"));
    setText(byId("frames-count"), count(this.#shown.length));
    byId("frames-empty").hidden = this.#shown.length > 0;
    byId("frames-copy").disabled = this.#shown.length === 0;
    byId("frames-clear").disabled = this.#records.length === 0;
  }
}

function elementOf(record) {
  record.element ??= build(record.frame);
  return record.element;
}

function build(frame) {
  const element = instantiate("frame-template", {
    event: nameOf(frame),
    preview: frame.value === undefined ? "" : oneLine(frame.value),
    took: frame.took === undefined ? "" : `${milliseconds(frame.took)} ms`,
    size: frame.size === undefined ? "" : bytes(frame.size),
    way: wayOf(frame),
  });
  element.dataset.kind = isRefusal(frame) ? "refusal" : frame.kind;
  element.dataset.way = frame.kind === "note" ? "note" : frame.isOwn ? "sent" : "received";
  const time = element.querySelector("time");
  const date = new Date(frame.at * 1000);
  time.dateTime = date.toISOString();
  setText(time, date.toLocaleTimeString(language, CLOCK));
  const details = element.querySelector("details");
  details.ontoggle = () => {
    if (!details.open) return;
    fill(element, { pretty: frame.value === undefined ? "" : pretty(frame.value), raw: cut(frame.raw ?? "") });
  };
  element.querySelector("[data-copy-frame]").onclick = ({ target }) => copyText(frame.raw || line({ frame }), target);
  return element;
}

function nameOf({ kind, event, id }) {
  if (kind === "ack") return event ? say("answer to {event}", { event }) : say("answer {id}", { id });
  return event;
}

function wayOf({ kind, isOwn }) {
  if (kind === "note") return say("note");
  return isOwn ? say("sent") : say("received");
}

function isRefusal({ kind, event, value }) {
  return kind === "malformed" || event === "connect error" || (kind === "event" && event === "error") || (kind === "ack" && value?.status === "error");
}

/** A frame on one line, as it is copied. */
function line({ frame }) {
  const way = frame.kind === "note" ? "--" : frame.isOwn ? "->" : "<-";
  return `${new Date(frame.at * 1000).toISOString()} ${way} ${frame.raw || `${frame.event} ${frame.value ?? ""}`}`;
}

function cut(text) {
  return text.length > 20_000 ? `${text.slice(0, 20_000)}…` : text;
}
