import { publishCommand } from "../page/copy.js";
import { byId, fill, setName, setText } from "../page/dom.js";
import { say } from "../page/language.js";
import { count, rate, showTime } from "../page/text.js";
import { leadTo } from "../panel/places.js";
import { Entries } from "./entries.js";
import { PAGE, read, since } from "./reader.js";

const MOST_SHOWN = 50; // of the newest, while they come
const SOON_MS = 150;
const REST_MS = 1_000; // so that a busy topic is not read more often

/** A topic's page: its messages, found or by sequence, and what became of each. */
export class TopicView {
  #places;
  #topics;
  #entries = new Entries();
  #place = null; // what is shown; null while another view is
  #page = null; // what was read last
  #isReading = false;
  #readAt = -Infinity;
  #planned = 0;

  /** @param {{get: (topic) => object | undefined}} topics */
  constructor(places, topics) {
    this.#places = places;
    this.#topics = topics;
    byId("topic-find").onsubmit = (event) => {
      event.preventDefault();
      const [q, producer] = ["topic-q", "topic-producer"].map((id) => byId(id).value.trim());
      places.go({ topic: this.#place.topic, q, producer });
    };
    document.addEventListener("visibilitychange", () => this.#place && this.hear(this.#place.topic));
    byId("topic-go").onsubmit = (event) => {
      event.preventDefault();
      this.#goTo(byId("topic-at"));
    };
  }

  /** Shows a place of a topic; null: another view is shown. */
  show(place) {
    const isOther = place?.topic !== this.#place?.topic;
    this.#place = place;
    this.#page = null;
    if (!place) return;
    if (isOther) this.#entries.clear();
    setName(byId("topic-name"), place.topic);
    byId("topic-q").value = place.q ?? "";
    byId("topic-producer").value = place.producer ?? "";
    byId("topic-at").value = place.at ?? "";
    byId("topic-at").removeAttribute("aria-invalid");
    setText(byId("topic-error"), "");
    this.showFacts();
    this.#read();
  }

  /** Hears that something may have come on a topic. */
  hear(topic) {
    if (topic !== this.#place?.topic) return;
    const wait = Math.max(SOON_MS, this.#readAt + REST_MS - performance.now());
    this.#planned ||= setTimeout(() => this.#refresh(), wait);
  }

  /** Hears that a message of a topic was confirmed. */
  hearConfirmed(topic) {
    if (topic === this.#place?.topic) this.#entries.refreshLedgers();
  }

  /** Reads again what is not fixed. */
  #refresh() {
    clearTimeout(this.#planned);
    this.#planned = 0;
    if (!this.#place || document.hidden) return;
    this.#entries.refreshLedgers();
    const { q, producer, at, before } = this.#place;
    if (at === undefined && !before) this.#read(Boolean(q || producer));
  }

  showFacts() {
    if (!this.#place) return;
    const row = this.#topics.get(this.#place.topic);
    const box = byId("topic-facts");
    box.hidden = !row;
    if (!row) return;
    fill(box, {
      rate: row.rate === null ? "–" : say("{rate} a second", { rate: rate(row.rate) }),
      messages: count(row.messages),
      last: count(row.sequence),
      producers: count(row.producers),
      subscribers: count(row.subscribers),
    });
    showTime(box.querySelector("time"), row.last_published_at);
  }

  async #read(isAnew = true) {
    if (this.#isReading) {
      this.#planned ||= setTimeout(() => this.#refresh(), SOON_MS);
      return;
    }
    this.#isReading = true;
    this.#readAt = performance.now();
    const place = this.#place;
    try {
      const page = (!isAnew && (await this.#readOn(place))) || (await read(place));
      if (place === this.#place) this.#showPage(page);
    } catch (error) {
      if (place === this.#place) {
        setText(byId("topic-error"), say("Not up to date: {reason}", { reason: `${error.message} (${error.code})` }));
      }
    } finally {
      this.#isReading = false;
    }
    if (this.#place && place !== this.#place) this.#read();
  }

  /** What is shown and what came since; null where that can't be told together. */
  async #readOn({ topic }) {
    const page = this.#page;
    if (!page?.messages.length || page.last === undefined) return null;
    const { messages, last } = await since(topic, page.last);
    if (last < page.last || last - page.last > PAGE) return null; // another log, or too far
    const shown = [...messages, ...page.messages].slice(0, MOST_SHOWN);
    const lowest = shown.at(-1).sequence;
    return { ...page, messages: shown, last, older: lowest > page.first ? { topic, at: lowest - 1 } : null };
  }

  #showPage(page) {
    const { at, q, producer } = this.#place;
    const isFirst = this.#page === null;
    this.#page = page;
    setText(byId("topic-error"), "");
    this.#entries.show(page.messages, at);
    setText(byId("topic-state"), this.#title());
    this.#lead("topic-newer", page.newer);
    this.#lead("topic-older", page.older);
    this.#lead("topic-newest", at || q || producer || this.#place.before ? { topic: this.#place.topic } : null);
    this.#showEmpty(page);
    if (isFirst && at) document.querySelector("#topic-messages [aria-current]")?.scrollIntoView({ block: "nearest" });
  }

  #title() {
    const { at, q, producer } = this.#place;
    if (q || producer) return say("Found");
    return at === undefined ? say("Newest messages") : say("Up to #{number}", { number: count(at) });
  }

  #lead(id, place) {
    const link = byId(id);
    link.setAttribute("aria-disabled", String(!place));
    if (place) leadTo(link, place);
    else link.removeAttribute("href");
  }

  #showEmpty({ messages, first, last }) {
    const { topic, at, q, producer } = this.#place;
    const isSearch = Boolean(q || producer);
    byId("topic-empty").hidden = messages.length > 0 || isSearch || last > 0;
    byId("topic-nothing-found").hidden = messages.length > 0 || !isSearch;
    byId("topic-trimmed").hidden = messages.length > 0 || isSearch || last === 0;
    const body = JSON.stringify({ topic, message_id: "m-1", message: { text: "Hello" }, producer: "curl" });
    setText(byId("topic-empty").querySelector("code"), publishCommand(body));
    if (messages.length || isSearch || !last) return;
    fill(byId("topic-trimmed"), { told: say("#{at} was deleted by retention; the first one kept is #{first}.", { at: count(at ?? last), first: count(first) }) });
    leadTo(byId("topic-first"), { topic, at: first });
  }

  #goTo(input) {
    const at = Number(input.value);
    const isSequence = Number.isSafeInteger(at) && at >= 1;
    setText(byId("topic-error"), isSequence ? "" : say("A sequence is a whole number from 1."));
    input.setAttribute("aria-invalid", String(!isSequence));
    if (isSequence) this.#places.go({ topic: this.#place.topic, at });
    else input.focus();
  }
}
