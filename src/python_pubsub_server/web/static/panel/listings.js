import { byId } from "../page/dom.js";
import { standing } from "../page/access.js";
import { getJSON } from "../page/http.js";
import { say } from "../page/language.js";
import { Listing } from "./listing.js";

const REFRESH_MS = 2_000;
const SOON_MS = 150; // one reading for many changes
const REST_MS = 1_000; // so that a busy server is not asked more often than a calm one
const PAGE = 25;

const topic = { title: "Topic", kind: "topic", value: (row) => row.topic };
const payload = { title: "Message", kind: "payload", value: (row) => row.message };

const SOURCES = [
  {
    name: "messages",
    title: "Messages",
    url: `/messages?limit=${PAGE}`,
    key: (row) => `${row.topic}\n${row.sequence}`,
    columns: [
      { title: "Published", kind: "time", value: (row) => row.timestamp },
      topic,
      { title: "#", kind: "sequence", value: (row) => row },
      { title: "Producer", kind: "name", value: (row) => row.producer },
      payload,
    ],
  },
  {
    name: "consumptions",
    title: "Confirmed",
    url: `/consumptions?limit=${PAGE}`,
    key: (row) => `${row.consumer}\n${row.topic}\n${row.message_id}\n${row.timestamp}`,
    columns: [
      { title: "Confirmed", kind: "time", value: (row) => row.timestamp },
      { title: "Consumer", kind: "name", value: (row) => row.consumer },
      topic,
      { title: "Message id", kind: "id", value: (row) => row.message_id },
      payload,
    ],
  },
];

/** Reads a route again and again for a table, one reading at a time. */
class Reading {
  table;
  #isInFlight = false;

  constructor(table) {
    this.table = table;
  }

  get isNeeded() {
    return this.table.isAlwaysNeeded ?? isPanelShown();
  }

  async refresh() {
    if (this.#isInFlight) return;
    this.#isInFlight = true;
    try {
      const { rows } = await getJSON(this.table.url);
      this.table.show(rows);
      this.table.fail("");
    } catch (error) {
      this.table.fail(say("Not up to date: {reason}", { reason: `${error.message} (${error.code})` }));
    } finally {
      this.#isInFlight = false;
    }
  }
}

function isPanelShown() {
  return !byId("panel-view").hidden;
}

/**
 * Shows the tables and keeps them fresh while the reader sees them.
 * @param {{url, show, fail, isAlwaysNeeded?}[]} tables that are read whole
 * @returns {(unchanged?: object) => void} refreshes soon, for when it is known that something
 *   changed; not the table that it is known not to concern
 */
export function showListings(tables) {
  const listings = [
    ...tables.map((table) => new Reading(table)),
    ...SOURCES.map((source) => new Listing(source)),
  ];
  const due = new Set(listings);
  let planned = 0;
  let readAt = -Infinity;
  const refresh = () => {
    clearTimeout(planned);
    planned = 0;
    if (document.hidden || !standing.mayWatch) return;
    readAt = performance.now();
    for (const listing of due) if (listing.isNeeded ?? isPanelShown()) listing.refresh();
    due.clear();
  };
  const refreshAll = () => {
    for (const listing of listings) due.add(listing);
    refresh();
  };
  document.addEventListener("visibilitychange", refreshAll);
  setInterval(refreshAll, REFRESH_MS); // also where no WebSocket gets through
  standing.on("change", (rights) => rights === "admin" && refreshAll());
  return (unchanged) => {
    for (const listing of listings) if (!unchanged || listing.table !== unchanged) due.add(listing);
    planned ||= setTimeout(refresh, Math.max(SOON_MS, readAt + REST_MS - performance.now()));
  };
}
