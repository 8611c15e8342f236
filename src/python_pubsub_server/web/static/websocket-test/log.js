import { copyText } from "../page/copy.js";
import { byId, fill, instantiate, setText } from "../page/dom.js";
import { Feed } from "../page/feed.js";
import { language, say } from "../page/language.js";
import { bytes, count, milliseconds, oneLine, pretty } from "../page/text.js";

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hour12: false };

/** Every frame in and out, to be filtered, paused and copied. */
export class Log {
  #filter = byId("frames-filter");
  #ways = byId("frames-way");
  #small = byId("frames-small");
  #feed = new Feed(byId("frames"), {
    pause: byId("frames-pause"),
    accepts: () => this.#accepts(),
    render: ({ frame }) => build(frame),
    onDraw: () => this.#showCounts(),
  });

  constructor() {
    byId("frames-clear").onclick = () => this.#feed.clear();
    byId("frames-copy").onclick = ({ target }) => copyText(this.#feed.passing.reverse().map(line).join("\n"), target);
    this.#filter.oninput = () => this.#feed.showAnew();
    for (const choice of [this.#ways, this.#small]) choice.onchange = () => this.#feed.showAnew();
    this.#feed.showAnew();
  }

  /** Hears of a frame, or of what the page itself notes: `{at, kind: "note", event, value}`. */
  add(frame) {
    this.#feed.add({ frame });
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

  #showCounts() {
    const { shown, records } = this.#feed;
    setText(byId("frames-count"), count(shown.length));
    byId("frames-empty").hidden = shown.length > 0;
    byId("frames-copy").disabled = shown.length === 0;
    byId("frames-clear").disabled = records.length === 0;
  }
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
