/** A page with a live graph: puts the parts together. The layout is all in which such pages differ. */
import * as access from "../page/access.js";
import { byId, setText } from "../page/dom.js";
import { getJSON } from "../page/http.js";
import { say } from "../page/language.js";
import { watch } from "../page/monitoring.js";
import { openShell } from "../page/shell.js";
import { count } from "../page/text.js";
import { finder } from "../page/topics.js";
import { PubSubClient } from "../pubsub-client.js";
import { Details, rateText } from "./details.js";
import { Drawing } from "./drawing.js";
import { savePng, saveSvg } from "./export.js";
import { nearest } from "./keyboard.js";
import { Model } from "./model.js";
import { chosenNames, Ruler } from "./names.js";
import { Pulses } from "./pulses.js";
import { View } from "./view.js";

const REFRESH_MS = 3_000;
const SOON_MS = 250; // one reading for many changes
const REST = 15; // how much longer than a reading took the page rests before the next

export class GraphPage {
  #svg = byId("graph");
  #model = new Model();
  #layout;
  #drawing;
  #view;
  #pulses;
  #details = new Details(() => this.#choose(undefined));
  #latest = null; // what the server said last
  #chosen; // a node's id
  #pointed; // a node's id, the one under the pointer
  #focused; // ... with the keyboard's focus
  #names = new Map(); // those that are drawn while none is asked for
  #naming = 0;
  #ruler = new Ruler(getComputedStyle(document.body).fontFamily);
  #planned = 0;
  #rest = 0;

  /** @param {{name, place, curve, spots}} layout */
  constructor(layout) {
    this.#layout = layout;
    const client = new PubSubClient(location.origin, { auth: access.handshake });
    openShell(client);
    this.#drawing = new Drawing(this.#svg, layout);
    this.#view = new View(this.#svg, {
      spots: layout.spots,
      ruler: this.#ruler,
      onMove: () => this.#nameSoon(),
    });
    this.#pulses = new Pulses(byId("pulses"), this.#view, this.#model);
    this.#listen(client);
    this.#watchControls();
    setInterval(() => access.standing.mayWatch && this.#readSoon(), REFRESH_MS);
    document.addEventListener("visibilitychange", () => access.standing.mayWatch && this.#readSoon());
    new ResizeObserver(() => this.#view.fit(this.#model.nodes.values())).observe(this.#svg);
  }

  #listen(client) {
    const soon = () => this.#readSoon();
    const listeners = {
      connect: () => this.#read(),
      new_client: soon,
      client_disconnected: soon,
      new_consumption: ({ consumer, topic }) => this.#meet("consume", consumer, topic),
      new_message: (message) => {
        this.#meet("publish", message.producer, message.topic);
        this.#pulses.run(message);
      },
      stats: (stats) => this.#showStats(stats),
    };
    watch(client, listeners, (error) => this.#fail(error));
  }

  /** Reads the graph again when something is heard of that it lacks, if it could have room for it. */
  #meet(kind, name, topic) {
    if (!this.#latest?.truncated && !this.#model.knows(kind, name, topic)) this.#readSoon();
  }

  /** Not while nobody looks. */
  #readSoon() {
    if (document.hidden) return;
    this.#planned ||= setTimeout(() => this.#read(), Math.max(SOON_MS, this.#rest));
  }

  async #read() {
    clearTimeout(this.#planned);
    this.#planned = 0;
    try {
      this.#latest = (await getJSON("/graph/state")).rows;
      this.#fail(null);
      const start = performance.now();
      this.#show();
      this.#rest = REST * (performance.now() - start);
    } catch (error) {
      this.#fail(error);
    }
  }

  #show() {
    if (!this.#latest) return;
    const accepts = finder(byId("filter").value);
    const hasChanged = this.#model.update(this.#latest, accepts);
    if (hasChanged) {
      const { clientWidth: width, clientHeight: height } = this.#svg;
      this.#layout.place(this.#model, { width, height });
    }
    this.#drawing.draw(this.#model);
    if (hasChanged) this.#view.fit(this.#model.nodes.values());
    this.#choose(this.#chosen);
    const { nodes } = this.#model;
    const number = (kind) => count([...nodes.values()].filter((node) => node.kind === kind).length);
    setText(
      byId("graph-counts"),
      say("{producers} producers, {topics} topics, {consumers} consumers", {
        producers: number("producer"),
        topics: number("topic"),
        consumers: number("consumer"),
      }),
    );
    byId("graph-truncated").hidden = !this.#latest.truncated;
    byId("graph-empty").hidden = this.#latest.links.length > 0;
    byId("graph-nothing-found").hidden = nodes.size > 0 || this.#latest.links.length === 0;
    this.#keepOneTabStop();
  }

  #showStats({ publishes_per_second: published, deliveries_per_second: delivered, dropped }) {
    const text = say("{published} published, {delivered} delivered a second", {
      published: rateText(published),
      delivered: rateText(delivered),
    });
    setText(byId("graph-stats"), dropped ? `${text} · ${say("not every message is shown")}` : text);
  }

  #fail(error) {
    const reason = error && `${error.message} (${error.code})`;
    setText(byId("graph-error"), error ? say("Not up to date: {reason}", { reason }) : "");
  }

  #watchControls() {
    const fit = () => this.#view.fit(this.#model.nodes.values(), true);
    byId("filter").oninput = () => {
      this.#show();
      fit();
    };
    byId("zoom-in").onclick = () => this.#view.zoomIn();
    byId("zoom-out").onclick = () => this.#view.zoomOut();
    byId("zoom-fit").onclick = fit;
    byId("export-svg").onclick = () => saveSvg(this.#svg, this.#layout.name);
    byId("export-png").onclick = () => savePng(this.#svg, this.#layout.name);
    this.#svg.addEventListener("click", ({ target }) => {
      const node = target.closest(".node");
      if (node) this.#choose(node.dataset.id);
    });
    this.#svg.addEventListener("keydown", (event) => this.#key(event));
    this.#svg.addEventListener("pointerover", ({ target }) => {
      this.#pointed = target.closest(".node")?.dataset.id;
      this.#nameSoon();
    });
    this.#svg.addEventListener("pointerleave", () => {
      this.#pointed = undefined;
      this.#nameSoon();
    });
    // Not on the drawing itself: Chromium would make it a stop of the Tab key.
    for (const event of ["focusin", "focusout"]) {
      this.#svg.parentElement.addEventListener(event, () => {
        this.#focused = this.#svg.querySelector(".node:focus-visible")?.dataset.id;
        this.#nameSoon();
      });
    }
  }

  /** Chooses anew which names are drawn, once a frame. */
  #nameSoon() {
    this.#naming ||= requestAnimationFrame(() => {
      this.#naming = 0;
      this.#name();
    });
  }

  #name() {
    const chosen = this.#model.nodes.get(this.#chosen);
    const near = new Set(chosen?.edges.flatMap((edge) => [edge.source, edge.target]));
    const asked = [this.#chosen, this.#pointed, this.#focused].filter(Boolean);
    const first = (node) => {
      if (asked.includes(node.id)) return 2;
      if (!chosen) return 0;
      return near.has(node) ? 1 : -1;
    };
    const names = chosenNames([...this.#model.nodes.values()], {
      view: this.#view,
      spots: this.#layout.spots,
      width: (text) => this.#ruler.width(text),
      first,
      before: this.#names,
    });
    this.#drawing.name(this.#model, names, this.#view);
    if (!asked.length) this.#names = names; // afterwards the picture is as it was
  }

  #key(event) {
    const id = event.target.dataset?.id;
    if (event.key === "Enter" || event.key === " ") this.#choose(id);
    else if (event.key === "Escape") this.#choose(undefined);
    else {
      const next = nearest(this.#model.nodes.get(id), event.key, this.#model.nodes.values());
      if (!next) return;
      this.#drawing.element(next.id).focus();
      this.#keepOneTabStop(next.id);
    }
    event.preventDefault();
  }

  /** The graph is one stop of the Tab key; arrow keys go on from there. */
  #keepOneTabStop(id = document.activeElement?.dataset?.id) {
    const stop = this.#model.nodes.has(id) ? id : this.#model.nodes.keys().next().value;
    for (const node of this.#model.nodes.values()) {
      this.#drawing.element(node.id).setAttribute("tabindex", node.id === stop ? "0" : "-1");
    }
  }

  /** Shows a node's details and its neighbourhood; undefined: no node's. */
  #choose(id) {
    const node = this.#model.nodes.get(id);
    this.#chosen = node?.id;
    this.#details.show(node);
    this.#svg.dataset.chosen = Boolean(node);
    const near = new Set(node ? [node.id] : []);
    for (const edge of node?.edges ?? []) near.add(edge.id).add(edge.source.id).add(edge.target.id);
    this.#pulses.only = node ? near : null;
    for (const each of [...this.#model.nodes.keys(), ...this.#model.edges.keys()]) {
      this.#drawing.element(each).classList.toggle("near", near.has(each));
    }
    this.#nameSoon();
  }
}
