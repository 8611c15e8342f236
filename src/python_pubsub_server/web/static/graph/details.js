import { arrange, byId, fill, instantiate, setText } from "../page/dom.js";
import { language, say } from "../page/language.js";
import { count } from "../page/text.js";
import { KINDS } from "./drawing.js";

const MOST_SHOWN = 50;
const STATES = { flowing: "flowing", silent: "silent", away: "not connected" };

/** The card that says all about the node that is chosen. */
export class Details {
  #card = byId("details");
  #onClose;

  /** @param {() => void} onClose */
  constructor(onClose) {
    this.#onClose = onClose;
    byId("details-close").onclick = () => this.#onClose();
  }

  /** @param {GraphNode | undefined} node nothing hides the card */
  show(node) {
    this.#card.hidden = !node;
    if (!node) return;
    fill(this.#card, {
      kind: say(KINDS[node.kind]),
      name: node.name,
      rate: say(node.kind === "consumer" ? "{rate} confirmed a second" : "{rate} messages a second", {
        rate: rateText(node.rate),
      }),
    });
    const edges = [...node.edges].sort((one, two) => two.flow - one.flow || two.count - one.count);
    arrange(byId("details-edges"), edges.slice(0, MOST_SHOWN).map((edge) => row(edge, node)));
    const hidden = edges.length - MOST_SHOWN;
    setText(byId("details-more"), hidden > 0 ? say("and {number} more", { number: count(hidden) }) : "");
  }
}

function row(edge, node) {
  const other = edge.source === node ? edge.target : edge.source;
  const verb = edge.kind === "publish" ? "{count} published" : "{count} confirmed";
  const element = instantiate("details-edge-template", {
    name: other.name,
    kind: say(KINDS[other.kind]),
    count: say(verb, { count: count(edge.count) }),
    state: say(STATES[edge.state]),
    lag: edge.lag ? say("{count} not confirmed yet", { count: count(edge.lag) }) : "",
  });
  element.dataset.delay = edge.delay;
  element.querySelector('[data-field="state"]').dataset.state = edge.state;
  return element;
}

export function rateText(rate) {
  return rate.toLocaleString(language, { maximumFractionDigits: rate < 10 ? 1 : 0 });
}
