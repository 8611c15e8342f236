/** A poll: suggestions on which each user has one vote. */
import { byId, fill, instantiate, setText } from "../page/dom.js";
import { getJSON, sendJSON } from "../page/http.js";
import { say } from "../page/language.js";

const CHOICES = [
  ["demo-tea", "Tea"],
  ["demo-coffee", "Coffee"],
  ["demo-water", "Water"],
];

export class Poll {
  #elements = new Map(); // id → element
  #own = {}; // id → value
  #voter;
  #key;

  /** @param {string | null} user null: the server knows the user by a token */
  constructor(client, user) {
    this.#voter = user === null ? {} : { user };
    this.#key = `pubsub-demo-votes ${user ?? ""}`;
    this.#own = JSON.parse(sessionStorage.getItem(this.#key) ?? "{}");
    for (const [id, name] of CHOICES) this.#add(id, say(name));
    const channel = client.channel("suggestions:votes");
    channel.on("suggestion:vote", (tally) => this.#show(tally));
    channel.on("subscribed", () => this.#load()); // from the second connection on
    channel.on("error", ({ message }) => this.#complain(message));
    this.#load();
  }

  async #load() {
    try {
      for (const [id] of CHOICES) this.#show((await getJSON(`/api/suggestions/${id}`)).rows);
      this.#complain("");
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #add(id, name) {
    const element = instantiate("choice-template", { name });
    element.querySelector("meter").setAttribute("aria-label", say("Share of votes for {name}", { name }));
    for (const button of element.querySelectorAll("[data-value]")) {
      button.setAttribute("aria-label", `${button.textContent}: ${name}`);
      button.onclick = () => this.#vote(id, Number(button.dataset.value));
    }
    this.#elements.set(id, element);
    byId("poll").append(element);
    this.#show({ suggestion_id: id, score: 0, up: 0, down: 0 });
  }

  #show({ suggestion_id: id, score, up, down }) {
    const element = this.#elements.get(id);
    const isTally = [score, up, down].every(Number.isFinite);
    if (!element || !isTally) return; // another page's, or of another shape
    const counts = say("{up} for it, {down} against it", { up, down });
    fill(element, { score: score > 0 ? `+${score}` : String(score).replace("-", "−"), counts });
    const meter = element.querySelector("meter");
    meter.max = Math.max(1, up + down);
    meter.value = up;
    for (const button of element.querySelectorAll("[data-value]")) {
      button.setAttribute("aria-pressed", String(this.#own[id] === Number(button.dataset.value)));
    }
  }

  async #vote(id, wanted) {
    this.#complain("");
    const value = this.#own[id] === wanted ? 0 : wanted; // once more takes it back
    try {
      const { rows } = await sendJSON(`/api/suggestions/${id}/votes`, { value, ...this.#voter });
      this.#own[id] = value;
      sessionStorage.setItem(this.#key, JSON.stringify(this.#own));
      this.#show(rows);
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #complain(text) {
    setText(byId("poll-problem"), text);
  }
}
